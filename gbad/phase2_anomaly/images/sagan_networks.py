"""Generator of the Skip-Attention GAN: a U-Net of depth-wise separable convolutions with attention at each level.

Source: Liu, Lan, Zhang, Huang, Wang, "SAGAN: Skip-Attention GAN for Anomaly Detection" (Section 2); the attention is
Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018 (Eqs. 2 and 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Weight of each channel, CBAM Eq. (2): a small network sees the means and the maxima of the channels.

    Parameters
    ----------
    channels : int
        C.
    reduction, least : int
        The hidden layer has ``channels // reduction`` units, but at least `least`: a narrow network with a single dead
        unit could not learn.
    """

    def __init__(self, channels: int, reduction: int = 16, least: int = 4) -> None:
        super().__init__()
        hidden = max(least, channels // reduction)
        self.judge = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Weights in (0, 1): (n, C, H, W) -> (n, C, 1, 1)."""
        weights = torch.sigmoid(self.judge(x.mean((2, 3))) + self.judge(x.amax((2, 3))))
        return weights[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weight of each position, CBAM Eq. (3): a convolution sees mean and maximum over the channels."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.judge = nn.Sequential(
            nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False), nn.BatchNorm2d(1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weights in (0, 1): (n, C, H, W) -> (n, 1, H, W)."""
        return torch.sigmoid(self.judge(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)))


class CBAM(nn.Module):
    """Convolutional block attention module, first on channels, then on positions: (n, C, H, W) -> (n, C, H, W).

    Examples
    --------
    >>> CBAM(32)(torch.ones(2, 32, 8, 8)).shape
    torch.Size([2, 32, 8, 8])
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channels = ChannelAttention(channels, reduction)
        self.positions = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the features by their weights."""
        x = x * self.channels(x)
        weighted: Tensor = x * self.positions(x)
        return weighted


def convolution(n_in: int, n_out: int, separable: bool) -> nn.Sequential:
    """3x3 convolution, batch normalisation and ReLU.

    The separable form (Section 2.3) filters each channel with two 3x3 kernels of its own, and mixes the channels with a
    1x1 convolution. Two kernels for each channel bring the number of parameters closest to Table 1 of the paper.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    separable : bool
        Depth-wise separable, or an ordinary convolution.
    """
    layers: list[nn.Module] = (
        [nn.Conv2d(n_in, 2 * n_in, 3, padding=1, groups=n_in), nn.Conv2d(2 * n_in, n_out, 1)]
        if separable
        else [nn.Conv2d(n_in, n_out, 3, padding=1)]
    )
    return nn.Sequential(*layers, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class AttentionUNet(nn.Module):
    """Generator of Fig. 1: x -> G(x) of the same shape.

    Each level of the encoder is two convolutions and a CBAM. Its output goes through max-pooling to the level below,
    and through a skip connection to the decoder. The decoder enlarges by bilinear interpolation, concatenates, and
    convolves twice. A 1x1 convolution gives the image; the paper names no activation after it.

    Parameters
    ----------
    channels : int
        Channels of the image.
    widths : sequence of int
        Channels of the levels, from fine to coarse; the image's sides must be multiples of
        ``2 ** (len(widths) - 1)``.
    separable : bool
        Depth-wise separable convolutions, the paper's way to fewer parameters.

    Examples
    --------
    >>> AttentionUNet(3, (8, 16, 16))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, channels: int = 3, widths: Sequence[int] = (64, 128, 256, 512, 512), separable: bool = True
    ) -> None:
        super().__init__()
        inwards = [channels, *widths]
        self.down = nn.ModuleList(
            nn.Sequential(convolution(n_in, n_out, separable), convolution(n_out, n_out, separable), CBAM(n_out))
            for n_in, n_out in zip(inwards[:-1], inwards[1:], strict=True)
        )
        self.up = nn.ModuleList()
        coming = widths[-1]
        for level in reversed(range(len(widths) - 1)):
            joined, leaving = coming + widths[level], widths[max(level - 1, 0)]
            self.up.append(
                nn.Sequential(convolution(joined, joined // 2, separable), convolution(joined // 2, leaving, separable))
            )
            coming = leaving
        self.image = nn.Conv2d(coming, channels, 1)
        self.pool = nn.MaxPool2d(2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (n, C, H, W) -> (n, C, H, W)."""
        skips = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else self.pool(x))
            skips.append(x)
        for level, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = level(torch.cat([skip, self.enlarge(x)], dim=1))
        image: Tensor = self.image(x)
        return image
