"""ROC curves of scores, and what is read off them."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_curve

from gbad.benchmarks.arrays import Floats
from gbad.data.arrays import Mask


def roc_points(abnormal: Mask, scores: Floats) -> tuple[Floats, Floats]:
    """Points of a ROC curve, from (0, 0) to (1, 1), without those on a straight line between others.

    Parameters
    ----------
    abnormal : bool ndarray of shape (n,)
        Both values occur.
    scores : float64 ndarray of shape (n,)
        Higher = more abnormal.

    Returns
    -------
    false_alarms, recall : ndarray
        Shares of the normal and of the abnormal units that raise an alarm.
    """
    false_alarms, recall, _ = roc_curve(abnormal, scores)
    return np.asarray(false_alarms, float), np.asarray(recall, float)


def equal_error_rate(abnormal: Mask, scores: Floats) -> float:
    """Rate at which false alarms are as frequent, among the normal units, as misses among the abnormal ones.

    Between two points of the ROC curve it is read off the straight line that joins them, which scores that tie need.

    Parameters
    ----------
    abnormal, scores
        As in `roc_points`.

    Returns
    -------
    float
        In [0, 1]; 0 if a threshold tells all units apart, 0.5 for scores that say nothing.

    Examples
    --------
    >>> equal_error_rate(np.array([False, False, True, True]), np.array([0.1, 0.8, 0.4, 0.9]))
    0.5
    >>> equal_error_rate(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.4, 0.9]))
    0.0
    """
    false_alarms, recall = roc_points(abnormal, scores)
    excess = false_alarms - (1 - recall)  # from -1 at the strictest threshold to 1
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(false_alarms[before] + share * (false_alarms[after] - false_alarms[before]))
