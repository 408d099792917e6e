"""What a report is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.errors import DataError
from gbad.evaluation.metrics import checked_scores
from gbad.explanation import Explanation


@dataclass(frozen=True)
class Evaluation:
    """Labels, scores and figures of n images that could be scored.

    Attributes
    ----------
    classes : sequence of C str
        Names in column order.
    labels : array (n, C)
        1 = present, 0 = absent.
    scores : Explanation
        Of the same images.
    thresholds : float64 array (C,)
        On the gated probabilities: a class is found in an image where it reaches its threshold.
    metrics : mapping
        From :func:`gbad.evaluation.figures.evaluate`, or read back from ``metrics.json``, where missing figures are
        None instead of NaN. ``phase3`` and ``n_bad`` are shown if they are there.
    history : DataFrame, optional
        Training curves, see :func:`gbad.report.plots.training_figure`.

    Raises
    ------
    DataError
        If labels and scores do not belong together, a label is neither 0 nor 1, or a score is not finite. Losses need
        not be finite.
    """

    classes: Sequence[str]
    labels: npt.NDArray[np.uint8]
    scores: Explanation
    thresholds: npt.NDArray[np.float64]
    metrics: Mapping[str, Any]
    history: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        """Check the arrays."""
        for of_classes in (self.scores.ungated, self.scores.gated):
            checked_scores(self.labels, of_classes, ndim=2, classes=self.classes)
        for of_images in (self.scores.gate_score, self.scores.any_threat, self.scores.anomalous):
            checked_scores(self.any_threat, of_images, ndim=1)
        if self.thresholds.shape != (len(self.classes),):
            raise DataError(f"thresholds have the shape {self.thresholds.shape}: pass one for each class.")
        expected = (len(self.labels), len(self.scores.loss_names))
        if self.scores.losses.shape != expected:
            raise DataError(
                f"losses have the shape {self.scores.losses.shape}, not {expected}: pass {expected[1]} losses for each "
                "image."
            )

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """True where an image shows a class: bool (n, C)."""
        return np.asarray(self.labels, dtype=bool)

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """True where a class was found, rightly or wrongly: bool (n, C)."""
        return self.scores.reaching(self.thresholds)

    @property
    def any_threat(self) -> npt.NDArray[np.bool_]:
        """True where an image shows any threat: bool (n,)."""
        return np.asarray(self.present.any(axis=1))
