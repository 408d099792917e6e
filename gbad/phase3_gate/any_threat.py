"""One score for "any threat" from the scores of the classes, each on the scale of its own false alarms.

The largest probability over the classes is that of the class that cries wolf most: a classifier that is unsure of
Knives gives harmless images higher knife logits than gun logits. Before classes are compared, the logits of each are
therefore brought to mean 0 and deviation 1 over threat-free images that the classifier was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gbad.errors import DataError


@dataclass(frozen=True, eq=False)
class AnyThreatScale:
    """Mean and deviation of C classes' logits over threat-free images.

    Attributes
    ----------
    mean, deviation : float64 array (C,)
        Deviations are above 0.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def identity(cls, n_classes: int) -> Self:
        """Scale that leaves the logits as they are: where there were no images to fit one on."""
        return cls(np.zeros(n_classes), np.ones(n_classes))

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that was learnt as plain arrays, for :meth:`from_arrays`."""
        return {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Rebuild a scale; the inverse of :meth:`get_arrays`."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})

    def score(self, logits: ArrayLike) -> np.ndarray:
        """Say how much an image looks as if it held any threat.

        Parameters
        ----------
        logits : array-like of shape (n, C)
            As those that the scale was fitted on.

        Returns
        -------
        float64 array (n,)
            Logarithm of the sum of the exponentials of the standardised logits: higher = more likely. Each image is
            scored by itself.

        Examples
        --------
        >>> AnyThreatScale(np.array([0.0, 1.0]), np.array([2.0, 0.5])).score([[4.0, 1.0], [0.0, 2.0]]).round(3).tolist()
        [2.127, 2.127]
        """
        z = (np.asarray(logits, dtype=np.float64) - self.mean) / self.deviation
        return np.asarray(np.logaddexp.reduce(z, axis=1))


def fit_any_threat_scale(logits: ArrayLike, labels: ArrayLike) -> AnyThreatScale:
    """Fit the scale on rows that the classifier was not trained on.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Finite.
    labels : array-like of shape (n, C)
        1 = threat present; rows with any are left out.

    Raises
    ------
    DataError
        If there are fewer than two threat-free rows.
    """
    free = np.asarray(logits, dtype=np.float64)[~np.asarray(labels).astype(bool).any(axis=1)]
    if len(free) < 2:
        raise DataError(f"{len(free)} threat-free rows: at least two are needed to standardise the classes' logits.")
    deviation = free.std(axis=0)
    return AnyThreatScale(free.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
