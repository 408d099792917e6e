"""AnoGAN: a GAN of normal images. An image is judged by its distance to the nearest image that the generator makes.

Source: Schlegl, Seeboeck, Waldstein, Schmidt-Erfurth, Langs, "Unsupervised Anomaly Detection with Generative
Adversarial Networks to Guide Marker Discovery", IPMI 2017; equation numbers refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import FeatureDiscriminator, decoder, initialise
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, l1_norm, residual_map
from gbad.phase2_anomaly.images.scoring import weighted_sum
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import move_all
from gbad.phase2_anomaly.parameters import check_real
from gbad.runtime.randomness import derived_seed, torch_generator

# ---- networks -------------------------------------------------------------------------------------------------------


class AnoGAN(nn.Module):
    """DCGAN: generator (b, latent_size, 1, 1) -> (b, C, S, S), and discriminator."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.generator = decoder(latent_size, features, size, channels)
        self.discriminator = FeatureDiscriminator(channels, features, size)
        initialise(self)


# ---- search ----------------------------------------------------------------------------------------------------------


def search_rate(step: int, n_steps: int, first: float) -> float:
    """Learning rate of a step: `first`, a tenth of it after 40 % of the steps, a twentieth after 60 %."""
    return first * (1.0 if step < 0.4 * n_steps else 0.1 if step < 0.6 * n_steps else 0.05)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class AnoGANDetector(ImageAnomalyDetector[AnoGAN]):
    """AnoGAN. For each image, Adam searches the code z with the nearest image G(z); the distance left is the score.

    Every search starts from the same code, and no image's gradient touches the code of another, so a score does not
    depend on the batch. The search makes scoring slow: hundreds of passes through the networks for each image. The
    number of steps and the learning rates are those of EGBAD's baseline.

    Parameters
    ----------
    latent_size : int
        Length of the code.
    features : int
        Channels of both networks next to the image; less is faster.
    matching_weight : float
        Share of feature matching in the distance, Eq. (5), in [0, 1].
    search_steps : int
        Steps of the search.
    search_learning_rate : float
        Of Adam in the search, at its start.
    calibration_images : int
        As in `ImageAnomalyDetector`; few, because of the search.
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = AnoGANDetector(features=4, latent_size=8, search_steps=5, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    latent_size: int = 100
    features: int = 64
    matching_weight: float = 0.1
    search_steps: int = 500
    search_learning_rate: float = 0.01
    calibration_images: int = 256

    part_names = ("residual", "matching")

    def _networks(self) -> AnoGAN:
        return AnoGAN(self.channels_, self.features, self.image_size, self.latent_size)

    def _step(self, networks: AnoGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        z = torch.randn(len(x), self.latent_size, 1, 1, device=x.device)
        real, _ = networks.discriminator(x)
        fake, _ = networks.discriminator(networks.generator(z))
        losses = {"generator": adversarial_loss(fake), "discriminator": discriminator_loss(real, fake)}
        return move_all(optimisers, losses)

    def _search(self, networks: AnoGAN, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find each image's code; return its image G(z), (b, C, S, S), and both parts of its distance, (b, 2)."""
        start = torch.randn(1, self.latent_size, 1, 1, generator=torch_generator(derived_seed(self.seed_, "search")))
        z = start.to(x.device).repeat(len(x), 1, 1, 1).requires_grad_()
        optimiser = torch.optim.Adam([z], lr=self.search_learning_rate)
        features = networks.discriminator(x)[1]
        with torch.enable_grad():
            for step in range(self.search_steps):
                optimiser.param_groups[0]["lr"] = search_rate(step, self.search_steps, self.search_learning_rate)
                parts = self._distance(networks, x, features, networks.generator(z))
                optimiser.zero_grad()
                # A sum over the images, so each code gets the gradient of its own image.
                torch.autograd.backward(weighted_sum(parts, self._part_weights()).sum())
                optimiser.step()
        generated = networks.generator(z)
        return generated, self._distance(networks, x, features, generated)

    def _distance(self, networks: AnoGAN, x: Tensor, features: Tensor, generated: Tensor) -> Tensor:
        """Residual loss, Eq. (2), and the loss of the discriminator's features, Eq. (4): (b, 2)."""
        matching = l1_norm(features, networks.discriminator(generated)[1])
        return torch.stack([l1_norm(x, generated), matching], dim=1)

    def _score_parts(self, networks: AnoGAN, x: Tensor) -> Tensor:
        return self._search(networks, x)[1]

    def _normalise(self, networks: AnoGAN, x: Tensor) -> None:
        # Images of drawn codes, as in training. Every step of a search would count as a batch.
        z = torch.randn(len(x), self.latent_size, 1, 1, device=x.device)
        networks.discriminator(x)
        networks.discriminator(networks.generator(z))

    def _part_weights(self) -> tuple[float, ...]:
        return 1.0 - self.matching_weight, self.matching_weight  # Eq. (5)

    def _maps(self, networks: AnoGAN, x: Tensor) -> Tensor:
        return residual_map(x, self._search(networks, x)[0])

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("matching_weight",), 0.0, 1.0)
