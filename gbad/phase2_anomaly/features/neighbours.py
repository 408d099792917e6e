"""Distance to the nearest threat-free training rows."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_scalar

from gbad.phase2_anomaly.features.feature_detector import FeatureDetector

_RULES = ("mean", "largest")


class NearestNeighboursDetector(FeatureDetector):
    """Outlier detector by the Euclidean distance to the nearest training rows: a control for the BiGAN.

    A training row that is kept finds itself at distance 0, so losses of training rows flatter: fit a gate on held-out
    rows. The threshold is not touched by it; it is taken with each row left out of its own neighbours.

    Parameters
    ----------
    n_neighbors : int
        k, the number of neighbours; fewer where fewer rows are kept.
    rule : {"mean", "largest"}
        Mean distance to the k neighbours, or distance to the k-th.
    max_rows : int or None
        Keep at most this many training rows, drawn at random; they make up the size of the file and the time of
        scoring. None keeps all.
    contamination : float
        Share of the training rows that ``predict`` calls abnormal, in (0, 0.5].
    random_state : int, RandomState or None
        For drawing rows.

    Attributes
    ----------
    rows_ : ndarray of shape (m, D), float32
        Standardised training rows that are kept.

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

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        rule: str = "mean",
        max_rows: int | None = 10_000,
        contamination: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.rule = rule
        self.max_rows = max_rows
        self.contamination = contamination
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.n_neighbors, "n_neighbors", numbers.Integral, min_val=1)
        if self.max_rows is not None:
            check_scalar(self.max_rows, "max_rows", numbers.Integral, min_val=2)
        if self.rule not in _RULES:
            raise ValueError(f"rule must be {' or '.join(map(repr, _RULES))}, got {self.rule!r}.")

    def _learn(self, X: np.ndarray, random: np.random.RandomState) -> None:
        self.rows_ = self._drawn(X, self.max_rows, random).astype(np.float32)

    def _training_loss(self, X: np.ndarray) -> np.ndarray:
        """Of the rows that are kept, each left out of its own neighbours."""
        count = min(self.n_neighbors, len(self.rows_) - 1)
        return self._of_distances(self._index().kneighbors(n_neighbors=count)[0])

    def _loss(self, Z: np.ndarray) -> np.ndarray:
        count = min(self.n_neighbors, len(self.rows_))
        return self._of_distances(self._index().kneighbors(Z, n_neighbors=count)[0])

    def _index(self) -> NearestNeighbors:
        return NearestNeighbors(algorithm="brute").fit(self.rows_.astype(np.float64))

    def _of_distances(self, distances: np.ndarray) -> np.ndarray:
        """(b, k) in rising order -> (b,)."""
        return np.asarray(distances.mean(axis=1) if self.rule == "mean" else distances[:, -1])
