"""AnoGAN: a GAN of normal images; an image is judged by the nearest one that the generator can make.

Source: Schlegl, Seeboeck, Waldstein, Schmidt-Erfurth, Langs, "Unsupervised Anomaly Detection with Generative
Adversarial Networks to Guide Marker Discovery", IPMI 2017; equation numbers refer to it.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_scalar
from torch import Tensor, nn
from torch.nn.functional import softplus

from gbad.phase2_anomaly.images.blocks import FeatureDiscriminator, decoder, initialise
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.training import Optimisers, adam, move
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.runtime.randomness import derived_seed, torch_generator

# ---- networks -------------------------------------------------------------------------------------------------------


class AnoGAN(nn.Module):
    """DCGAN: generator (b, latent_size, 1, 1) -> (b, C, S, S), and discriminator."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.generator = decoder(latent_size, features, size, channels)
        self.discriminator = FeatureDiscriminator(channels, features, size)
        initialise(self)


# ---- losses ---------------------------------------------------------------------------------------------------------


def residual_loss(x: Tensor, generated: Tensor) -> Tensor:
    """Sum of |x - G(z)| over an image's pixels, Eq. (2): (b, C, S, S) -> (b,)."""
    return (x - generated).abs().flatten(1).sum(dim=1)


def matching_loss(features: Tensor, generated_features: Tensor) -> Tensor:
    """Sum of the absolute differences of the discriminator's features, Eq. (4): (b, W, 4, 4) -> (b,)."""
    return (features - generated_features).abs().flatten(1).sum(dim=1)


def search_rate(step: int, n_steps: int, first: float) -> float:
    """Learning rate of a step of the search: `first`, a tenth of it after 40 % of the steps, a twentieth after 60 %."""
    return first * (1.0 if step < 0.4 * n_steps else 0.1 if step < 0.6 * n_steps else 0.05)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class AnoGANDetector(ImageAnomalyDetector[AnoGAN]):
    """AnoGAN. For each image, Adam searches the code z whose image G(z) is nearest, and the distance left is the score.

    Every search starts from the same code, and no image's gradient touches another's code, so a score does not depend
    on the batch. The search makes scoring slow: some hundred passes through the networks for each image. The steps of
    the search and their rates are those of EGBAD's baseline.

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

    def _optimisers(self, networks: AnoGAN) -> Optimisers:
        return {
            "generator": adam(networks.generator, self.learning_rate, self.beta1),
            "discriminator": adam(networks.discriminator, self.learning_rate, self.beta1),
        }

    def _step(self, networks: AnoGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        z = torch.randn(len(x), self.latent_size, 1, 1, device=x.device)
        real, _ = networks.discriminator(x)
        fake, _ = networks.discriminator(networks.generator(z))
        loss, generator_loss = discriminator_loss(real, fake), softplus(-fake).mean()
        move(optimisers["generator"], generator_loss, keep_graph=True)
        move(optimisers["discriminator"], loss)
        return {"discriminator": loss.detach(), "generator": generator_loss.detach()}

    def _search(self, networks: AnoGAN, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find each image's code: the image made of it (b, C, S, S), and both parts of its distance (b, 2)."""
        start = torch.randn(1, self.latent_size, 1, 1, generator=torch_generator(derived_seed(self.seed_, "search")))
        z = start.to(x.device).repeat(len(x), 1, 1, 1).requires_grad_()
        optimiser = torch.optim.Adam([z], lr=self.search_learning_rate)
        features = networks.discriminator(x)[1]
        with torch.enable_grad():
            for step in range(self.search_steps):
                optimiser.param_groups[0]["lr"] = search_rate(step, self.search_steps, self.search_learning_rate)
                parts = self._distance(networks, x, features, networks.generator(z))
                weighted = (1.0 - self.matching_weight) * parts[:, 0] + self.matching_weight * parts[:, 1]
                optimiser.zero_grad()
                weighted.sum().backward()  # a sum, so that each code's gradient is that of its own image
                optimiser.step()
        generated = networks.generator(z)
        return generated, self._distance(networks, x, features, generated)

    def _distance(self, networks: AnoGAN, x: Tensor, features: Tensor, generated: Tensor) -> Tensor:
        matching = matching_loss(features, networks.discriminator(generated)[1])
        return torch.stack([residual_loss(x, generated), matching], dim=1)

    def _score_parts(self, networks: AnoGAN, x: Tensor) -> Tensor:
        return self._search(networks, x)[1]

    def _normalise(self, networks: AnoGAN, x: Tensor) -> None:
        # In place of the search, whose steps would all count: images made of drawn codes, as in training.
        z = torch.randn(len(x), self.latent_size, 1, 1, device=x.device)
        networks.discriminator(x)
        networks.discriminator(networks.generator(z))

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        return (1.0 - self.matching_weight) * parts[:, 0] + self.matching_weight * parts[:, 1]  # Eq. (5)

    def _maps(self, networks: AnoGAN, x: Tensor) -> Tensor:
        return (x - self._search(networks, x)[0]).abs().mean(dim=1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.matching_weight, "matching_weight", numbers.Real, min_val=0.0, max_val=1.0)
        check_scalar(self.search_steps, "search_steps", numbers.Integral, min_val=1)
