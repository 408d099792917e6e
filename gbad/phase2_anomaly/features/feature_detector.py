"""What all detectors of feature rows share: standardised rows, a bounded number at a time, and the threshold.

A detector is a dataclass of hyperparameters with `loss_names`, `_learn` and `_judge`. Fitted, it consists of plain
arrays.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import validate_data

from gbad.phase2_anomaly.contract import AnomalyDetector, Floats

Rows = npt.NDArray[np.float64] | npt.NDArray[np.float32]
"""Feature rows as they are given, (n, D)."""

Judge = Callable[[Floats], Floats]
"""Losses of standardised rows, 0 or larger, high means abnormal: (b, D) -> (b,) or (b, k); each row by itself."""


# A dataclass, because it writes the constructor that scikit-learn asks for (keywords, stored untouched).
@dataclass(kw_only=True, eq=False, repr=False)
class FeatureDetector(AnomalyDetector):
    """Base of outlier detectors of feature rows.

    Rows are standardised with the mean and standard deviation of the training rows. Scores are computed in float64, in
    chunks, so a row's score does not depend on the rows around it.

    Parameters
    ----------
    contamination : float
        Share of the training rows that ``predict`` calls abnormal, in (0, 0.5].

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (D,), float64
        Statistics of the training rows; a constant column has scale 1.
    offset_ : float
        Threshold on ``score_samples``.
    n_features_in_ : int
        D.
    """

    contamination: float = 0.1

    loss_names: ClassVar[tuple[str, ...]]
    """Names of the columns of :meth:`losses`; each detector sets them."""
    chunk_rows: ClassVar[int] = 1024
    """Rows that are scored together; bounds the float64 memory: 1024 rows of 1029 features take 8 MB."""

    @abstractmethod
    def _learn(self, X: Rows) -> None:
        """Learn from raw training rows (n, D), which ``_chunks`` standardises; set attributes that end in ``_``."""

    @abstractmethod
    def _judge(self) -> Judge:
        """Make the function that judges rows, from what was learnt."""

    def _training_scores(self, X: Rows) -> Floats:
        """Scores of the raw training rows, from which the threshold is taken: (n, D) -> (n,)."""
        return self._score(self._losses(X))

    def _score(self, losses: Floats) -> Floats:
        """Scores of losses, low means abnormal: (n, k) -> (n,); here minus the only loss."""
        return -losses[:, 0]

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from threat-free rows.

        Parameters
        ----------
        X : array-like of shape (n, D), float32 or float64
            Feature rows, two or more.
        y : None
            Ignored; here for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a finite two-dimensional array of at least two rows, or a parameter is out of its range.
        """
        X = self._prepared(X)
        self._learn(X)
        self.offset_ = self._offset_of(self._training_scores(X))
        return self

    def losses(self, X: Any) -> Floats:
        """Losses of each row, one column for each of ``loss_names``.

        Parameters
        ----------
        X : array-like of shape (n, D)
            Feature rows.

        Returns
        -------
        ndarray of shape (n, k), float64
            0 or larger; the higher, the more abnormal.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If `X` holds NaN or infinity, or has another number of columns than in ``fit``.
        """
        self._check_fitted()
        return self._losses(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))

    def score_samples(self, X: Any) -> Floats:
        """Score rows by their losses: (n,) float64; the lower, the more abnormal. Errors: see :meth:`losses`."""
        return self._score(self.losses(X))

    def _prepared(self, X: Any) -> Rows:
        """Check training rows and hyperparameters, and learn mean and deviation."""
        from sklearn.preprocessing import StandardScaler  # slow to import, and scoring does without

        rows: Rows = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        self.check_parameters()
        scaler = StandardScaler()
        for some in self._raw_chunks(rows):
            scaler.partial_fit(some)
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        return rows

    def _standardised(self, rows: Rows) -> Floats:
        standardised: Floats = (rows.astype(np.float64) - self.mean_) / self.scale_
        return standardised

    def _raw_chunks(self, X: Rows) -> Iterator[Floats]:
        for start in range(0, len(X), self.chunk_rows):
            yield X[start : start + self.chunk_rows].astype(np.float64)

    def _chunks(self, X: Rows) -> Iterator[Floats]:
        """Standardised rows in float64, a bounded number at a time."""
        return (self._standardised(rows) for rows in self._raw_chunks(X))

    def _losses(self, X: Rows) -> Floats:
        judge = self._judge()
        return np.concatenate([judge(Z) for Z in self._chunks(X)]).reshape(len(X), -1)

    def _drawn(self, X: Rows, max_rows: int | None, random: np.random.RandomState) -> Floats:
        """At most `max_rows` standardised training rows, drawn without replacement and kept in order."""
        if max_rows is not None and len(X) > max_rows:
            X = X[np.sort(random.choice(len(X), max_rows, replace=False))]
        return np.concatenate([*self._chunks(X)])
