"""What a pipeline says about images, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

PAPER_LOSSES = ("reconstruction_loss", "feature_matching_loss")
"""The losses of GBAD's detector (Dumagpi et al. 2020, Equations 3 and 4)."""

IMAGE_COLUMNS = ("gate_score", "anomalous", "any_threat", "looked_twice", "unfamiliarity")
"""Columns of ``scores.csv`` that say something of the whole image, behind the losses."""


@dataclass(frozen=True)
class SeenRegions:
    """What the second look says of m regions, by image; K losses of its detector.

    Attributes
    ----------
    image : int64 array (m,)
        Which of the n images a region belongs to.
    boxes : float64 array (m, 4)
        Left, top, right and bottom as shares of the image's width and height; a region may reach beyond the image.
    logits : float64 array (m, C)
        By the classifier of regions.
    log_odds : float64 array (m, C)
        The same behind the gate of regions.
    losses : float64 array (m, K)
        By the detector of regions.
    gate_score : float64 array (m,)
        Decision value of the gate of regions, above 0 for anomalous regions; NaN if there is no such gate.
    """

    image: np.ndarray
    boxes: np.ndarray
    logits: np.ndarray
    log_odds: np.ndarray
    losses: np.ndarray
    gate_score: np.ndarray

    @classmethod
    def empty(cls, n_classes: int) -> Self:
        """No region."""
        return cls(
            np.empty(0, np.int64), np.empty((0, 4)), np.empty((0, n_classes)), np.empty((0, n_classes)),
            np.empty((0, 0)), np.empty(0),
        )  # fmt: skip

    def of(self, image: int) -> np.ndarray:
        """Numbers of the regions of an image, int array."""
        return np.flatnonzero(self.image == image)


@dataclass(frozen=True)
class Explanation:
    """All intermediate values for n images and C classes.

    Attributes
    ----------
    logits : float64 array (n, C)
        Phase 1.
    ungated : float64 array (n, C)
        Probabilities of phase 1, in [0, 1].
    losses : float64 array (n, k)
        Phase 2, 0 or larger: reconstruction loss (Equation 3) and feature-matching loss (Equation 4), or what another
        detector gives; behind them the anomaly by the image-level detector, if there is one.
    gate_score : float64 array (n,)
        Phase 3: decision value of the support vector machine, above 0 for anomalous images.
    anomalous : bool array (n,)
        Phase 3: the decision.
    heads : float64 array (n, C)
        Phase 3: log-odds by the class heads; the logits where there are none.
    first_ranking : float64 array (n, C)
        Phase 3: the logits, with those of class heads mixed in where there are any; what the gate suppresses.
    ranking : float64 array (n, C)
        The same, with the second look mixed in.
    first_look : float64 array (n, C)
        Logarithm of the probabilities behind the gate, by the first look alone.
    looked_twice : bool array (n,)
        Which images had a second look.
    second_look : float64 array (n, C)
        Log-odds by the second look, on the scale of `ranking`; NaN for images that had none.
    regions : SeenRegions
        What the second look was at.
    log_gated : float64 array (n, C)
        Logarithm of the gated probabilities by both looks: the ranking that average precision is computed from, without
        ties at zero.
    any_threat : float64 array (n,)
        Phase 3: logarithm of the odds that the image holds any threat, from the gated log-odds of all classes, each
        calibrated on the validation part (`AnyThreat`); higher = more likely.
    unfamiliarity : float64 array (n,)
        How far the image is, by its colours and edges, from the training images, as a share of the farthest held-out
        image; above 1 it looks like none of them, and its scores mean nothing. NaN where the pipeline cannot tell.
    loss_names : tuple of k str
        Names of the columns of `losses`.
    """

    logits: np.ndarray
    ungated: np.ndarray
    losses: np.ndarray
    gate_score: np.ndarray
    anomalous: np.ndarray
    heads: np.ndarray
    first_ranking: np.ndarray
    ranking: np.ndarray
    first_look: np.ndarray
    looked_twice: np.ndarray
    second_look: np.ndarray
    regions: SeenRegions
    log_gated: np.ndarray
    any_threat: np.ndarray
    unfamiliarity: np.ndarray
    loss_names: tuple[str, ...] = PAPER_LOSSES

    @property
    def gated(self) -> np.ndarray:
        """Gated probabilities, float64 (n, C) in [0, 1]."""
        return np.asarray(np.exp(self.log_gated))

    def reaching(self, thresholds: np.ndarray) -> np.ndarray:
        """Which classes reach their thresholds, float64 (C,), on the gated probabilities: bool (n, C)."""
        return np.asarray(self.gated >= thresholds)

    @classmethod
    def empty(cls, n_classes: int, loss_names: tuple[str, ...]) -> Self:
        """Values of no image."""
        of_classes, one = np.empty((0, n_classes)), np.empty(0)
        return cls(
            logits=of_classes, ungated=of_classes, losses=np.empty((0, len(loss_names))), gate_score=one,
            anomalous=one.astype(bool), heads=of_classes, first_ranking=of_classes, ranking=of_classes,
            first_look=of_classes, looked_twice=one.astype(bool), second_look=of_classes,
            regions=SeenRegions.empty(n_classes), log_gated=of_classes, any_threat=one, unfamiliarity=one,
            loss_names=loss_names,
        )  # fmt: skip

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the values of several images, one pipeline's."""
        names = [field.name for field in fields(cls) if field.name not in ("loss_names", "regions")]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, regions=_joined_regions(parts), loss_names=parts[0].loss_names)


def _joined_regions(parts: Sequence[Explanation]) -> SeenRegions:
    before = np.cumsum([0, *(len(part.logits) for part in parts)])
    some = [(start, part.regions) for start, part in zip(before, parts, strict=False) if len(part.regions.image)]
    if not some:
        return parts[0].regions
    joined = {
        field.name: np.concatenate([getattr(one, field.name) for _, one in some]) for field in fields(SeenRegions)
    }
    return SeenRegions(**joined | {"image": np.concatenate([start + one.image for start, one in some])})
