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

from gbad.phase2_anomaly.images.blocks import COLLAPSED, SLOPE, Discriminator, initialise
from gbad.phase2_anomaly.images.image_detector import LEAKS, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, l1_norm, mean_absolute, mean_square, per_image
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import move_all
from gbad.phase2_anomaly.parameters import check_choice, check_real

DECAYS = ("none", "late")
SCORE_FORMS = ("means", "norms")

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


# ---- learning rate --------------------------------------------------------------------------------------------------


def late_decay(epoch: int, n_epochs: int) -> float:
    """Factor of the learning rate: 1 in the first half of the epochs, then falling evenly to 0 after the last one.

    The papers of Skip-GANomaly and SAGAN say "lambda decay" and give no formula.

    Examples
    --------
    >>> [late_decay(epoch, 4) for epoch in range(4)]
    [1.0, 1.0, 1.0, 0.5]
    """
    return min(1.0, 2.0 * (n_epochs - epoch) / n_epochs)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class SkipGANomalyDetector(ImageAnomalyDetector[SkipGANomaly]):
    """Skip-GANomaly. An image is abnormal if its reconstruction differs, in pixels or in the discriminator's code.

    Paper and published code differ. The presets ``published`` and ``released`` (`gbad.phase2_anomaly.preset`) have the
    settings of each; the defaults here are neither:

    | | default | published | released |
    |---|---|---|---|
    | learning rate | 2e-4 | 2e-3 | 2e-4 |
    | its decay | none | late | none: it is set up and never used |
    | contextual weight | 40 | 40 | 50 |
    | discriminator learns from the latent loss | no | no | yes |
    | discriminator starts anew when it has won | no | no | yes |
    | score | means of squares | norms of Eqs. (1) and (2) | means of squares |
    | parts of the score divided by their medians | yes | no | no |

    The noise that the code adds to the images in training is a buffer that it never fills; none is added here. The code
    never left train mode and scaled scores over the test set: ``paper_scores`` does the same.

    Parameters
    ----------
    latent_size : int
        Length of the discriminator's code.
    features : int
        Channels after the first layer of both networks; less is faster.
    adversarial_weight, contextual_weight, latent_weight : float
        Of Eqs. (3), (1), (2) in the generator's loss, Eq. (4).
    latent_in_discriminator : bool
        Let the discriminator learn from the latent loss, too.
    restart_discriminator : bool
        Draw the discriminator anew after a step with a loss below 1e-5.
    decay : {"none", "late"}
        Of the learning rate, see `late_decay`.
    score_form : {"means", "norms"}
        R and L of Eq. (5): means of the squared differences, or the norms of Eqs. (1) and (2), which are sums.
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
    latent_in_discriminator: bool = False
    restart_discriminator: bool = False
    decay: str = "none"
    score_form: str = "means"
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
        critic_loss = discriminator_loss(real, fake)
        if self.latent_in_discriminator:
            critic_loss = critic_loss + self.latent_weight * mean_square(code, reconstructed_code)
        losses = move_all(optimisers, {"generator": generator_loss, "discriminator": critic_loss})
        if self.restart_discriminator and losses["discriminator"] < COLLAPSED:
            initialise(networks.discriminator)
        return losses

    def _rate_factor(self, epoch: int) -> float:
        return late_decay(epoch, self.epochs) if self.decay == "late" else 1.0

    def _score_parts(self, networks: SkipGANomaly, x: Tensor) -> Tensor:
        reconstructed = networks.generator(x)
        code, reconstructed_code = networks.discriminator(x)[1], networks.discriminator(reconstructed)[1]
        if self.score_form == "norms":
            latent = torch.linalg.vector_norm((code - reconstructed_code).flatten(1), dim=1)
            return torch.stack([l1_norm(x, reconstructed), latent], dim=1)
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
        check_choice(self, "decay", DECAYS)
        check_choice(self, "score_form", SCORE_FORMS)
