"""What every anomaly detector offers: scores, decisions, checked hyperparameters, and what it learnt as named arrays.

The sign of the score is turned here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from gbad.phase2_anomaly.parameters import check_real

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
"""Of a dtype that differs from one array to the next."""


class AnomalyDetector(OutlierMixin, BaseEstimator, ABC):
    """Base of all detectors: derives every decision from ``score_samples`` and the learnt threshold ``offset_``.

    A detector brings its hyperparameters, ``fit`` and ``score_samples``, in which low means abnormal (scikit-learn's
    convention). ``fit`` sets attributes that end in ``_``: numbers, arrays, and dicts of arrays. The last one is
    ``offset_``, from :meth:`_offset_of`.
    """

    contamination: float
    """Share of the training rows that ``predict`` calls abnormal, in (0, 0.5]."""
    offset_: float

    @abstractmethod
    def score_samples(self, X: Any) -> Floats:
        """Score each row of `X`: (n,) float64, the lower, the more abnormal."""

    def anomaly_score(self, X: Any) -> Floats:
        """Score each row of `X`: (n,) float64, the higher, the more abnormal: ``-score_samples(X)``."""
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> Floats:
        """Signed distance to the threshold: (n,) float64, below 0 where `X` is abnormal."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Decide for each row of `X`: (n,) int, +1 for normal and -1 for abnormal."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def check_parameters(self) -> None:
        """Check all hyperparameters, as ``fit`` does before it trains.

        Raises
        ------
        ValueError
            If a hyperparameter is out of its range.
        TypeError
            If a hyperparameter has the wrong type.
        """
        check_real(self, ("contamination",), 0.0, 0.5, "right")

    def get_arrays(self) -> dict[str, Array]:
        """Give everything that ``fit`` learnt as named arrays, for :meth:`from_arrays`.

        An entry of a dict is named ``attribute.entry``. Names of columns are left out: they are text.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        self._check_fitted()
        arrays: dict[str, Array] = {}
        for name, value in vars(self).items():
            if not name.endswith("_") or name == "feature_names_in_":
                continue
            if isinstance(value, dict):
                arrays |= {f"{name}.{entry}": values for entry, values in value.items()}
            else:
                arrays[name] = np.asarray(value)
        return arrays

    @classmethod
    def from_arrays(cls, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Rebuild a fitted detector from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit.

        Raises
        ------
        ValueError
            If an array has a name that no learnt attribute can have: a file must not set anything else.
        """
        detector = cls(**params)
        for key, values in arrays.items():
            name, _, entry = key.partition(".")
            if not name.isidentifier() or name.startswith("_") or not name.endswith("_"):
                raise ValueError(f"{key!r} is not the name of a learnt array")
            if entry:
                detector.__dict__.setdefault(name, {})[entry] = np.asarray(values)
            else:
                setattr(detector, name, np.asarray(values) if np.ndim(values) else np.asarray(values).item())
        return detector

    def __getstate__(self) -> dict[str, Any]:
        # A torch.device would tie the pickle to PyTorch; everything else is plain already.
        state: dict[str, Any] = super().__getstate__()
        return state | {"device": str(state["device"])} if "device" in state else state

    def _check_fitted(self) -> None:
        check_is_fitted(self, "offset_")  # the last attribute that fit sets

    def _offset_of(self, training_scores: Floats) -> float:
        """Threshold below which the share ``contamination`` of the training rows lies."""
        return float(np.percentile(training_scores, 100.0 * self.contamination))
