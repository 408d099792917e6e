from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import is_outlier_detector

from gbad.phase2_anomaly import AnomalyDetector


class Distance(AnomalyDetector):
    """Score = minus the distance to zero."""

    def __init__(self, contamination: float = 0.25) -> None:
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> Self:
        self.offset_ = self._offset_of(self.score_samples(X))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        return -np.abs(np.asarray(X, dtype=np.float64)[:, 0])


def test_decisions_follow_from_the_score_and_the_learnt_threshold() -> None:
    rows = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    detector = Distance().fit(rows)
    assert detector.offset_ == -3.0
    np.testing.assert_array_equal(detector.anomaly_score(rows), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(detector.decision_function(rows), [3, 2, 1, 0, -1])
    np.testing.assert_array_equal(detector.predict(rows), [1, 1, 1, 1, -1])
    np.testing.assert_array_equal(Distance().fit_predict(rows), [1, 1, 1, 1, -1])
    assert is_outlier_detector(detector)
