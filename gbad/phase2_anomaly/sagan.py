"""Skip-Attention GAN (SAGAN): Skip-GANomaly with attention in its skip connections and separable convolutions.

Source: Liu, Lan, Zhang, Huang, Wang, "SAGAN: Skip-Attention GAN for Anomaly Detection"; equation numbers refer to it.
The code published with it differs from the paper in weights (1, 50, 1), lambda (0.9) and learning rate (2e-4), and
builds the generator of Skip-GANomaly; here the paper counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gbad.phase2_anomaly.blocks import Discriminator, initialise
from gbad.phase2_anomaly.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.image_training import Optimisers, adam, move
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.sagan_networks import AttentionUNet

# ---- networks -------------------------------------------------------------------------------------------------------


class SAGAN(nn.Module):
    """Attention U-Net and DCGAN's discriminator (Fig. 1)."""

    def __init__(
        self, channels: int, size: int, widths: Sequence[int], separable: bool, features: int, latent_size: int
    ) -> None:
        super().__init__()
        self.generator = AttentionUNet(channels, widths, separable)
        self.discriminator = Discriminator(channels, features, size, latent_size)
        initialise(self)


# ---- losses ---------------------------------------------------------------------------------------------------------


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """The generator's share of Eq. (3), as mean of ``-log D(G(x))``, which keeps its gradient; scalar."""
    return softplus(-fake_logits).mean()


def contextual_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean |residual| of a pixel, Eq. (1); scalar."""
    return (x - reconstructed).abs().mean()


def latent_loss(code: Tensor, reconstructed_code: Tensor) -> Tensor:
    """Mean squared difference of the discriminator's codes of x and G(x); scalar.

    Eq. (2) prints an L2 norm; its source, Skip-GANomaly, prints it too and computes the mean square, as here.
    """
    return (code - reconstructed_code).square().mean()


def late_decay(epoch: int, n_epochs: int) -> float:
    """Factor of the learning rate: 1 in the first half of the epochs, then falling evenly, 0 behind the last one.

    The paper says "lambda decay" and gives no formula.

    Examples
    --------
    >>> [late_decay(epoch, 4) for epoch in range(4)]
    [1.0, 1.0, 1.0, 0.5]
    """
    return min(1.0, 2.0 * (n_epochs - epoch) / n_epochs)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class SAGANDetector(ImageAnomalyDetector[SAGAN]):
    """Skip-Attention GAN. What its generator cannot reproduce, in pixels or in the discriminator's code, is abnormal.

    At 32 px in colour the networks have 5,102,035 parameters (18,415,575 with ordinary convolutions); the paper counts
    5,181,089 (18,498,481) and leaves open what makes up the last percent.

    R and L of the score are the norms that Eqs. (1) and (2) print: sums over the pixels and over the code. (Means, as
    in training, would leave the score to the code alone, since lambda is small.)

    Parameters
    ----------
    widths : tuple of int
        Channels of the generator's levels, from fine to coarse; fewer and narrower ones are faster.
    separable : bool
        Depth-wise separable convolutions (Section 2.3).
    features : int
        Channels after the discriminator's first layer.
    latent_size : int
        Length of the discriminator's code.
    adversarial_weight, contextual_weight, latent_weight : float
        Of Eqs. (3), (1), (2) in the generator's loss, Eq. (4).
    score_weight : float
        Lambda of Eq. (5), share of the reconstruction in the score, in [0, 1].
    image_size, channels, epochs, batch_size, learning_rate, beta1, device, calibration_images, contamination, \
random_state
        See `ImageAnomalyDetector`. Epochs and batch are not in the paper; the batch is that of its code.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = SAGANDetector(widths=(4, 8), features=4, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    separable: bool = True
    features: int = 64
    latent_size: int = 100
    adversarial_weight: float = 1.0
    contextual_weight: float = 40.0
    latent_weight: float = 1.0
    score_weight: float = 0.2
    batch_size: int = 32
    learning_rate: float = 2e-3

    part_names = ("reconstruction", "latent")

    def _networks(self) -> SAGAN:
        return SAGAN(self.channels_, self.image_size, self.widths, self.separable, self.features, self.latent_size)

    def _optimisers(self, networks: SAGAN) -> Optimisers:
        return {
            "generator": adam(networks.generator, self.learning_rate, self.beta1),
            "discriminator": adam(networks.discriminator, self.learning_rate, self.beta1),
        }

    def _rate_factor(self, epoch: int) -> float:
        return late_decay(epoch, self.epochs)

    def _step(self, networks: SAGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        reconstructed = networks.generator(x)
        real, code = networks.discriminator(x)
        fake, reconstructed_code = networks.discriminator(reconstructed)
        contextual = contextual_loss(x, reconstructed)
        loss = (
            self.adversarial_weight * adversarial_loss(fake)
            + self.contextual_weight * contextual
            + self.latent_weight * latent_loss(code.detach(), reconstructed_code)
        )
        move(optimisers["generator"], loss)
        of_d = discriminator_loss(real, networks.discriminator(reconstructed.detach())[0])
        move(optimisers["discriminator"], of_d)
        return {"generator": loss.detach(), "discriminator": of_d.detach(), "contextual": contextual.detach()}

    def _score_parts(self, networks: SAGAN, x: Tensor) -> Tensor:
        reconstructed = networks.generator(x)
        code, reconstructed_code = networks.discriminator(x)[1], networks.discriminator(reconstructed)[1]
        of_image = (x - reconstructed).abs().flatten(1).sum(dim=1)
        return torch.stack([of_image, torch.linalg.vector_norm((code - reconstructed_code).flatten(1), dim=1)], dim=1)

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        """Eq. (5)."""
        return parts @ np.array([self.score_weight, 1 - self.score_weight])

    def _maps(self, networks: SAGAN, x: Tensor) -> Tensor:
        return (x - networks.generator(x)).abs().mean(dim=1)
