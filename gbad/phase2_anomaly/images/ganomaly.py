"""GANomaly: an encoder-decoder-encoder that maps normal images and their reconstructions to the same code.

Source: Akcay, Atapour-Abarghouei, Breckon, "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training", ACCV
2018; equation numbers refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import FeatureDiscriminator, decoder, encoder, initialise, per_image
from gbad.phase2_anomaly.images.image_detector import LEAKS, ImageAnomalyDetector
from gbad.phase2_anomaly.images.training import Optimisers, adam, move
from gbad.phase2_anomaly.losses import discriminator_loss

_COLLAPSED = 1e-5  # a discriminator's loss below this gives the generator nothing to learn from


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


# ---- losses ---------------------------------------------------------------------------------------------------------


def adversarial_loss(features: Tensor, reconstructed_features: Tensor) -> Tensor:
    """Feature matching, Eq. (1): mean squared difference of the discriminator's features; scalar."""
    return (features - reconstructed_features).square().mean()


def contextual_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean |residual| of a pixel, Eq. (2); scalar."""
    return (x - reconstructed).abs().mean()


def encoder_loss(code: Tensor, reconstructed_code: Tensor) -> Tensor:
    """Mean squared difference of the two codes, Eq. (3); scalar."""
    return (code - reconstructed_code).square().mean()


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class GANomalyDetector(ImageAnomalyDetector[GANomaly]):
    """GANomaly. What the second encoder cannot map back to the first one's code is abnormal.

    Paper and published code differ: the paper's weights and the code's are equal here (1, 50, 1), the paper's score is
    the L1 distance of the codes, and the code's their mean squared difference, which is used here. The code never
    left train mode and scaled scores over the test set: ``paper_scores`` does so.

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

    def _optimisers(self, networks: GANomaly) -> Optimisers:
        return {
            "generator": adam(networks.generator, self.learning_rate, self.beta1),
            "discriminator": adam(networks.discriminator, self.learning_rate, self.beta1),
        }

    def _step(self, networks: GANomaly, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        reconstructed, code, reconstructed_code = networks.generator(x)
        real, features = networks.discriminator(x)
        fake, reconstructed_features = networks.discriminator(reconstructed)
        generator_loss = (
            self.adversarial_weight * adversarial_loss(features.detach(), reconstructed_features)
            + self.contextual_weight * contextual_loss(x, reconstructed)
            + self.encoder_weight * encoder_loss(code, reconstructed_code)
        )  # Eq. (4)
        loss = discriminator_loss(real, fake) / 2
        move(optimisers["generator"], generator_loss, keep_graph=True)
        move(optimisers["discriminator"], loss)
        if loss < _COLLAPSED:
            initialise(networks.discriminator)
        return {"generator": generator_loss.detach(), "discriminator": loss.detach()}

    def _score_parts(self, networks: GANomaly, x: Tensor) -> Tensor:
        _, code, reconstructed_code = networks.generator(x)
        return per_image((code - reconstructed_code).square())[:, None]
