"""Distance to the nearest threat-free training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector, Judge, Rows
from gbad.phase2_anomaly.parameters import check_whole

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

_RULES = ("mean", "largest")


@dataclass(kw_only=True, eq=False, repr=False)
class NearestNeighboursDetector(FeatureDetector):
    """Outlier detector by the Euclidean distance to the nearest training rows: a control for the BiGAN.

    A kept training row finds itself at distance 0, so the losses of training rows are too low: fit a gate on rows of
    the validation part. The threshold is right: for it, no row counts as its own neighbour.

    Parameters
    ----------
    n_neighbors : int
        k, the number of neighbours; fewer if fewer rows are kept.
    rule : {"mean", "largest"}
        Mean distance to the k neighbours, or distance to the k-th.
    max_rows : int or None
        Keep at most this many training rows, drawn at random; None keeps all. The size of the file and the time of
        scoring grow with them.
    random_state : int, RandomState or None
        For drawing rows.
    contamination : float
        See `FeatureDetector`.

    Attributes
    ----------
    rows_ : ndarray of shape (m, D), float32
        Kept training rows, standardised.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(64, 5)) * [3, 1, 1, 0.1, 1]
    >>> detector = NearestNeighboursDetector(n_neighbors=3).fit(rows)
    >>> detector.losses(rows).shape
    (64, 1)
    >>> detector.predict(rows[:1] + 100)
    array([-1])
    """

    loss_names = ("neighbour_distance",)

    n_neighbors: int = 5
    rule: str = "mean"
    max_rows: int | None = 10_000
    random_state: int | np.random.RandomState | None = 0

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_whole(self, ("n_neighbors",))
        if self.max_rows is not None:
            check_whole(self, ("max_rows",), least=2)
        if self.rule not in _RULES:
            raise ValueError(f"rule must be {' or '.join(map(repr, _RULES))}, got {self.rule!r}.")

    def _learn(self, X: Rows) -> None:
        self.rows_ = self._drawn(X, self.max_rows, check_random_state(self.random_state)).astype(np.float32)

    def _training_scores(self, X: Rows) -> Floats:
        """Scores of the kept rows; no row is its own neighbour."""
        count = min(self.n_neighbors, len(self.rows_) - 1)
        return -self._of_distances(self._index().kneighbors(n_neighbors=count)[0])

    def _judge(self) -> Judge:
        index, count = self._index(), min(self.n_neighbors, len(self.rows_))
        return lambda Z: self._of_distances(index.kneighbors(Z, n_neighbors=count)[0])

    def _index(self) -> NearestNeighbors:
        from sklearn.neighbors import NearestNeighbors  # slow to import, and other detectors do without

        return NearestNeighbors(algorithm="brute").fit(self.rows_.astype(np.float64))

    def _of_distances(self, distances: Floats) -> Floats:
        """(b, k) in rising order -> (b,)."""
        return np.asarray(distances.mean(axis=1) if self.rule == "mean" else distances[:, -1])
