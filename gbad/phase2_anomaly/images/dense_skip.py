"""Dense-skip attention GAN: nested skip pathways in the generator, self-attention in the discriminator, on patches.

Source: Zaware, Bhayani, Bhowmik, Tiwari, Dhiraj, "Detecting Anomalies using Generative Adversarial Networks on Images";
equation numbers refer to it. No code was published with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.images.dense_skip_networks import (
    AttentionDiscriminator,
    DenseSkipGenerator,
    add_spectral_norm,
    fold_spectral_norm,
)
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, per_image
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import move_all
from gbad.phase2_anomaly.parameters import check_real

# ---- networks -------------------------------------------------------------------------------------------------------


class DenseSkipGAN(nn.Module):
    """Nested U-Net (Fig. 3) and attending discriminator (Fig. 4), for patches."""

    def __init__(
        self, channels: int, side: int, widths: Sequence[int], features: int, latent_size: int, heads: int,
        *, attention: bool = True, dense_skip: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.generator = DenseSkipGenerator(channels, widths, dense_skip)
        self.discriminator = AttentionDiscriminator(channels, side, features, latent_size, heads, attention)


def to_patches(x: Tensor, side: int) -> Tensor:
    """Cut images into a grid of patches that do not overlap (Fig. 2), row by row.

    Parameters
    ----------
    x : Tensor of shape (n, C, g * side, g * side)

    Returns
    -------
    Tensor
        Shape (n * g * g, C, side, side).

    Examples
    --------
    >>> to_patches(torch.arange(16).view(1, 1, 4, 4), 2)[:, 0].tolist()
    [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]]]
    """
    n, channels, height, width = x.shape
    grid = x.view(n, channels, height // side, side, width // side, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def from_patches(patches: Tensor, grid: int) -> Tensor:
    """Put patches together again, the inverse of `to_patches`: (n * g * g, C, s, s) -> (n, C, g * s, g * s)."""
    channels, side = patches.shape[1:3]
    rows = patches.view(-1, grid, grid, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return rows.reshape(-1, channels, grid * side, grid * side)


# ---- losses ---------------------------------------------------------------------------------------------------------


def contextual_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean |residual| of a pixel for each image, Eq. (3), and A_G of Eq. (6): (n, C, S, S) -> (n,)."""
    return per_image((x - reconstructed).abs())


def latent_loss(features: Tensor, reconstructed_features: Tensor) -> Tensor:
    """Mean |difference| of the last convolution's features, Eq. (4), and A_D of Eq. (6): (n, Z) -> (n,).

    The means of Eqs. (3) and (4) are L1 norms divided by their length, so weights do not depend on the image's size.
    """
    return per_image((features - reconstructed_features).abs())


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class DenseSkipDetector(ImageAnomalyDetector[DenseSkipGAN]):
    """Dense-skip attention GAN. An image is abnormal if its reconstruction differs, in pixels or features.

    Images of ``image_size`` are cut into patches of ``patch_size``; the networks see only patches. An image has the
    score of its most abnormal patch, because a threat fills few patches. The paper scores patches and does not say how
    to judge a whole image. `patch_map` gives the scores of the patches.

    Parameters
    ----------
    image_size : int
        Side in pixels to which images are warped; ``patch_size`` times any whole number.
    patch_size : int or None
        Side of the patches, and of the networks' input: a power of two from 32 to 256 (256 in the paper for SIXray and
        MVTec AD). None judges the image as one patch (CIFAR-10 in the paper).
    widths : tuple of int
        Channels of the generator's levels, from fine to coarse; the paper states none, the default is that of UNet++.
        Fewer and narrower ones are faster.
    features : int
        Channels after the discriminator's first layer.
    latent_size : int
        Length of f(x); the paper states none.
    heads : int
        N_h of the attention (Section 3).
    attention, spectral_norm, dense_skip : bool
        Parts that the paper adds to a GAN of a U-Net: attention in the discriminator (its ablation on 10,000 images of
        SIXray gives it 0.021 of AUC and 0.01 of recall), spectral normalisation of both networks (0.008 and 0.08), and
        the nested skip pathways (no figure printed).
    adversarial_weight, contextual_weight, latent_weight : float
        w_1, w_2, w_3 of Eq. (5).
    score_weight : float
        Eta of Eq. (6), share of the contextual part in the score, in [0, 1]. The paper does not state it; 0.9 is the
        weight of Skip-GANomaly, whose score this is.
    learning_rate : float
        Of Adam, as in the paper. It is high for a GAN: if the discriminator's loss stays at 2 log 2, the discriminator
        has stopped learning; then try 2e-4.
    **common
        See `ImageAnomalyDetector`. A batch counts images, each of which brings all its patches. The paper's models
        converge in about 20 epochs.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 99, (4, 64, 64), dtype=np.uint8)
    >>> small = dict(widths=(4, 8), features=8, latent_size=8, epochs=1)
    >>> detector = DenseSkipDetector(image_size=64, patch_size=32, **small).fit(images)
    >>> detector.score_samples(images).shape, detector.patch_map(images).shape, detector.anomaly_map(images).shape
    ((4,), (4, 2, 2), (4, 64, 64))
    """

    patch_size: int | None = None
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    features: int = 64
    latent_size: int = 100
    heads: int = 4
    attention: bool = True
    spectral_norm: bool = True
    dense_skip: bool = True
    adversarial_weight: float = 1.0
    contextual_weight: float = 40.0
    latent_weight: float = 1.0
    score_weight: float = 0.9
    epochs: int = 20
    learning_rate: float = 8e-3

    part_names = ("contextual", "latent")

    def patch_map(self, X: Any) -> Floats:
        """Score the patches of each image: (n, g, g) float64, on the scale of `score_samples`, low = abnormal.

        Parameters
        ----------
        X : ndarray of uint8 or sequence of paths
            One image or more. The lowest score of its patches is the score of an image.
        """
        return self._scaled(self._per_image(X, self._patch_parts, np.float64))  # of (n, g, g, 2)

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        side = self._side
        if side not in (32, 64, 128, 256):
            raise ValueError(f"patch_size (or image_size, where it is None) must be 32, 64, 128 or 256, got {side!r}.")
        if self.image_size % side:
            raise ValueError(f"image_size must be a multiple of patch_size, got {self.image_size!r} and {side!r}.")
        ImageAnomalyDetector.check_parameters(clone(self).set_params(image_size=side))
        if not 1 <= len(self.widths) <= 6:
            raise ValueError(f"widths must be 1 to 6 numbers of channels, got {self.widths!r}.")
        if self.scale_parts and side < self.image_size:
            raise ValueError(
                "scale_parts=True needs patch_size=None: the medians of the parts depend on which patch is the worst, "
                "which depends on the medians. Set score_weight to weight the parts instead."
            )
        widest = self.features * 2 ** min(3, int(math.log2(side)) - 3)
        if self.attention and widest <= self.heads:
            raise ValueError(
                f"features is too small for {self.heads} heads: the attention shares {widest} channels with a "
                f"convolution. Raise features (now {self.features}) or lower heads."
            )
        check_real(self, ("score_weight",), 0.0, 1.0)

    @property
    def _side(self) -> int:
        return self.image_size if self.patch_size is None else self.patch_size

    def _plain_networks(self) -> DenseSkipGAN:
        return DenseSkipGAN(
            self.channels_, self._side, self.widths, self.features, self.latent_size, self.heads,
            attention=self.attention, dense_skip=self.dense_skip,
        )  # fmt: skip

    def _networks(self) -> DenseSkipGAN:
        networks = self._plain_networks()
        if self.spectral_norm:
            add_spectral_norm(networks.generator, networks.discriminator)
        return networks

    def _fitted_networks(self) -> DenseSkipGAN:
        weights = {name: torch.tensor(values, device=self.device) for name, values in self.weights_.items()}
        with torch.device("meta"):  # as in the base class, but without the bound
            networks = self._plain_networks()
        networks.load_state_dict(fold_spectral_norm(weights), assign=True)
        return networks.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    def _step(self, networks: DenseSkipGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        x = to_patches(x, self._side)
        reconstructed = networks.generator(x)
        features, real = networks.discriminator(x)
        reconstructed_features, fake = networks.discriminator(reconstructed)
        contextual = contextual_loss(x, reconstructed).mean()
        loss = (
            self.adversarial_weight * adversarial_loss(fake)
            + self.contextual_weight * contextual
            + self.latent_weight * latent_loss(features.detach(), reconstructed_features).mean()
        )  # Eq. (5)
        losses = {"generator": loss, "discriminator": discriminator_loss(real, fake)}  # Eq. (2)
        return move_all(optimisers, losses) | {"contextual": contextual.detach()}

    def _patch_parts(self, networks: DenseSkipGAN, x: Tensor) -> Tensor:
        """Both parts of Eq. (6) for each patch: (n, C, S, S) -> (n, g, g, 2)."""
        patches = to_patches(x, self._side)
        reconstructed = networks.generator(patches)
        of_d = latent_loss(networks.discriminator(patches)[0], networks.discriminator(reconstructed)[0])
        grid = self.image_size // self._side
        return torch.stack([contextual_loss(patches, reconstructed), of_d], dim=1).view(-1, grid, grid, 2)

    def _score_parts(self, networks: DenseSkipGAN, x: Tensor) -> Tensor:
        """Parts of the most abnormal patch."""
        parts = self._patch_parts(networks, x).flatten(1, 2)  # (n, g * g, 2)
        weights = torch.tensor([self.score_weight, 1 - self.score_weight], dtype=torch.float64)
        # On the CPU, because Apple's GPUs lack the double precision of _combine.
        most = (parts.cpu().double() @ weights).argmax(dim=1).to(parts.device)
        return parts[torch.arange(len(parts), device=parts.device), most]

    def _combine(self, parts: Floats) -> Floats:
        """Eq. (6), of patches too: (..., 2) -> (...)."""
        anomaly: Floats = parts @ np.array([self.score_weight, 1 - self.score_weight])
        return anomaly

    def _maps(self, networks: DenseSkipGAN, x: Tensor) -> Tensor:
        patches = to_patches(x, self._side)
        residual = (patches - networks.generator(patches)).abs().mean(dim=1, keepdim=True)
        return from_patches(residual, self.image_size // self._side)[:, 0]
