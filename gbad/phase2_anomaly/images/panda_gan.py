"""PANDA-GAN: a variational auto-encoder of two levels against a fine-grained discriminator, with a perceptual loss.

Source: Barker, Breckon, "PANDA: Perceptually Aware Neural Detection of Anomalies"; equation numbers refer to it. No
code was published with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from gbad.phase2_anomaly.epochs import Callback
from gbad.phase2_anomaly.images.blocks import initialise
from gbad.phase2_anomaly.images.image_detector import EachEpoch, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, residual_map
from gbad.phase2_anomaly.images.panda_gan_networks import (
    BACKBONES,
    DualGenerator,
    FineGrainedDiscriminator,
    ReEncoders,
    make_backbone,
)
from gbad.phase2_anomaly.images.panda_gan_perceptual import (
    PerceptualFeatures,
    imagenet_features,
    self_supervised_features,
)
from gbad.phase2_anomaly.images.rows import ImageRows
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss
from gbad.phase2_anomaly.optimisers import adam, move_all
from gbad.phase2_anomaly.parameters import check_real
from gbad.runtime.randomness import derived_seed, forked_rng

RECONSTRUCTIONS = ("pixel", "general", "problem")

# ---- networks -------------------------------------------------------------------------------------------------------


class PANDAGAN(nn.Module):
    """Generator, re-encoders, discriminator and, for the perceptual losses, a network with fixed weights."""

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int,
        low_channels: int,
        latent_size: int,
        backbone: str,
        parts: int,
        filters: int,
        perceptual_width: int | None,
    ) -> None:
        super().__init__()
        self.generator = DualGenerator(channels, side, width, low_channels, latent_size)
        self.re_encoders = ReEncoders(channels, side, width, low_channels, latent_size)
        self.discriminator = FineGrainedDiscriminator(channels, side, backbone, width, parts, filters)
        initialise(self.generator)
        self.generator.calm_codes()
        initialise(self.re_encoders)
        self.perceptual: nn.Module = nn.Identity()  # pixels
        if perceptual_width is not None:
            self.perceptual = PerceptualFeatures(perceptual_width).requires_grad_(False)

    def reconstruction_error(self, x: Tensor, reconstructed: Tensor) -> Tensor:
        """L_rec of Eq. (1) for each image, in pixels or in features: (n, C, S, S) -> (n,)."""
        return norm(self.perceptual(x) - self.perceptual(reconstructed))


# ---- losses ---------------------------------------------------------------------------------------------------------


def norm(difference: Tensor) -> Tensor:
    """L2 norm of each image's difference, of L_rec and L_z in Eq. (1): (n, ...) -> (n,).

    Examples
    --------
    >>> norm(torch.tensor([[[3.0], [4.0]]]))
    tensor([5.])
    """
    norms: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return norms


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class PANDAGANDetector(ImageAnomalyDetector[PANDAGAN]):
    """PANDA-GAN. An image is abnormal if it is badly reconstructed, or if the critic C judges it as not real.

    The score is the sum of reconstruction error, C(x) and C(x'), unweighted (Section III-C). As printed, the sum would
    grow with C, the probability of being real; here it has 1 - C twice, so each part grows with abnormality. The
    reconstruction error of the score is the root of the mean square, which does not grow with the image's size.

    No code was published, so it is open how the paper tests: ``paper_scores`` are in eval mode, scaled over the test
    set (min-max). The benchmark's paper mode also chooses the best test epoch.

    Parameters
    ----------
    width : int
        Channels of the first layer of encoders and small backbone; less is faster.
    low_channels, latent_size : int
        Channels of z_low and length of z_high.
    backbone : {"resnet50", "resnet34", "resnet18", "small"}
        Of the discriminator; ResNet-50 in the paper.
    backbone_weights : path, optional
        File of torchvision's ImageNet weights for `backbone`. None, the default, starts from random ones.
    parts, filters : int
        Number of attention maps, and of 1x1 filters that judge the features pooled under each map.
    reconstruction : {"pixel", "general", "problem"}
        What L_rec compares: pixels (PWL), features of VGG-19 learnt on ImageNet (PL_g), or features learnt on the
        training images alone (PL_ps).
    perceptual_weights : path, optional
        File of torchvision's VGG-19 weights, which ``"general"`` needs.
    perceptual_width, perceptual_epochs : int
        Of the network of ``"problem"``, which is trained first: channels of its first layer (64 in VGG-19), and passes
        over the images.
    kl_weight : float
        Weight of the codes' divergence from the standard normal distribution, per image, in the generator's loss.
        Eq. (1) has no such term: there only the latent losses limit the spread of the codes.
    learning_rate, discriminator_rate : float
        Of Adam, for generator and re-encoders, and for the discriminator.
    **common
        See `ImageAnomalyDetector`. The paper prints no number of epochs; its rates are low and need many.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> small = dict(width=4, low_channels=4, latent_size=8, backbone="small", parts=4, filters=4, epochs=1)
    >>> detector = PANDAGANDetector(**small).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    width: int = 64
    low_channels: int = 64
    latent_size: int = 100
    backbone: str = "resnet50"
    backbone_weights: str | Path | None = None
    parts: int = 32
    filters: int = 32
    reconstruction: str = "pixel"
    perceptual_weights: str | Path | None = None
    perceptual_width: int = 64
    perceptual_epochs: int = 15
    kl_weight: float = 0.0
    batch_size: int = 15
    learning_rate: float = 7e-6
    discriminator_rate: float = 1e-5

    part_names = ("reconstruction", "image not real", "reconstruction not real")
    _first_weights: ClassVar[dict[str, dict[str, Tensor]]] = {}
    """Initial states of submodules that are not random; filled while `fit` runs."""

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, callback: Callback | None = None,
        each_epoch: EachEpoch | None = None,
    ) -> Self:  # fmt: skip
        """Train on normal images; see `ImageAnomalyDetector.fit`.

        A problem-specific perceptual network is trained first, without `callback`; its checkpoint is a second file,
        named `checkpoint` plus ``.perceptual``.
        """
        self.check_parameters()
        self.__dict__["_first_weights"] = self._pretrained(ImageRows(X, self.image_size, self.channels), checkpoint)
        try:
            return super().fit(X, checkpoint=checkpoint, callback=callback, each_epoch=each_epoch)
        finally:
            del self.__dict__["_first_weights"]

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("kl_weight",), 0.0)
        check_real(self, ("discriminator_rate",), 0.0, ends="neither")
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {self.backbone!r}.")
        if self.reconstruction not in RECONSTRUCTIONS:
            raise ValueError(
                f"reconstruction must be one of {', '.join(RECONSTRUCTIONS)}, got {self.reconstruction!r}."
            )
        if self.reconstruction == "general" and self.perceptual_weights is None:
            raise ValueError(
                "reconstruction='general' compares features learnt on ImageNet, and nothing is downloaded: set "
                "perceptual_weights to a file of torchvision's VGG-19 weights (vgg19-dcbb9e9d.pth), or choose 'pixel' "
                "or 'problem', which need none."
            )

    def _pretrained(self, images: ImageRows, checkpoint: str | Path | None) -> dict[str, dict[str, Tensor]]:
        seed = int(check_random_state(self.random_state).randint(2**31))
        first: dict[str, dict[str, Tensor]] = {}
        if self.backbone_weights is not None:
            with forked_rng(derived_seed(seed, "backbone")):
                module, _ = make_backbone(
                    self.backbone, images.channels, self.image_size, weights=self.backbone_weights
                )
            first["discriminator.backbone"] = module.state_dict()
        if self.reconstruction == "general" and self.perceptual_weights is not None:
            with forked_rng(derived_seed(seed, "perceptual")):
                first["perceptual"] = imagenet_features(self.perceptual_weights).state_dict()
        if self.reconstruction == "problem":
            first["perceptual"] = self_supervised_features(
                images,
                self.perceptual_width,
                epochs=self.perceptual_epochs,
                batch_size=self.batch_size,
                seed=seed,
                device=self.device,
                checkpoint=None if checkpoint is None else Path(f"{checkpoint}.perceptual"),
            ).state_dict()
        return first

    def _networks(self) -> PANDAGAN:
        return PANDAGAN(
            self.channels_,
            self.image_size,
            width=self.width,
            low_channels=self.low_channels,
            latent_size=self.latent_size,
            backbone=self.backbone,
            parts=self.parts,
            filters=self.filters,
            perceptual_width={"pixel": None, "general": 64, "problem": self.perceptual_width}[self.reconstruction],
        )

    def _optimisers(self, networks: PANDAGAN) -> Optimisers:
        # Called before training only: scoring needs no file of weights.
        for name, weights in self._first_weights.items():
            networks.get_submodule(name).load_state_dict(weights)
        return {
            "generator": adam([networks.generator, networks.re_encoders], self.learning_rate, self.beta1),
            "discriminator": adam([networks.discriminator], self.discriminator_rate, self.beta1),
        }

    def _step(self, networks: PANDAGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        made = networks.generator(x)
        low, high = networks.re_encoders(made)
        reconstruction = networks.reconstruction_error(x, made.image).mean()
        latent = norm(low - made.low).mean() + norm(high - made.high).mean()
        real, fake = networks.discriminator(x), networks.discriminator(made.image)
        # The adversarial loss is the part of C(x, x') in Eq. (1) that moves the generator: the second term of Eq. (2)
        # with the label exchanged.
        loss = reconstruction + adversarial_loss(fake) + latent + self.kl_weight * made.divergence.mean()
        losses = {"generator": loss, "discriminator": discriminator_loss(real, fake)}  # Eq. (2)
        return move_all(optimisers, losses) | {
            "reconstruction": reconstruction.detach(),
            "latent": latent.detach(),
        }

    def _score_parts(self, networks: PANDAGAN, x: Tensor) -> Tensor:
        made = networks.generator(x).image
        size = networks.perceptual(x[:1]).numel()
        real, fake = networks.discriminator(x), networks.discriminator(made)
        error = networks.reconstruction_error(x, made) / size**0.5
        return torch.stack([error, torch.sigmoid(-real), torch.sigmoid(-fake)], dim=1)

    def _maps(self, networks: PANDAGAN, x: Tensor) -> Tensor:
        return residual_map(x, networks.generator(x).image)
