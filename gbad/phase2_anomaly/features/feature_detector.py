"""What the simple detectors of feature rows share: controls that can stand in the BiGAN's place.

A detector brings `_learn` and `_loss`, both on standardised rows; fitted, it is plain arrays.
"""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted, validate_data

from gbad.phase2_anomaly.contract import AnomalyDetector
from gbad.phase2_anomaly.learnt import learnt_arrays, set_learnt_arrays

_CHUNK_ROWS = 1024  # bounds the float64 memory of scoring: 1024 x 1029 features take 8 MB


class FeatureDetector(AnomalyDetector, BaseEstimator):
    """Base of outlier detectors of feature rows with one loss, fitted in one go.

    Rows are standardised with the mean and standard deviation of the training rows; all is computed in float64.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (D,), float64
        Statistics of the training rows; a column that does not vary keeps its scale.
    offset_ : float
        Threshold on ``score_samples``.
    n_features_in_ : int
        D.
    """

    loss_names: ClassVar[tuple[str, ...]]
    """Names of the columns of :meth:`losses`; each detector sets them."""

    contamination: float
    random_state: int | np.random.RandomState | None = None
    """Of detectors that draw at random."""

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for a parameter out of its range."""
        check_scalar(
            self.contamination, "contamination", numbers.Real, min_val=0.0, max_val=0.5, include_boundaries="right"
        )

    @abstractmethod
    def _learn(self, X: np.ndarray, random: np.random.RandomState) -> None:
        """Learn from raw training rows (n, D), which ``_chunks`` standardises; set attributes that end in ``_``."""

    @abstractmethod
    def _loss(self, Z: np.ndarray) -> np.ndarray:
        """Loss of standardised rows (b, D) -> (b,), 0 or larger, high means abnormal; each row by itself."""

    def _training_loss(self, X: np.ndarray) -> np.ndarray:
        """Loss of the raw training rows, from which the threshold is taken: (n, D) -> (n,)."""
        return self._losses(X)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows without threats.

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
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        self._check_parameters()
        scaler = StandardScaler()
        for start in range(0, len(X), _CHUNK_ROWS):
            scaler.partial_fit(X[start : start + _CHUNK_ROWS].astype(np.float64))
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        self._learn(X, check_random_state(self.random_state))
        self.offset_ = self._offset_of(-self._training_loss(X), self.contamination)
        return self

    def losses(self, X: Any) -> np.ndarray:
        """Loss of each row.

        Parameters
        ----------
        X : array-like of shape (n, D)
            Feature rows.

        Returns
        -------
        ndarray of shape (n, 1), float64
            0 or larger; the higher, the more abnormal.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If `X` holds NaN or infinity, or has another number of columns than in ``fit``.
        """
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return self._losses(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))[:, None]

    def score_samples(self, X: Any) -> np.ndarray:
        """Score rows: minus the loss, (n,) float64; the lower, the more abnormal."""
        return -self.losses(X)[:, 0]

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return {name: values for name, values in learnt_arrays(self).items() if name != "feature_names_in_"}

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Rebuild a fitted detector from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit."""
        detector = cls(**params)
        set_learnt_arrays(detector, arrays)
        return detector

    def _chunks(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """Standardised rows in float64, a bounded number at a time."""
        for start in range(0, len(X), _CHUNK_ROWS):
            yield (X[start : start + _CHUNK_ROWS].astype(np.float64) - self.mean_) / self.scale_

    def _losses(self, X: np.ndarray) -> np.ndarray:
        return np.concatenate([self._loss(Z) for Z in self._chunks(X)])

    def _drawn(self, X: np.ndarray, max_rows: int | None, random: np.random.RandomState) -> np.ndarray:
        """At most `max_rows` standardised training rows, drawn without replacement and kept in order."""
        if max_rows is not None and len(X) > max_rows:
            X = X[np.sort(random.choice(len(X), max_rows, replace=False))]
        return np.concatenate([*self._chunks(X)])
