"""What a pipeline says about images, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

PAPER_LOSSES = ("reconstruction_loss", "feature_matching_loss")
"""The losses of GBAD's detector (Dumagpi et al. 2020, Equations 3 and 4)."""

IMAGE_COLUMNS = ("gate_score", "anomalous", "any_threat")
"""Columns of ``scores.csv`` that say something of the whole image, behind the losses."""


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
    ranking : float64 array (n, C)
        Phase 3: the logits, with those of class heads mixed in where there are any; what the gate suppresses.
    log_gated : float64 array (n, C)
        Logarithm of the gated probabilities: the ranking that average precision is computed from, without ties at zero.
    any_threat : float64 array (n,)
        Phase 3: logarithm of the odds that the image holds any threat, from the gated log-odds of all classes, each
        calibrated on the validation part (`AnyThreat`); higher = more likely.
    loss_names : tuple of k str
        Names of the columns of `losses`.
    """

    logits: np.ndarray
    ungated: np.ndarray
    losses: np.ndarray
    gate_score: np.ndarray
    anomalous: np.ndarray
    heads: np.ndarray
    ranking: np.ndarray
    log_gated: np.ndarray
    any_threat: np.ndarray
    loss_names: tuple[str, ...] = PAPER_LOSSES

    @property
    def gated(self) -> np.ndarray:
        """Gated probabilities, float64 (n, C) in [0, 1]."""
        return np.asarray(np.exp(self.log_gated))

    @classmethod
    def empty(cls, n_classes: int, loss_names: tuple[str, ...]) -> Self:
        """Values of no image."""
        of_classes, one = np.empty((0, n_classes)), np.empty(0)
        losses = np.empty((0, len(loss_names)))
        of_gate = losses, one, one.astype(bool)
        return cls(of_classes, of_classes, *of_gate, of_classes, of_classes, of_classes, one, loss_names)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the values of several images, one pipeline's."""
        names = [field.name for field in fields(cls) if field.name != "loss_names"]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, loss_names=parts[0].loss_names)
