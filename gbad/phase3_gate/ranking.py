"""How well scores rank the rows by which phase 3 chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError
from gbad.evaluation.metrics import average_precision


def classes_shown(labels: npt.NDArray[Any], chosen: str) -> npt.NDArray[np.intp]:
    """Columns of the classes that have positives: labels (n, C) -> int array (k,).

    Raises
    ------
    DataError
        If no class has positives; the message says that `chosen` cannot be chosen.
    """
    shown = np.flatnonzero(labels.any(axis=0))
    if not len(shown):
        raise DataError(f"No row holds a threat, so {chosen} cannot be chosen: pass rows with threats.")
    return shown


def mean_ap(
    labels: npt.NDArray[Any], scores: npt.NDArray[np.float64], sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean average precision of classes that all have positives.

    Parameters
    ----------
    labels : array (n, k)
        1 = threat present.
    scores : float64 array (n, k)
        Higher = more likely present.
    sample_weight : array-like of shape (n,), optional
        How often each row counts.

    Examples
    --------
    >>> mean_ap(np.array([[1, 0], [0, 1]]), np.array([[2.0, 1.0], [1.0, 0.0]]))
    0.75
    """
    columns = zip(labels.T, scores.T, strict=True)
    return float(np.mean([average_precision(*column, sample_weight=sample_weight) for column in columns]))
