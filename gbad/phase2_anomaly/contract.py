"""The contract that all anomaly detectors share; the sign of the score is turned here and nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import OutlierMixin


class AnomalyDetector(OutlierMixin, ABC):
    """Mixin that derives every decision from ``score_samples`` and the learnt threshold ``offset_``.

    A detector brings ``fit`` and ``score_samples(X) -> (n,) float64``, in which low means abnormal
    (scikit-learn's convention), and sets ``offset_`` in ``fit`` with :meth:`_offset_of`.
    """

    offset_: float

    @abstractmethod
    def score_samples(self, X: Any) -> np.ndarray:
        """Score each row of `X`: (n,) float64, the lower, the more abnormal."""

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Score each row of `X`: (n,) float64, the higher, the more abnormal: ``-score_samples(X)``."""
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Signed distance to the threshold: (n,) float64, below 0 where `X` is abnormal."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Decide for each row of `X`: (n,) int, +1 for normal and -1 for abnormal."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    @staticmethod
    def _offset_of(training_scores: np.ndarray, contamination: float) -> float:
        """Threshold below which the share `contamination` of the training rows lies."""
        return float(np.percentile(training_scores, 100.0 * contamination))
