"""PANDA-GAN: a variational auto-encoder of two levels against a fine-grained discriminator, with a perceptual loss.

Source: Barker, Breckon, "PANDA: Perceptually Aware Neural Detection of Anomalies"; equation numbers refer to it. No
code was published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.blocks import initialise
from gbad.phase2_anomaly.images.image_detector import FirstWeights, ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import adversarial_loss, residual_map
from gbad.phase2_anomaly.images.panda_gan_augmentation import attended, cropped, dropped
from gbad.phase2_anomaly.images.panda_gan_networks import (
    BACKBONES,
    DualGenerator,
    FineGrainedDiscriminator,
    PlainDiscriminator,
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
from gbad.phase2_anomaly.parameters import check_choice, check_real
from gbad.runtime.randomness import derived_seed, forked_rng

DISCRIMINATORS = ("fine-grained", "dcgan")
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
        high_level: bool = True,
        re_encode_low: bool = True,
        re_encode_high: bool = True,
        fine_grained: bool = True,
    ) -> None:
        super().__init__()
        sizes = (channels, side, width, low_channels, latent_size)
        self.generator = DualGenerator(*sizes, high_level)
        self.re_encoders = ReEncoders(*sizes, re_encode_low, re_encode_high and high_level)
        self.discriminator: nn.Module
        if fine_grained:
            self.discriminator = FineGrainedDiscriminator(channels, side, backbone, width, parts, filters)
        else:
            self.discriminator = PlainDiscriminator(channels, width, side)
            initialise(self.discriminator)
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
        over the images, which ``callback`` does not see.
    high_level, re_encode_high, re_encode_low : bool
        Parts of Table III: encoder and decoder of the high level (E^0_high and D^0_high; without them, there is no
        E^1_high either), and the re-encoders E^1_high and E^1_low with their latent losses.
    discriminator : {"fine-grained", "dcgan"}
        Of Table III: the paper's own, or that of GANomaly, with `width` channels in its first layer.
    attention_augmentation : bool
        Let the discriminator learn from each pair of x and x' three times: whole, cropped to what one of its attention
        maps looks at in x, and with that dropped (WS-DAN). The paper says that its attention guides the augmentation
        of normal training images and no more: that x' is treated like x, so that no hole tells them apart, and that
        the generator sees whole images only, is our choice.
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
    high_level: bool = True
    re_encode_high: bool = True
    re_encode_low: bool = True
    discriminator: str = "fine-grained"
    attention_augmentation: bool = False
    kl_weight: float = 0.0
    batch_size: int = 15
    learning_rate: float = 7e-6
    discriminator_rate: float = 1e-5

    part_names = ("reconstruction", "image not real", "reconstruction not real")

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("kl_weight",), 0.0)
        check_real(self, ("discriminator_rate",), 0.0, ends="neither")
        check_choice(self, "backbone", BACKBONES)
        check_choice(self, "reconstruction", RECONSTRUCTIONS)
        check_choice(self, "discriminator", DISCRIMINATORS)
        if self.discriminator == "dcgan" and (self.attention_augmentation or self.backbone_weights is not None):
            raise ValueError(
                "discriminator='dcgan' has neither attention nor a backbone: leave attention_augmentation off, and "
                "backbone_weights out."
            )
        if self.reconstruction == "general" and self.perceptual_weights is None:
            raise ValueError(
                "reconstruction='general' compares features learnt on ImageNet, and nothing is downloaded: set "
                "perceptual_weights to a file of torchvision's VGG-19 weights (vgg19-dcbb9e9d.pth), or choose 'pixel' "
                "or 'problem', which need none."
            )

    def _first_weights(self, images: ImageRows, checkpoint: Path | None) -> FirstWeights:
        """Read the weights of files, or train the problem-specific perceptual network, with a second checkpoint."""
        seed = self.seed_
        first: dict[str, Mapping[str, Tensor]] = {}
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
            high_level=self.high_level,
            re_encode_low=self.re_encode_low,
            re_encode_high=self.re_encode_high,
            fine_grained=self.discriminator == "fine-grained",
        )

    def _optimisers(self, networks: PANDAGAN) -> Optimisers:
        return {
            "generator": adam([networks.generator, networks.re_encoders], self.learning_rate, self.beta1),
            "discriminator": adam([networks.discriminator], self.discriminator_rate, self.beta1),
        }

    def _step(self, networks: PANDAGAN, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        made = networks.generator(x)
        low, high = networks.re_encoders(made)
        reconstruction = networks.reconstruction_error(x, made.image).mean()
        pairs = ((low, made.low), (high, made.high))
        latents = [norm(again - code).mean() for again, code in pairs if again is not None and code is not None]
        latent = torch.stack(latents).sum() if latents else torch.zeros_like(reconstruction)
        fake = networks.discriminator(made.image)
        # The adversarial loss is the part of C(x, x') in Eq. (1) that moves the generator: the second term of Eq. (2)
        # with the label exchanged.
        loss = reconstruction + adversarial_loss(fake) + latent + self.kl_weight * made.divergence.mean()
        losses = {"generator": loss, "discriminator": self._critic_loss(networks.discriminator, x, made.image, fake)}
        return move_all(optimisers, losses) | {
            "reconstruction": reconstruction.detach(),
            "latent": latent.detach(),
        }

    def _critic_loss(self, critic: nn.Module, x: Tensor, made: Tensor, fake: Tensor) -> Tensor:
        """Eq. (2); with augmentation, its mean over whole, cropped and dropped pairs. `fake` judges `made`."""
        if not self.attention_augmentation or not isinstance(critic, FineGrainedDiscriminator):
            return discriminator_loss(critic(x), fake)
        real, attention = critic.attend(x)
        losses = [discriminator_loss(real, fake)]
        made = made.detach()
        for change in (cropped, dropped):
            looked = attended(attention, self.image_size)
            losses.append(discriminator_loss(critic(change(x, looked)), critic(change(made, looked))))
        return torch.stack(losses).mean()

    def _score_parts(self, networks: PANDAGAN, x: Tensor) -> Tensor:
        made = networks.generator(x).image
        size = networks.perceptual(x[:1]).numel()
        real, fake = networks.discriminator(x), networks.discriminator(made)
        error = networks.reconstruction_error(x, made) / size**0.5
        return torch.stack([error, torch.sigmoid(-real), torch.sigmoid(-fake)], dim=1)

    def _maps(self, networks: PANDAGAN, x: Tensor) -> Tensor:
        return residual_map(x, networks.generator(x).image)
