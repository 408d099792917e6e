"""Networks of f-AnoGAN: residual generator, critic and encoder.

Source: Schlegl, Seeboeck, Waldstein, Langs, Schmidt-Erfurth, "f-AnoGAN: Fast Unsupervised Anomaly Detection with
Generative Adversarial Networks", Medical Image Analysis 2019. The networks are those of its code, which has them from
Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, at 64 px; other sizes have more or fewer blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

_SMALLEST = 4  # side of the smallest maps

Norm = Callable[[int], nn.Module]


def layer_norm(channels: int) -> nn.Module:
    """Normalise each image by itself: the penalty on a critic's gradients leaves no room for batch normalisation."""
    return nn.GroupNorm(1, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the size is halved by a mean, or doubled by repetition.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    norm : callable
        Makes the normalisation in front of each convolution.
    change : {"down", "up"}

    Examples
    --------
    >>> import torch
    >>> ResidualBlock(4, 8, nn.BatchNorm2d, "down")(torch.zeros(2, 4, 16, 16)).shape
    torch.Size([2, 8, 8, 8])
    """

    def __init__(self, n_in: int, n_out: int, norm: Norm, change: Literal["down", "up"]) -> None:
        super().__init__()
        n_middle = n_in if change == "down" else n_out
        resize: nn.Module = nn.AvgPool2d(2) if change == "down" else nn.Upsample(scale_factor=2, mode="nearest")
        first = nn.Conv2d(n_in, n_middle, 3, padding=1, bias=False)
        second = nn.Conv2d(n_middle, n_out, 3, padding=1)
        # The smaller size is cheaper, and a 1x1 convolution and a mean may change places.
        self.shortcut = nn.Sequential(resize, nn.Conv2d(n_in, n_out, 1))
        layers = [norm(n_in), nn.ReLU(), *([resize] if change == "up" else []), first]
        layers += [norm(n_middle), nn.ReLU(), second, *([resize] if change == "down" else [])]
        self.residual = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n_in, S, S) -> (b, n_out, S / 2 or 2 S, ...)."""
        changed: Tensor = self.shortcut(x) + self.residual(x)
        return changed


def _widths(features: int, size: int) -> list[int]:
    """Channels from the image's size down to 4 px: for 64 px 1, 2, 4, 8, 8 times `features`."""
    return [features * min(8, 2**level) for level in range(int(math.log2(size // _SMALLEST)) + 1)]


class Generator(nn.Module):
    """Code (b, latent_size) -> image (b, C, S, S) in [-1, 1]."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        widths = _widths(features, size)[::-1]
        self.first = nn.Sequential(
            nn.Linear(latent_size, widths[0] * _SMALLEST**2), nn.Unflatten(1, (widths[0], _SMALLEST, _SMALLEST))
        )
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(*pair, nn.BatchNorm2d, "up") for pair in pairs))
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.image = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(), last, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Make images."""
        made: Tensor = self.image(self.blocks(self.first(z)))
        return made


def _downward(channels: int, features: int, size: int, norm: Norm) -> tuple[nn.Sequential, int]:
    widths = _widths(features, size)
    pairs = zip(widths[:-1], widths[1:], strict=True)
    blocks = [ResidualBlock(*pair, norm, "down") for pair in pairs]
    layers = nn.Sequential(nn.Conv2d(channels, features, 3, padding=1), *blocks, nn.Flatten())
    return layers, widths[-1] * _SMALLEST**2


class Critic(nn.Module):
    """Image (b, C, S, S) -> how real it is, any number, (b,), and features f, (b, F)."""

    def __init__(self, channels: int, features: int, size: int) -> None:
        super().__init__()
        self.features, n_features = _downward(channels, features, size, layer_norm)
        self.judge = nn.Linear(n_features, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images."""
        features = self.features(x)
        return self.judge(features).squeeze(1), features


class Encoder(nn.Module):
    """Image (b, C, S, S) -> code (b, latent_size)."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.features, n_features = _downward(channels, features, size, nn.BatchNorm2d)
        self.code = nn.Linear(n_features, latent_size)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        code: Tensor = self.code(self.features(x))
        return code
