"""Variational autoencoder: the baseline without an adversary.

Source: Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR 2014; equation numbers refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import decoder, encoder, initialise
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.optimisers import adam, move
from gbad.phase2_anomaly.parameters import check_real

_MOST_LOG_VARIANCE = 30.0  # far above the values after training; the variance of an odd image would overflow at 88

# ---- networks -------------------------------------------------------------------------------------------------------


class VAE(nn.Module):
    """DCGAN's encoder, for a normal distribution of codes, and its decoder, for the mean of the pixels."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.encoder = encoder(channels, features, size, 2 * latent_size)
        self.decoder = decoder(latent_size, features, size, channels)
        initialise(self)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the code, both (b, latent_size, 1, 1)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(max=_MOST_LOG_VARIANCE)


# ---- losses ---------------------------------------------------------------------------------------------------------


def reconstruction_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """``-log p(x | z)`` of Eq. (10) without its constant, for pixels of variance 1: (b, C, S, S) -> (b,)."""
    return (x - reconstructed).square().flatten(1).sum(dim=1) / 2


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the code's distribution to the standard normal one, Appendix B: (b,)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1) / 2


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class VAEDetector(ImageAnomalyDetector[VAE]):
    """Variational autoencoder. The score is the loss itself at the mean of the code, so nothing in it is random.

    Parameters
    ----------
    latent_size : int
        Length of the code.
    features : int
        Channels after the first layer; less is faster.
    divergence_weight : float
        Weight of the divergence beside the reconstruction, in training and in the score; 1 is Eq. (10).
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = VAEDetector(features=4, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    latent_size: int = 100
    features: int = 64
    divergence_weight: float = 1.0
    learning_rate: float = 1e-3
    beta1: float = 0.9

    part_names = ("reconstruction", "divergence")

    def _networks(self) -> VAE:
        return VAE(self.channels_, self.features, self.image_size, self.latent_size)

    def _optimisers(self, networks: VAE) -> Optimisers:
        return {"vae": adam([networks], self.learning_rate, self.beta1)}

    def _step(self, networks: VAE, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        mean, log_variance = networks.encode(x)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        reconstruction = reconstruction_loss(x, networks.decoder(code)).mean()
        distance = divergence(mean, log_variance).mean()
        move(optimisers["vae"], reconstruction + self.divergence_weight * distance)
        return {"reconstruction": reconstruction.detach(), "divergence": distance.detach()}

    def _score_parts(self, networks: VAE, x: Tensor) -> Tensor:
        mean, log_variance = networks.encode(x)
        reconstruction = reconstruction_loss(x, networks.decoder(mean))
        return torch.stack([reconstruction, divergence(mean, log_variance)], dim=1)

    def _part_weights(self) -> tuple[float, ...]:
        return 1.0, self.divergence_weight

    def _maps(self, networks: VAE, x: Tensor) -> Tensor:
        reconstructed: Tensor = networks.decoder(networks.encode(x)[0])
        return (x - reconstructed).square().mean(dim=1)

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("divergence_weight",), 0.0)
