"""Skip-GANomaly: a U-Net that reconstructs normal images, and a discriminator whose code judges the reconstruction.

Source: Akcay, Atapour-Abarghouei, Breckon, "Skip-GANomaly: Skip Connected and Adversarially Trained Encoder-Decoder
Anomaly Detection", IJCNN 2019. Liu et al., "SAGAN: Skip-Attention GAN for Anomaly Detection", print its losses again
as Eqs. (1) to (6); equation numbers refer to those.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_scalar
from torch import Tensor, nn
from torch.nn.functional import softplus

from gbad.phase2_anomaly.images.blocks import SLOPE, Discriminator, initialise, per_image
from gbad.phase2_anomaly.images.image_detector import LEAKS, ImageAnomalyDetector
from gbad.phase2_anomaly.images.training import Optimisers, adam, move
from gbad.phase2_anomaly.losses import discriminator_loss

# ---- networks -------------------------------------------------------------------------------------------------------


class UNet(nn.Module):
    """U-Net of 4 x 4 convolutions down to one pixel, each level joined to its mirror (Isola et al., "pix2pix", 2017).

    Parameters
    ----------
    channels : int
        Of the images.
    features : int
        Channels of the first level; they double until eight times as many.
    size : int
        Side of the images, a power of two.

    Examples
    --------
    >>> UNet(3, 4, 32)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, channels: int, features: int, size: int) -> None:
        super().__init__()
        n_levels = int(math.log2(size))
        widths = [features * min(8, 2**level) for level in range(n_levels)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, (above, width) in enumerate(zip([channels, *widths], widths, strict=False)):
            first, last = level == 0, level == n_levels - 1
            convolution = nn.Conv2d(above, width, 4, stride=2, padding=1, bias=False)
            activation = nn.Identity() if first else nn.LeakyReLU(SLOPE)
            # One value for each channel of an image is left at the bottom: nothing to normalise.
            norm = nn.Identity() if first or last else nn.BatchNorm2d(width)
            self.down.append(nn.Sequential(activation, convolution, norm))
            n_in = width if last else 2 * width
            transposed = nn.ConvTranspose2d(n_in, above, 4, stride=2, padding=1, bias=first)
            self.up.append(nn.Sequential(nn.ReLU(), transposed, nn.Tanh() if first else nn.BatchNorm2d(above)))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (b, C, S, S) -> (b, C, S, S) in [-1, 1]."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[-1](skips.pop())
        for up in reversed(self.up[:-1]):
            x = up(torch.cat([skips.pop(), x], dim=1))
        return x


class SkipGANomaly(nn.Module):
    """Generator and discriminator."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.generator: nn.Module = UNet(channels, features, size)
        self.discriminator: nn.Module = Discriminator(channels, features, size, latent_size)
        initialise(self)


# ---- losses ---------------------------------------------------------------------------------------------------------


def contextual_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean |residual| of a pixel, Eq. (1); scalar."""
    return (x - reconstructed).abs().mean()


def latent_loss(code: Tensor, reconstructed_code: Tensor) -> Tensor:
    """Mean squared difference of the discriminator's codes, Eq. (2); scalar."""
    return (code - reconstructed_code).square().mean()


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """The generator's side of Eq. (3), non-saturating: mean of ``-log D(G(x))``; scalar."""
    return softplus(-fake_logits).mean()


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class SkipGANomalyDetector(ImageAnomalyDetector[SkipGANomaly]):
    """Skip-GANomaly. What the generator reconstructs badly, in pixels or in the discriminator's code, is abnormal.

    Where paper and published code differ: the contextual weight is the paper's 40 (code: 50), and the learning rate
    the code's 2e-4 (paper: 2e-3 with decay); the discriminator does not learn from the latent loss (the code adds it);
    no noise is added to the images in training (the code adds a buffer that it never fills). The score takes squared
    residuals, as the code does, and divides both of its parts by their medians in training (``scale_parts``), since
    the scale of the discriminator's code is arbitrary. The code never left train mode and scaled scores over the test
    set: ``paper_scores`` does so; with ``scale_parts=False`` it also weighs the parts as the code does.

    Parameters
    ----------
    latent_size : int
        Length of the discriminator's code.
    features : int
        Channels after the first layer of both networks; less is faster.
    adversarial_weight, contextual_weight, latent_weight : float
        Of Eqs. (3), (1), (2) in the generator's loss, Eq. (4).
    score_weight : float
        Share of the residual in the score, Eq. (5), in [0, 1].
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = SkipGANomalyDetector(features=4, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    latent_size: int = 100
    features: int = 64
    adversarial_weight: float = 1.0
    contextual_weight: float = 40.0
    latent_weight: float = 1.0
    score_weight: float = 0.9
    scale_parts: bool = True

    part_names = ("residual", "latent")
    published_leaks = LEAKS

    def _networks(self) -> SkipGANomaly:
        return SkipGANomaly(self.channels_, self.features, self.image_size, self.latent_size)

    def _optimisers(self, networks: SkipGANomaly) -> Optimisers:
        return {
            "generator": adam(networks.generator, self.learning_rate, self.beta1),
            "discriminator": adam(networks.discriminator, self.learning_rate, self.beta1),
        }

    def _step(self, networks: SkipGANomaly, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        reconstructed = networks.generator(x)
        real, code = networks.discriminator(x)
        fake, reconstructed_code = networks.discriminator(reconstructed)
        generator_loss = (
            self.adversarial_weight * adversarial_loss(fake)
            + self.contextual_weight * contextual_loss(x, reconstructed)
            + self.latent_weight * latent_loss(code.detach(), reconstructed_code)
        )  # Eq. (4)
        loss = discriminator_loss(real, fake)
        move(optimisers["generator"], generator_loss, keep_graph=True)
        move(optimisers["discriminator"], loss)
        return {"generator": generator_loss.detach(), "discriminator": loss.detach()}

    def _score_parts(self, networks: SkipGANomaly, x: Tensor) -> Tensor:
        reconstructed = networks.generator(x)
        code, reconstructed_code = networks.discriminator(x)[1], networks.discriminator(reconstructed)[1]
        parts = [per_image((x - reconstructed).square()), per_image((code - reconstructed_code).square())]
        return torch.stack(parts, dim=1)

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        return self.score_weight * parts[:, 0] + (1.0 - self.score_weight) * parts[:, 1]  # Eq. (5)

    def _maps(self, networks: SkipGANomaly, x: Tensor) -> Tensor:
        return (x - networks.generator(x)).square().mean(dim=1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.score_weight, "score_weight", numbers.Real, min_val=0.0, max_val=1.0)
