"""f-AnoGAN: a Wasserstein GAN of normal images, and an encoder that is trained afterwards to find codes at once.

Source: Schlegl, Seeboeck, Waldstein, Langs, Schmidt-Erfurth, "f-AnoGAN: Fast Unsupervised Anomaly Detection with
Generative Adversarial Networks", Medical Image Analysis 2019; the encoder is that of its training ``izi_f``. The
gradient penalty is that of Gulrajani et al., "Improved Training of Wasserstein GANs", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.epochs import Callback
from gbad.phase2_anomaly.images.batch_statistics import renew_batch_statistics
from gbad.phase2_anomaly.images.f_anogan_networks import Critic, Encoder, Generator
from gbad.phase2_anomaly.images.image_detector import EachEpoch, FirstWeights, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import per_image, residual_map
from gbad.phase2_anomaly.images.rows import ImageRows, even_batches
from gbad.phase2_anomaly.images.training import Optimisers, Schedule, train_networks
from gbad.phase2_anomaly.optimisers import adam, move
from gbad.phase2_anomaly.parameters import check_real
from gbad.runtime.randomness import derived_seed, forked_rng

# ---- networks -------------------------------------------------------------------------------------------------------


class WassersteinGAN(nn.Module):
    """Generator and critic, and the number of steps that the critic has made."""

    steps: Tensor

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.generator = Generator(channels, features, size, latent_size)
        self.critic = Critic(channels, features, size)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


class FAnoGAN(nn.Module):
    """The trained GAN, whose weights stay, and the encoder."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.gan = WassersteinGAN(channels, features, size, latent_size).requires_grad_(False)
        self.encoder = Encoder(channels, features, size, latent_size)


# ---- losses ---------------------------------------------------------------------------------------------------------


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (slope - 1)², the slope of the critic being taken at a random point between each real and fake image.

    Parameters
    ----------
    critic : callable
        Images -> (judgement (b,), features).
    real, fake : Tensor of shape (b, C, S, S)

    Returns
    -------
    Tensor
        Scalar, 0 or larger.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (real + share * (fake - real)).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(between)[0].sum(), between, create_graph=True)
    penalty: Tensor = (torch.linalg.vector_norm(slopes.flatten(1), dim=1) - 1).square().mean()
    return penalty


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class FAnoGANDetector(ImageAnomalyDetector[FAnoGAN]):
    """f-AnoGAN. An image is abnormal if G(E(x)) differs from it, in pixels or in the critic's features.

    The GAN is trained first, for ``gan_epochs``; then its weights stay, and the encoder is trained for ``epochs``.
    ``callback`` and ``history_`` are about the encoder.

    The published code tested once, in eval mode and without scaling: ``paper_scores`` differs from ``score_samples``
    only by scaling. Batch normalisation of G has the statistics of drawn codes, computed anew after the GAN's training
    (running averages there).

    Parameters
    ----------
    latent_size : int
        Length of the code.
    features : int
        Channels of all networks next to the image; less is faster.
    feature_weight : float
        Kappa, weight of the critic's features beside the pixels, in the encoder's loss and in the score.
    gan_epochs : int
        Passes over the images in the training of the GAN, of which each batch moves the critic.
    critic_steps : int
        The generator moves once in so many batches.
    penalty_weight : float
        Of the gradient penalty.
    gan_rate, beta1, beta2 : float
        Of Adam, for generator and critic.
    learning_rate : float
        Of RMSprop, for the encoder.
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = FAnoGANDetector(features=2, latent_size=8, gan_epochs=1, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    latent_size: int = 128
    features: int = 64
    feature_weight: float = 1.0
    gan_epochs: int = 15
    critic_steps: int = 5
    penalty_weight: float = 10.0
    gan_rate: float = 1e-4
    beta1: float = 0.0
    beta2: float = 0.9
    learning_rate: float = 5e-5

    part_names = ("residual", "features")

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, callback: Callback | None = None,
        each_epoch: EachEpoch | None = None,
    ) -> Self:  # fmt: skip
        """Train on normal images; see `ImageAnomalyDetector.fit`.

        The GAN's checkpoint is a second file, named `checkpoint` plus ``.gan``.
        """
        super().fit(X, checkpoint=checkpoint, callback=callback, each_epoch=each_epoch)
        with torch.device("meta"):
            self.n_parameters_ = sum(parameter.numel() for parameter in self._networks().parameters())
        return self

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("feature_weight", "penalty_weight"), 0.0)
        check_real(self, ("gan_rate",), 0.0, ends="neither")
        check_real(self, ("beta2",), 0.0, 1.0, "left")

    def _networks(self) -> FAnoGAN:
        return FAnoGAN(self.channels_, self.features, self.image_size, self.latent_size)

    def _first_weights(self, images: ImageRows, checkpoint: Path | None) -> FirstWeights:
        """Train the GAN."""
        with forked_rng(derived_seed(self.seed_, "GAN")):
            gan = WassersteinGAN(images.channels, self.features, self.image_size, self.latent_size).to(self.device)
        rates = (self.gan_rate, self.beta1, self.beta2)
        optimisers: Optimisers = {name: adam([gan.get_submodule(name)], *rates) for name in ("generator", "critic")}
        others = ("learning_rate", "feature_weight", "epochs")  # of the encoder alone
        about = {name: value for name, value in self._about(images).items() if name not in others}
        seed = derived_seed(self.seed_, "GAN")
        train_networks(
            gan,
            optimisers,
            lambda x: self._gan_step(gan, optimisers, x),
            images.read,
            Schedule(len(images), self.gan_epochs, self.batch_size, seed),
            checkpoint=None if checkpoint is None else Path(f"{checkpoint}.gan"),
            about=about,
        )
        rows = np.random.default_rng(seed).permutation(len(images))[: max(2, self.calibration_images)]
        batches = (images.read(batch).to(self.device) for batch in even_batches(rows, self.batch_size))
        with forked_rng(seed, self.device):
            renew_batch_statistics(gan, lambda x: gan.generator(self._codes(x)), batches)
        return {"gan": gan.state_dict()}

    def _gan_step(self, gan: WassersteinGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        """Move the critic and, once in ``critic_steps`` batches, the generator."""
        with torch.no_grad():
            fake = gan.generator(self._codes(x))
        loss = gan.critic(fake)[0].mean() - gan.critic(x)[0].mean()
        loss = loss + self.penalty_weight * gradient_penalty(gan.critic, x, fake)
        move(optimisers["critic"], loss)
        gan.steps += 1
        if int(gan.steps) % self.critic_steps == 0:
            move(optimisers["generator"], -gan.critic(gan.generator(self._codes(x)))[0].mean())
        return {"critic": loss.detach()}

    def _codes(self, x: Tensor) -> Tensor:
        """As many codes as there are images."""
        return torch.randn(len(x), self.latent_size, device=x.device)

    def _optimisers(self, networks: FAnoGAN) -> Optimisers:
        # The decay is TensorFlow's, in which the code is written.
        return {"encoder": torch.optim.RMSprop(networks.encoder.parameters(), lr=self.learning_rate, alpha=0.9)}

    def _step(self, networks: FAnoGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        networks.gan.eval()  # its weights and statistics stay
        parts = self._score_parts(networks, x).mean(dim=0)
        loss = parts[0] + self.feature_weight * parts[1]
        move(optimisers["encoder"], loss)
        return {"encoder": loss.detach(), "residual": parts[0].detach(), "features": parts[1].detach()}

    def _score_parts(self, networks: FAnoGAN, x: Tensor) -> Tensor:
        made = networks.gan.generator(networks.encoder(x))
        features, features_of_made = networks.gan.critic(x)[1], networks.gan.critic(made)[1]
        return torch.stack([per_image((x - made).square()), per_image((features - features_of_made).square())], dim=1)

    def _part_weights(self) -> tuple[float, ...]:
        return 1.0, self.feature_weight

    def _normalise(self, networks: FAnoGAN, x: Tensor) -> None:
        networks.encoder(x)  # the statistics of G are those of drawn codes, with which it was trained

    def _maps(self, networks: FAnoGAN, x: Tensor) -> Tensor:
        return residual_map(x, networks.gan.generator(networks.encoder(x)))
