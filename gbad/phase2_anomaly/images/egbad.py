"""EGBAD on images: a bidirectional GAN, whose encoder spares the search for a code that AnoGAN needs.

Source: Zenati, Foo, Lecouat, Manek, Chandrasekhar, "Efficient GAN-Based Anomaly Detection", 2018. `BiGANDetector` is
its counterpart on feature rows.
"""

from __future__ import annotations

import copy
import math
import numbers
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_scalar
from torch import Tensor, nn

from gbad.phase2_anomaly.features.bigan_training import update_average
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.training import Optimisers, adam, move
from gbad.phase2_anomaly.losses import discriminator_loss, encoder_generator_loss

_BOTTOM = 8  # side of the smallest feature maps; 7 for the paper's images of 28 px

# ---- networks -------------------------------------------------------------------------------------------------------


class PairDiscriminator(nn.Module):
    """Judges pairs of image and code; larger images get more stages."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(channels, 2 * features, 4, stride=2, padding=1)]
        stages += [nn.LeakyReLU(0.1), nn.Dropout(0.5)]
        for _ in range(int(math.log2(size // _BOTTOM)) - 1):
            stages += [nn.Conv2d(2 * features, 2 * features, 4, stride=2, padding=1)]
            stages += [nn.BatchNorm2d(2 * features), nn.LeakyReLU(0.1), nn.Dropout(0.5)]
        self.x_branch = nn.Sequential(*stages, nn.Flatten())
        self.z_branch = nn.Sequential(nn.Linear(latent_size, 16 * features), nn.LeakyReLU(0.1), nn.Dropout(0.5))
        n_joint = 2 * features * _BOTTOM**2 + 16 * features
        self.joint = nn.Sequential(nn.Linear(n_joint, 32 * features), nn.LeakyReLU(0.1), nn.Dropout(0.5))
        self.logit = nn.Linear(32 * features, 1)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of "this pair is (x, E(x))", (b,), and features f_D, (b, F)."""
        features = self.joint(torch.cat([self.x_branch(x), self.z_branch(z)], dim=1))
        return self.logit(features).squeeze(1), features


class ImageBiGAN(nn.Module):
    """Encoder E: x -> z, generator G: z -> x, and discriminator D: (x, z) -> logit; weights from N(0, 0.02²)."""

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        n_stages = int(math.log2(size // _BOTTOM))
        widths = [features * min(4, 2**stage) for stage in range(n_stages + 1)]
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        layers: list[nn.Module] = [nn.Conv2d(channels, features, 3, padding=1)]
        for n_in, n_out in steps:
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.1)]
        n_bottom = widths[-1] * _BOTTOM**2
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_bottom, latent_size))
        layers = [nn.Linear(latent_size, 32 * features), nn.BatchNorm1d(32 * features), nn.ReLU()]
        layers += [nn.Linear(32 * features, n_bottom), nn.BatchNorm1d(n_bottom), nn.ReLU()]
        layers.append(nn.Unflatten(1, (widths[-1], _BOTTOM, _BOTTOM)))
        for n_out, n_in in reversed(steps[1:]):
            layers += [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
        last = nn.ConvTranspose2d(widths[1], channels, 4, stride=2, padding=1)
        self.generator = nn.Sequential(*layers, last, nn.Tanh())
        self.discriminator = PairDiscriminator(channels, features, size, latent_size)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class EGBAD(nn.Module):
    """The networks that are trained, and their average over the steps, which is used for scoring."""

    steps: Tensor

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.current = ImageBiGAN(channels, features, size, latent_size)
        self.average = copy.deepcopy(self.current).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


# ---- losses ---------------------------------------------------------------------------------------------------------
# Those of training are in `losses`: discriminator_loss and encoder_generator_loss.


def residual_norm(x: Tensor, reconstructed: Tensor) -> Tensor:
    """L1 norm, L_G = |x - G(E(x))| or L_D = |f_D(x, E(x)) - f_D(G(E(x)), E(x))| of the score: (b, ...) -> (b,)."""
    return (x - reconstructed).abs().flatten(1).sum(dim=1)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class EGBADDetector(ImageAnomalyDetector[EGBAD]):
    """EGBAD. What G makes of E's code is compared with the image, in pixels and in the discriminator's features.

    Changed against the published code: a learning rate of 2e-4, which learns in tens of epochs (1e-5, hundreds);
    feature maps of 8 px at the bottom (7, of images of 28 px), and one more stage for each doubling of the size;
    discriminator, generator and encoder learn from one batch of images and codes, before any of them moves (two
    batches, discriminator first); no image is left over in an epoch (the last ones, if they fill no batch); the
    averaged weights forget early steps faster; PyTorch's constants of batch normalisation in place of TensorFlow's,
    and its statistics taken anew for the averaged weights (running averages of the current ones). The code tested
    once, in eval mode and without scaling: ``paper_scores`` differs from ``score_samples`` in scaling only.

    The statistics of batch normalisation are a departure of their own: they are of what scoring shows the networks, G
    the codes E(x) of training images, D the pairs (x, E(x)) and (G(E(x)), E(x)). In training, and so in the published
    code, G sees z ~ N(0, 1) only, and D the pairs (x, E(x)) and (G(z), z). As far as E(x) is not distributed like z,
    the G that scores is thus not quite the one that was trained: its layers are centred on the codes of normal images,
    and scores are others than with the published statistics, for better or worse. (`AnoGANDetector`, which has no E,
    takes its statistics from drawn codes, as in training.)

    Parameters
    ----------
    latent_size : int
        Length of the code.
    features : int
        Channels after the encoder's first layer, of which all other widths are multiples; less is faster.
    matching_weight : float
        Share w of feature matching in the score, in [0, 1].
    ema_decay : float
        Decay per step of the averaged weights, in [0, 1).
    **common
        See `ImageAnomalyDetector`.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = EGBADDetector(features=2, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    latent_size: int = 200
    features: int = 32
    matching_weight: float = 0.1
    ema_decay: float = 0.999
    batch_size: int = 100

    part_names = ("residual", "matching")

    def _networks(self) -> EGBAD:
        return EGBAD(self.channels_, self.features, self.image_size, self.latent_size)

    def _optimisers(self, networks: EGBAD) -> Optimisers:
        current = networks.current
        return {
            "encoder_generator": adam([current.encoder, current.generator], self.learning_rate, self.beta1),
            "discriminator": adam(current.discriminator, self.learning_rate, self.beta1),
        }

    def _step(self, networks: EGBAD, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        bigan = networks.current
        z = torch.randn(len(x), self.latent_size, device=x.device)
        real, _ = bigan.discriminator(x, bigan.encoder(x))
        fake, _ = bigan.discriminator(bigan.generator(z), z)
        loss, others_loss = discriminator_loss(real, fake), encoder_generator_loss(real, fake)
        move(optimisers["encoder_generator"], others_loss, keep_graph=True)
        move(optimisers["discriminator"], loss)
        update_average(networks.average, bigan, self.ema_decay, int(networks.steps))
        networks.steps += 1
        return {"discriminator": loss.detach(), "encoder_generator": others_loss.detach()}

    def _score_parts(self, networks: EGBAD, x: Tensor) -> Tensor:
        bigan = networks.average
        code = bigan.encoder(x)
        reconstructed = bigan.generator(code)
        matching = residual_norm(bigan.discriminator(x, code)[1], bigan.discriminator(reconstructed, code)[1])
        return torch.stack([residual_norm(x, reconstructed), matching], dim=1)

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        # A(x) = alpha L_G(x) + (1 - alpha) L_D(x), with w = 1 - alpha; the paper numbers no equation of its score.
        return (1.0 - self.matching_weight) * parts[:, 0] + self.matching_weight * parts[:, 1]

    def _maps(self, networks: EGBAD, x: Tensor) -> Tensor:
        return (x - networks.average.generator(networks.average.encoder(x))).abs().mean(dim=1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.matching_weight, "matching_weight", numbers.Real, min_val=0.0, max_val=1.0)
        check_scalar(self.ema_decay, "ema_decay", numbers.Real, min_val=0.0, max_val=1.0, include_boundaries="left")
