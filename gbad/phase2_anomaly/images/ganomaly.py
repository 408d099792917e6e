"""GANomaly: an encoder-decoder-encoder with the same code for a normal image and for its reconstruction.

Source: Akcay, Atapour-Abarghouei, Breckon, "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training", ACCV
2018; equation numbers refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import COLLAPSED, FeatureDiscriminator, decoder, encoder, initialise
from gbad.phase2_anomaly.images.image_detector import LEAKS, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import mean_absolute, mean_square, per_image
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import move_all

# ---- networks -------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """Encoder, decoder, second encoder: x -> z -> reconstruction -> its code."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.encoder = encoder(channels, features, size, latent_size)
        self.decoder = decoder(latent_size, features, size, channels)
        self.second_encoder = encoder(channels, features, size, latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction (b, C, S, S), code and code of the reconstruction, both (b, latent_size, 1, 1)."""
        code = self.encoder(x)
        reconstructed = self.decoder(code)
        return reconstructed, code, self.second_encoder(reconstructed)


class GANomaly(nn.Module):
    """Generator and discriminator."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.generator = Generator(channels, features, size, latent_size)
        self.discriminator = FeatureDiscriminator(channels, features, size)
        initialise(self)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class GANomalyDetector(ImageAnomalyDetector[GANomaly]):
    """GANomaly. An image is abnormal if the second encoder does not return the code of the first one.

    Paper and published code have the same weights (1, 50, 1) but different scores: the L1 distance of the codes in the
    paper, their mean squared difference in the code and here. The code never left train mode and scaled scores over
    the test set: ``paper_scores`` does the same.

    Parameters
    ----------
    latent_size : int
        Length of the code.
    features : int
        Channels after the first layer; less is faster.
    adversarial_weight, contextual_weight, encoder_weight : float
        Of Eqs. (1), (2), (3) in the generator's loss, Eq. (4).
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = GANomalyDetector(features=4, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape
    (2,)
    """

    latent_size: int = 100
    features: int = 64
    adversarial_weight: float = 1.0
    contextual_weight: float = 50.0
    encoder_weight: float = 1.0

    part_names = ("latent",)
    published_leaks = LEAKS

    def _networks(self) -> GANomaly:
        return GANomaly(self.channels_, self.features, self.image_size, self.latent_size)

    def _step(self, networks: GANomaly, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        reconstructed, code, reconstructed_code = networks.generator(x)
        real, features = networks.discriminator(x)
        fake, reconstructed_features = networks.discriminator(reconstructed)
        generator_loss = (
            self.adversarial_weight * mean_square(features.detach(), reconstructed_features)  # Eq. (1)
            + self.contextual_weight * mean_absolute(x, reconstructed)  # Eq. (2)
            + self.encoder_weight * mean_square(code, reconstructed_code)  # Eq. (3)
        )  # Eq. (4)
        losses = move_all(
            optimisers, {"generator": generator_loss, "discriminator": discriminator_loss(real, fake) / 2}
        )
        if losses["discriminator"] < COLLAPSED:
            initialise(networks.discriminator)
        return losses

    def _score_parts(self, networks: GANomaly, x: Tensor) -> Tensor:
        _, code, reconstructed_code = networks.generator(x)
        return per_image((code - reconstructed_code).square())[:, None]
