"""The feature pyramid (Lin et al., CVPR 2017) on the stages of a backbone.

It has the weights, names and values of torchvision's ``FeaturePyramidNetwork``. To import torchvision takes a quarter
of the time that ``gbad predict`` needs for its first score, and EfficientNet-Lite needs nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from gbad.errors import GbadError

FPN_FORMS = ("full", "light")


class FeaturePyramid(nn.Module):
    """Lateral 1×1 convolutions, enlargement and addition from coarse to fine, then 3×3 convolutions; no activation.

    Parameters
    ----------
    channels : sequence of int
        Of the stages, fine to coarse.
    width : int
        Channels of each level.
    form : {"full", "light"}
        ``"full"``: as published. ``"light"``: each 3×3 convolution sees one channel at a time, and a 1×1 convolution
        follows (depth-wise separable; Howard et al., "MobileNets", 2017); in front of it the finest level, which costs
        three quarters of a full pyramid's arithmetic, is halved by taking maxima of 2×2 places. With 64 channels,
        less than a fifteenth of the 3×3 convolutions' arithmetic is left. Without boxes, its evidence points at
        threats less often (docs/results/speed.md), which the second look needs.
    """

    def __init__(self, channels: Sequence[int], width: int, form: str = "full") -> None:
        super().__init__()
        if form not in FPN_FORMS:
            raise GbadError(f"unknown fpn_form {form!r}; choose one of {', '.join(FPN_FORMS)}")
        self.form = form
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for count in channels:
            self.inner_blocks.append(nn.Sequential(nn.Conv2d(count, width, 1)))
            if form == "full":
                output = [nn.Conv2d(width, width, 3, padding=1)]
            else:
                output = [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Conv2d(width, width, 1)]
            self.layer_blocks.append(nn.Sequential(*output))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def convolutions(self, level: int) -> tuple[nn.Conv2d, nn.Conv2d]:
        """Give the 1×1 and the 3×3 convolution of a level of a full pyramid, counted from the finest."""
        pair = [blocks.get_submodule(f"{level}.0") for blocks in (self.inner_blocks, self.layer_blocks)]
        return cast(tuple[nn.Conv2d, nn.Conv2d], tuple(pair))

    def forward(self, stages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give a level (N, width, h, w) for each stage (N, channels, h, w), under its name.

        The finest level of a light pyramid has half of its stage's height and width, rounded up.
        """
        levels: dict[str, Tensor] = {}
        carried: Tensor | None = None
        for number, (name, stage) in reversed([*enumerate(stages.items())]):
            own = self.inner_blocks[number](stage)
            if carried is not None:
                own = own + F.interpolate(carried, size=own.shape[2:], mode="nearest")
            carried = own
            if self.form == "light" and number == 0:
                own = F.max_pool2d(own, 2, ceil_mode=True)
            levels[name] = self.layer_blocks[number](own)
        return {name: levels[name] for name in stages}
