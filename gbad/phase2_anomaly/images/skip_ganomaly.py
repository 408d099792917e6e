"""Skip-GANomaly: a U-Net reconstructs normal images, and a discriminator's code judges the reconstruction.

Source: Akcay, Atapour-Abarghouei, Breckon, "Skip-GANomaly: Skip Connected and Adversarially Trained Encoder-Decoder
Anomaly Detection", IJCNN 2019. Liu et al., "SAGAN: Skip-Attention GAN for Anomaly Detection", print its losses again
as Eqs. (1) to (6); equation numbers refer to those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import SLOPE, Discriminator, initialise
from gbad.phase2_anomaly.images.image_detector import LEAKS, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, mean_absolute, mean_square, per_image
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import move_all
from gbad.phase2_anomaly.parameters import check_real

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
            # At the bottom an image has one value for each channel: nothing to normalise.
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


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class SkipGANomalyDetector(ImageAnomalyDetector[SkipGANomaly]):
    """Skip-GANomaly. An image is abnormal if its reconstruction differs, in pixels or in the discriminator's code.

    Where paper and published code differ:

    - The contextual weight is the paper's 40 (code: 50).
    - The learning rate is the code's 2e-4 (paper: 2e-3 with decay).
    - The discriminator does not learn from the latent loss (the code adds it).
    - No noise is added to the images in training (the code adds a buffer that it never fills).
    - The score has squared residuals, as in the code. Both parts are divided by their medians in training
      (``scale_parts``), because the scale of the discriminator's code is arbitrary.

    The code never left train mode and scaled scores over the test set: ``paper_scores`` does the same. With
    ``scale_parts=False`` it also weights the parts like the code.

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
    >>> import numpy as np
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

    def _step(self, networks: SkipGANomaly, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        reconstructed = networks.generator(x)
        real, code = networks.discriminator(x)
        fake, reconstructed_code = networks.discriminator(reconstructed)
        generator_loss = (
            self.adversarial_weight * adversarial_loss(fake)  # of Eq. (3)
            + self.contextual_weight * mean_absolute(x, reconstructed)  # Eq. (1)
            + self.latent_weight * mean_square(code.detach(), reconstructed_code)  # Eq. (2)
        )  # Eq. (4)
        return move_all(optimisers, {"generator": generator_loss, "discriminator": discriminator_loss(real, fake)})

    def _score_parts(self, networks: SkipGANomaly, x: Tensor) -> Tensor:
        reconstructed = networks.generator(x)
        code, reconstructed_code = networks.discriminator(x)[1], networks.discriminator(reconstructed)[1]
        parts = [per_image((x - reconstructed).square()), per_image((code - reconstructed_code).square())]
        return torch.stack(parts, dim=1)

    def _part_weights(self) -> tuple[float, ...]:
        return self.score_weight, 1.0 - self.score_weight  # Eq. (5)

    def _maps(self, networks: SkipGANomaly, x: Tensor) -> Tensor:
        reconstructed: Tensor = networks.generator(x)
        return (x - reconstructed).square().mean(dim=1)

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("score_weight",), 0.0, 1.0)
