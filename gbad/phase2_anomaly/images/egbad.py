"""EGBAD on images: a bidirectional GAN. Its encoder replaces AnoGAN's search for a code.

Source: Zenati, Foo, Lecouat, Manek, Chandrasekhar, "Efficient GAN-Based Anomaly Detection", 2018. `BiGANDetector` is
its counterpart on feature rows.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.losses import l1_norm, residual_map
from gbad.phase2_anomaly.images.training import Optimisers
from gbad.phase2_anomaly.losses import discriminator_loss, encoder_generator_loss
from gbad.phase2_anomaly.optimisers import adam, move_all, update_average
from gbad.phase2_anomaly.parameters import check_real

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
    """The networks that are trained, and their average over the steps, which scores."""

    steps: Tensor

    def __init__(self, channels: int, features: int, size: int, latent_size: int) -> None:
        super().__init__()
        self.current = ImageBiGAN(channels, features, size, latent_size)
        self.average = copy.deepcopy(self.current).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class EGBADDetector(ImageAnomalyDetector[EGBAD]):
    """EGBAD. The image G(E(x)) is compared with x, in pixels and in the discriminator's features.

    Changes against the published code, which is in brackets:

    - The learning rate is 2e-4, which learns in tens of epochs (1e-5, hundreds).
    - The smallest feature maps have 8 px (7, for images of 28 px); each doubling of the size adds a stage.
    - All networks learn from one batch of images and codes before any of them moves (two batches, D first).
    - No image is left out of an epoch (the last ones are, if they do not fill a batch).
    - The averaged weights forget early steps faster.
    - Batch normalisation has PyTorch's constants (TensorFlow's). Its statistics are computed anew for the averaged
      weights (running averages of the current weights).

    The published code tested once, in eval mode and without scaling: ``paper_scores`` differs from ``score_samples``
    only by scaling.

    The new statistics of batch normalisation change the scores. They come from the inputs of scoring: codes E(x) of
    training images for G, pairs (x, E(x)) and (G(E(x)), E(x)) for D. In training, and so in the published code, G gets
    only z ~ N(0, 1), and D the pairs (x, E(x)) and (G(z), z). If E(x) is not distributed like z, the layers of the G
    that scores are centred on the codes of normal images instead, for better or worse. (`AnoGANDetector` has no E; its
    statistics come from drawn codes, as in training.)

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
    >>> import numpy as np
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
            "discriminator": adam([current.discriminator], self.learning_rate, self.beta1),
        }

    def _step(self, networks: EGBAD, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        bigan = networks.current
        z = torch.randn(len(x), self.latent_size, device=x.device)
        real, _ = bigan.discriminator(x, bigan.encoder(x))
        fake, _ = bigan.discriminator(bigan.generator(z), z)
        losses = {
            "encoder_generator": encoder_generator_loss(real, fake),
            "discriminator": discriminator_loss(real, fake),
        }
        moved = move_all(optimisers, losses)
        update_average(networks.average, bigan, self.ema_decay, int(networks.steps))
        networks.steps += 1
        return moved

    def _score_parts(self, networks: EGBAD, x: Tensor) -> Tensor:
        bigan = networks.average
        code = bigan.encoder(x)
        reconstructed = bigan.generator(code)
        # L_G = |x - G(E(x))| and L_D = |f_D(x, E(x)) - f_D(G(E(x)), E(x))|, L1 norms.
        matching = l1_norm(bigan.discriminator(x, code)[1], bigan.discriminator(reconstructed, code)[1])
        return torch.stack([l1_norm(x, reconstructed), matching], dim=1)

    def _part_weights(self) -> tuple[float, ...]:
        # A(x) = alpha L_G(x) + (1 - alpha) L_D(x), with w = 1 - alpha; the equation has no number in the paper.
        return 1.0 - self.matching_weight, self.matching_weight

    def _maps(self, networks: EGBAD, x: Tensor) -> Tensor:
        return residual_map(x, networks.average.generator(networks.average.encoder(x)))

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("matching_weight",), 0.0, 1.0)
        check_real(self, ("ema_decay",), 0.0, 1.0, "left")
