"""Layers that several image-level systems share: DCGAN's encoder, decoder and discriminator, and initial weights."""

from __future__ import annotations

import math

from torch import Tensor, nn

SLOPE = 0.2
"""Slope of LeakyReLU below zero in all encoders and discriminators."""

COLLAPSED = 1e-5
"""Loss of a discriminator that has won: below it the generator learns nothing any more."""


def initialise(networks: nn.Module) -> None:
    """Draw DCGAN's initial weights: convolutions from N(0, 0.02²), scales of batch norm from N(1, 0.02²), biases 0."""
    for layer in networks.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def downward(channels: int, features: int, size: int) -> tuple[nn.Sequential, int]:
    """DCGAN's encoder down to 4 x 4 pixels: each stage halves the size and, after the first, doubles the channels.

    Parameters
    ----------
    channels : int
        Of the images.
    features : int
        Channels after the first stage.
    size : int
        Side of the images, a power of two from 8.

    Returns
    -------
    Sequential
        (b, channels, size, size) -> (b, W, 4, 4).
    int
        W.

    Examples
    --------
    >>> import torch
    >>> stages, width = downward(3, 8, 32)
    >>> stages(torch.zeros(2, 3, 32, 32)).shape, width
    (torch.Size([2, 32, 4, 4]), 32)
    """
    layers: list[nn.Module] = [_halve(channels, features), nn.LeakyReLU(SLOPE)]
    width = features
    for _ in range(int(math.log2(size)) - 3):
        layers += [_halve(width, 2 * width), nn.BatchNorm2d(2 * width), nn.LeakyReLU(SLOPE)]
        width *= 2
    return nn.Sequential(*layers), width


def encoder(channels: int, features: int, size: int, n_out: int) -> nn.Sequential:
    """DCGAN's encoder: (b, channels, size, size) -> (b, n_out, 1, 1)."""
    stages, width = downward(channels, features, size)
    return nn.Sequential(*stages, nn.Conv2d(width, n_out, 4, bias=False))


def decoder(latent_size: int, features: int, size: int, channels: int) -> nn.Sequential:
    """DCGAN's decoder, the mirror of `encoder`: (b, latent_size, 1, 1) -> (b, channels, size, size) in [-1, 1]."""
    width = features * 2 ** (int(math.log2(size)) - 3)
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent_size, width, 4, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()]
    while width > features:
        layers += [_double(width, width // 2), nn.BatchNorm2d(width // 2), nn.ReLU()]
        width //= 2
    return nn.Sequential(*layers, _double(features, channels), nn.Tanh())


class FeatureDiscriminator(nn.Module):
    """DCGAN's discriminator, which also returns the features behind its logit.

    Parameters
    ----------
    channels, features, size : int
        As in `downward`.
    """

    def __init__(self, channels: int, features: int, size: int) -> None:
        super().__init__()
        self.features, width = downward(channels, features, size)
        self.logit = nn.Conv2d(width, 1, 4, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of "real", (b,), and features, (b, W, 4, 4)."""
        features = self.features(x)
        return self.logit(features).flatten(), features


class Discriminator(nn.Module):
    """DCGAN's discriminator with a code before its last layer, as in Skip-GANomaly.

    Parameters
    ----------
    channels, features, size : int
        As in `downward`.
    latent_size : int
        Length of the code.

    Examples
    --------
    >>> import torch
    >>> logits, code = Discriminator(3, 8, 32, 100)(torch.zeros(2, 3, 32, 32))
    >>> logits.shape, code.shape
    (torch.Size([2]), torch.Size([2, 100, 1, 1]))
    """

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.code = encoder(channels, features, size, latent_size)
        # 3 x 3 on one pixel: only the middle weight of each kernel is used, but the published code has all of them.
        self.logit = nn.Conv2d(latent_size, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of "real", (b,), and code, (b, latent_size, 1, 1)."""
        code = self.code(x)
        return self.logit(code).flatten(), code


def _halve(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=False)


def _double(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False)
