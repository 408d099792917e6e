"""Networks of PANDA-GAN: a variational auto-encoder of two levels, and a fine-grained discriminator.

Source: Barker, Breckon, "PANDA: Perceptually Aware Neural Detection of Anomalies" (Section III, Fig. 2). The
discriminator follows Hu, Qi, "See Better Before Looking Closer" (WS-DAN, 2019; attention maps and bilinear attention
pooling) and Wang, Morariu, Davis, "Learning a Discriminative Filter Bank within a CNN", CVPR 2018. Parts can be left
out, as in the ablations of Table III.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gbad.errors import GbadError
from gbad.phase2_anomaly.images.blocks import FeatureDiscriminator
from gbad.phase2_anomaly.images.vae import divergence

BACKBONES = ("resnet50", "resnet34", "resnet18", "small")


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of a batch, with the means of its codes."""

    image: Tensor
    """x', (n, C, S, S) in [-1, 1]."""
    low: Tensor
    """Mean of z_low, (n, L, S/4, S/4)."""
    high: Tensor | None
    """Mean of z_high, (n, Z, 1, 1); None without the high level."""
    decoded: Tensor | None
    """D_high(z_high), of the shape of z_low; None without the high level."""
    divergence: Tensor
    """Kullback-Leibler divergence of both codes from the standard normal distribution, (n,)."""


class DualGenerator(nn.Module):
    """Generator of Fig. 2: ``x' = D_low(D_high(E_high(E_low(x))) * E_low(x))`` (below Eq. 1).

    Both encoders return mean and log-variance of a normal distribution. z_low is a map at a quarter of the image's
    side; z_high is a vector. In training, codes are drawn; in evaluation, codes are means, so scores are not random.
    The paper does not state widths, sizes of the codes and layers of the encoders: these are DCGAN's.

    Parameters
    ----------
    channels, side : int
        Of the image; `side` is a power of two, 32 or larger.
    width : int
        Channels of the first convolution; each further one doubles them, up to eight times `width`.
    low_channels : int
        Channels of z_low.
    latent_size : int
        Length of z_high.
    high_level : bool
        False leaves out E_high and D_high (Table III): ``x' = D_low(E_low(x))``.

    Examples
    --------
    >>> made = DualGenerator(3, 32, width=4, low_channels=4, latent_size=8)(torch.zeros(2, 3, 32, 32))
    >>> made.image.shape, made.low.shape, made.high.shape
    (torch.Size([2, 3, 32, 32]), torch.Size([2, 4, 8, 8]), torch.Size([2, 8, 1, 1]))
    """

    def __init__(
        self,
        channels: int,
        side: int,
        width: int = 64,
        low_channels: int = 64,
        latent_size: int = 100,
        high_level: bool = True,
    ) -> None:
        super().__init__()
        steps = int(math.log2(side)) - 4  # from a quarter of the side to 4
        widths = [width * min(2**step, 8) for step in range(2, 2 + steps)]
        self.encode_low = low_encoder(channels, width, 2 * low_channels)
        self.high_level = high_level
        if high_level:
            self.encode_high = high_encoder(low_channels, widths, 2 * latent_size)
            self.decode_high = nn.Sequential(
                nn.ConvTranspose2d(latent_size, widths[-1], 4, bias=False),
                nn.BatchNorm2d(widths[-1]),
                nn.ReLU(inplace=True),
                *_enlarge([*reversed(widths)]),
                nn.ConvTranspose2d(widths[0], low_channels, 4, stride=2, padding=1),
            )
        self.decode_low = nn.Sequential(
            *_enlarge([low_channels, width]), nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), nn.Tanh()
        )

    def calm_codes(self) -> None:
        """Let codes begin with a deviation near e^-2 instead of 1.

        Training draws codes and scoring takes means: if codes were mostly noise, the generator would not have learnt
        to work without it.
        """
        for encoder in (self.encode_low, *([self.encode_high] if self.high_level else [])):
            bias = encoder.get_parameter(f"{len(encoder) - 1}.bias")
            with torch.no_grad():
                bias[len(bias) // 2 :].fill_(-4.0)

    def forward(self, x: Tensor) -> Reconstruction:
        """Reconstruct images (n, C, S, S) in [-1, 1]."""
        low, low_log_variance = self.encode_low(x).chunk(2, dim=1)
        z_low = self._draw(low, low_log_variance)
        if not self.high_level:
            return Reconstruction(self.decode_low(z_low), low, None, None, divergence(low, low_log_variance))
        high, high_log_variance = self.encode_high(z_low).chunk(2, dim=1)
        decoded = self.decode_high(self._draw(high, high_log_variance))
        spread = divergence(low, low_log_variance) + divergence(high, high_log_variance)
        return Reconstruction(self.decode_low(decoded * z_low), low, high, decoded, spread)

    def _draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        if not self.training:
            return mean
        return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()


class ReEncoders(nn.Module):
    """E^1_low and E^1_high: encode the reconstruction again, in training only (Section III-A).

    Each has the layers of its first namesake and reads the output of the decoder of its level: E^1_low reads x',
    E^1_high reads D_high(z_high). They return codes, not distributions, for the latent losses.

    Parameters
    ----------
    channels, side, width, low_channels, latent_size : int
        See :class:`DualGenerator`.
    of_low, of_high : bool
        Whether there is a re-encoder for each level (Table III).
    """

    def __init__(
        self,
        channels: int,
        side: int,
        width: int = 64,
        low_channels: int = 64,
        latent_size: int = 100,
        of_low: bool = True,
        of_high: bool = True,
    ) -> None:
        super().__init__()
        widths = [width * min(2**step, 8) for step in range(2, int(math.log2(side)) - 2)]
        self.low = low_encoder(channels, width, low_channels) if of_low else None
        self.high = high_encoder(low_channels, widths, latent_size) if of_high else None

    def forward(self, made: Reconstruction) -> tuple[Tensor | None, Tensor | None]:
        """Codes again: (n, L, S/4, S/4) and (n, Z, 1, 1); None where there is no re-encoder."""
        low = None if self.low is None else self.low(made.image)
        return low, None if self.high is None or made.decoded is None else self.high(made.decoded)


def low_encoder(channels: int, width: int, n_out: int) -> nn.Sequential:
    """Image (n, C, S, S) -> (n, n_out, S/4, S/4)."""
    return nn.Sequential(*_shrink([channels, width, 2 * width]), nn.Conv2d(2 * width, n_out, 3, padding=1))


def high_encoder(channels: int, widths: list[int], n_out: int) -> nn.Sequential:
    """Low-level code (n, L, S/4, S/4) -> (n, n_out, 1, 1)."""
    return nn.Sequential(*_shrink([channels, *widths]), nn.Conv2d(widths[-1], n_out, 4))


def bilinear_attention_pooling(features: Tensor, attention: Tensor) -> Tensor:
    """Pool features once under each attention map (WS-DAN, Section 3.1.2).

    Parameters
    ----------
    features : Tensor of shape (n, C, H, W)
    attention : Tensor of shape (n, M, H, W)
        0 or larger.

    Returns
    -------
    Tensor
        Shape (n, M, C): mean over the positions of map times feature.

    Examples
    --------
    >>> features, attention = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 1.0]], [[1.0, 1.0]]]])
    >>> bilinear_attention_pooling(features, attention)
    tensor([[[1.0000],
             [1.5000]]])
    """
    return torch.einsum("nmhw,nchw->nmc", attention, features) / features[0, 0].numel()


class FineGrainedDiscriminator(nn.Module):
    """Discriminator C of Section III-B: features, attention maps, pooling under each, filter bank, logit of "real".

    Parameters
    ----------
    channels, side : int
        Of the image.
    backbone : {"resnet50", "resnet34", "resnet18", "small"}
        See :func:`make_backbone`; ResNet-50 in the paper.
    width : int
        Width of the small backbone.
    parts : int
        M, number of attention maps; 32 in WS-DAN.
    filters : int
        1x1 convolutions in the bank; the largest answer of each over the parts decides.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        backbone: str = "resnet50",
        width: int = 64,
        parts: int = 32,
        filters: int = 32,
    ) -> None:
        super().__init__()
        self.backbone, n_features = make_backbone(backbone, channels, side, width)
        self.attention = nn.Sequential(nn.Conv2d(n_features, parts, 1, bias=False), nn.BatchNorm2d(parts), nn.ReLU())
        self.filters = nn.Conv1d(n_features, filters, 1)
        self.logit = nn.Linear(filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Judge: (n, C, S, S) -> logits (n,)."""
        return self.attend(x)[0]

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Judge, and say where: logits (n,), and attention maps (n, M, H, W), 0 or larger."""
        features = self.backbone(x)
        attention = self.attention(features)
        parts = bilinear_attention_pooling(features, attention)  # (n, M, C)
        logits: Tensor = self.logit(self.filters(parts.mT).amax(2))
        return logits.squeeze(1), attention


class PlainDiscriminator(FeatureDiscriminator):
    """DCGAN's discriminator, that of GANomaly (Table III): images (n, C, S, S) -> logits (n,)."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Judge."""
        return super().forward(x)[0]


def make_backbone(
    name: str, channels: int, side: int, width: int = 64, weights: str | Path | None = None
) -> tuple[nn.Sequential, int]:
    """Make the convolutional part of a discriminator.

    Parameters
    ----------
    name : {"resnet50", "resnet34", "resnet18", "small"}
        ``"small"`` is three convolutions of stride 2, for small machines. Below a side of 128, a ResNet has no stride
        and pooling in its stem: they would leave fewer than 4x4 positions for the attention.
    channels, side : int
        Of the image.
    width : int
        Channels of the first convolution of ``"small"``.
    weights : path, optional
        File of torchvision's weights for `name`; random weights otherwise. A changed stem keeps its random weights.

    Returns
    -------
    backbone : Sequential
        (n, C, S, S) -> (n, F, H, W).
    n_features : int
        F.

    Raises
    ------
    ValueError
        If `name` is unknown.
    GbadError
        If `weights` cannot be read or belongs to another network.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {name!r}.")
    if name == "small":
        if weights is not None:
            raise ValueError(f"the small backbone has no weights to load, got {weights}; choose a ResNet.")
        return nn.Sequential(*_shrink([channels, width, 2 * width, 4 * width])), 4 * width
    import torchvision  # slow to import, and no other system of phase 2 needs it

    resnet = getattr(torchvision.models, name)(weights=None)
    if weights is not None:
        load_weights(resnet, weights)
    if side < 128:
        resnet.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        resnet.maxpool = nn.Identity()
    elif channels == 1:
        # A grey image is three equal channels: the sum of the weights over them gives the same answer.
        grey = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        grey.weight.data = resnet.conv1.weight.data.sum(1, keepdim=True)
        resnet.conv1 = grey
    n_features = resnet.fc.in_features
    return nn.Sequential(*list(resnet.children())[:-2]), n_features  # without average pooling and classifier


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill `module` from a file of torchvision's weights; keys that `module` lacks are ignored.

    Raises
    ------
    GbadError
        If the file is missing or damaged, or lacks weights of `module`.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict({name: found[name] for name in module.state_dict()})
    except Exception as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise GbadError(
            f"{path}: not the weights of this network ({reason}). Give a file of torchvision's state_dict for it."
        ) from error


def _shrink(widths: list[int]) -> list[nn.Module]:
    """4x4 convolutions of stride 2."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [
            nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers


def _enlarge(widths: list[int]) -> list[nn.Module]:
    """4x4 transposed convolutions of stride 2."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [
            nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        ]
    return layers
