"""How well abnormal images are told from normal ones: pure functions on labels and scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t
from sklearn.metrics import average_precision_score, roc_auc_score

from gbad.evaluation.metrics import checked_scores, recall_at_false_alarm_rate

FALSE_ALARM_RATE = 0.05
"""Operating point: the share of normal images that may raise an alarm."""


def detection_measures(abnormal: npt.ArrayLike, score: npt.ArrayLike, threshold: float | None) -> dict[str, float]:
    """Measures of one detector on one test set.

    Parameters
    ----------
    abnormal : array-like of shape (n,)
        1 = abnormal, 0 = normal; both occur.
    score : array-like of shape (n,)
        Finite, the higher, the more abnormal.
    threshold : float or None
        Scores above it raise an alarm. None takes the best threshold that keeps to `FALSE_ALARM_RATE` on this very
        test set, which only paper mode does.

    Returns
    -------
    dict of str to float
        ``roc_auc``, ``pr_auc`` (average precision, abnormal is positive), ``recall`` (share of abnormal images that
        raise an alarm) and ``false_alarm_rate`` (share of normal images that do), all in [0, 1].

    Raises
    ------
    DataError
        If labels and scores do not belong together, or a score is not finite.
    """
    positive, values = checked_scores(abnormal, score, ndim=1)
    measures = {
        "roc_auc": float(roc_auc_score(positive, values)),
        "pr_auc": float(average_precision_score(positive, values)),
    }
    if threshold is None:
        recall = recall_at_false_alarm_rate(positive, values, [FALSE_ALARM_RATE])[FALSE_ALARM_RATE]
        return measures | {"recall": recall, "false_alarm_rate": FALSE_ALARM_RATE}
    alarm = values > threshold
    return measures | {
        "recall": float(alarm[positive].mean()),
        "false_alarm_rate": float(alarm[~positive].mean()),
    }


def resampled_roc_auc(
    abnormal: npt.ArrayLike,
    score: npt.ArrayLike,
    image: npt.ArrayLike | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """ROC-AUC on bootstrap resamples of the test images.

    Images are drawn with replacement without regard to their labels, so that equal `seed` and equally many images give
    the same draws to every detector, class and seed of a data set: means over them, and differences, are resampled
    jointly. An image brings all its rows: patches of one image are alike, and drawn one by one they would make the
    interval too narrow.

    Parameters
    ----------
    abnormal : array-like of shape (n,)
        1 = abnormal, 0 = normal.
    score : array-like of shape (n,)
        Finite, the higher, the more abnormal.
    image : array-like of shape (n,), int, optional
        Image that a row is from, 0 ... images - 1. Default: each row is an image.
    resamples : int
        Number of resamples B.
    seed : int
        Same seed, same draws.

    Returns
    -------
    ndarray of shape (B,), float64
        NaN where only one kind was drawn. Ties count half, as in :func:`sklearn.metrics.roc_auc_score`.
    """
    positive, values = checked_scores(abnormal, score, ndim=1)
    _, level = np.unique(values, return_inverse=True)
    image = np.arange(len(values)) if image is None else np.asarray(image)
    n_images, n_levels = int(image.max()) + 1, int(level.max()) + 1
    generator = np.random.default_rng(seed)
    areas = np.full(resamples, np.nan)
    for b in range(resamples):
        drawn = generator.integers(0, n_images, n_images)
        times = np.bincount(drawn, minlength=n_images)[image]  # that each row is drawn
        of_abnormal = np.bincount(level, times * positive, n_levels)
        of_normal = np.bincount(level, times * ~positive, n_levels)
        pairs = float(of_abnormal.sum()) * float(of_normal.sum())
        if pairs:
            below = np.cumsum(of_normal) - of_normal / 2  # ties count half
            areas[b] = float(of_abnormal @ below) / pairs
    return areas


def t_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval for the mean of independent values, such as one a seed, by Student's t; NaN for fewer than two.

    Examples
    --------
    >>> low, high = t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return float("nan"), float("nan")
    half = student_t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
