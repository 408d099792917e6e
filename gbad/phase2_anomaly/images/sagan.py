"""Skip-Attention GAN (SAGAN): Skip-GANomaly with attention in its skip connections and separable convolutions.

Source: Liu, Lan, Zhang, Huang, Wang, "SAGAN: Skip-Attention GAN for Anomaly Detection"; equation numbers refer to it.
The published code differs from the paper in weights (1, 50, 1), lambda (0.9), learning rate (2e-4) and generator (that
of Skip-GANomaly). This implementation follows the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from gbad.phase2_anomaly.images.blocks import Discriminator, initialise
from gbad.phase2_anomaly.images.sagan_networks import AttentionUNet
from gbad.phase2_anomaly.images.skip_ganomaly import SkipGANomaly, SkipGANomalyDetector

# The losses, Eqs. (1) to (4), the score, Eq. (5), and the decay of the learning rate are those of Skip-GANomaly.

# ---- networks -------------------------------------------------------------------------------------------------------


class SAGAN(SkipGANomaly):
    """Attention U-Net in place of Skip-GANomaly's, and its discriminator (Fig. 1)."""

    def __init__(
        self, channels: int, size: int, widths: Sequence[int], separable: bool, features: int, latent_size: int
    ) -> None:
        nn.Module.__init__(self)
        self.generator = AttentionUNet(channels, widths, separable)
        self.discriminator = Discriminator(channels, features, size, latent_size)
        initialise(self)


# ---- detector -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class SAGANDetector(SkipGANomalyDetector):
    """Skip-Attention GAN. An image is abnormal if its reconstruction differs, in pixels or in the discriminator's code.

    At 32 px in colour the networks have 5,102,035 parameters (18,415,575 with ordinary convolutions). The paper counts
    5,181,089 (18,498,481) and does not explain the last percent.

    R and L of the score are the norms of Eqs. (1) and (2): sums over the pixels and over the code. There are far more
    pixels, so R decides most scores in spite of its small lambda. With means, as in training, or with ``scale_parts``,
    the code would decide.

    Parameters
    ----------
    widths : tuple of int
        Channels of the generator's levels, from fine to coarse; fewer and narrower ones are faster.
    separable : bool
        Depth-wise separable convolutions (Section 2.3).
    features : int
        Channels after the discriminator's first layer.
    score_weight : float
        Lambda of Eq. (5), share of the reconstruction in the score, in [0, 1].
    others
        See `SkipGANomalyDetector`.
    learning_rate : float
        Of Adam, as in the paper. In a small trial (Fashion-MNIST, class 8) the discriminator's loss stayed at 2 log 2:
        it had stopped learning. The published code has 2e-4.
    **common
        See `ImageAnomalyDetector`. The paper states neither epochs nor batch size; the batch size is that of its code.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 99, (8, 32, 32), dtype=np.uint8)
    >>> detector = SAGANDetector(widths=(4, 8), features=4, latent_size=8, epochs=1).fit(images)
    >>> detector.score_samples(images[:2]).shape, detector.anomaly_map(images[:2]).shape
    ((2,), (2, 32, 32))
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    separable: bool = True
    decay: str = "late"
    score_form: str = "norms"
    score_weight: float = 0.2
    scale_parts: bool = False
    batch_size: int = 32
    learning_rate: float = 2e-3

    def _networks(self) -> SAGAN:
        return SAGAN(self.channels_, self.image_size, self.widths, self.separable, self.features, self.latent_size)

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        if not 1 <= len(self.widths) <= 6:
            raise ValueError(f"widths must be 1 to 6 numbers of channels, got {self.widths!r}.")
