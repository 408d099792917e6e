"""Measures of detectors that tell abnormal images from normal ones: pure functions of labels and scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from gbad.evaluation.metrics import any_threat_metrics, checked_scores, gate_diagnostics, recall_at_false_alarm_rate

FALSE_ALARM_RATE = 0.05
"""Operating point: the share of normal images that may raise an alarm."""


def detection_measures(abnormal: npt.ArrayLike, score: npt.ArrayLike, threshold: float | None) -> dict[str, float]:
    """Measures of one detector on one test set.

    Parameters
    ----------
    abnormal : array-like of shape (n,)
        1 = abnormal, 0 = normal; both occur.
    score : array-like of shape (n,)
        Finite, higher = more abnormal.
    threshold : float or None
        Scores above it raise an alarm. None takes the lowest threshold that keeps to `FALSE_ALARM_RATE` on this test
        set itself, as papers do.

    Returns
    -------
    dict of str to float
        ``roc_auc``, ``pr_auc`` (average precision, abnormal is positive), ``recall`` (share of abnormal images that
        raise an alarm) and ``false_alarm_rate`` (share of normal images that do), all in [0, 1]. Without a threshold
        the latter is `FALSE_ALARM_RATE`, what is allowed: few normal images, or equal scores, may raise fewer alarms.

    Raises
    ------
    DataError
        If labels and scores do not belong together, or a score is not finite.
    """
    positive, values = checked_scores(abnormal, score, ndim=1)
    measures = any_threat_metrics(positive, values)
    if threshold is None:
        recall = recall_at_false_alarm_rate(positive, values, [FALSE_ALARM_RATE])[FALSE_ALARM_RATE]
        return measures | {"recall": recall, "false_alarm_rate": FALSE_ALARM_RATE}
    decided = gate_diagnostics(positive, values > threshold)
    return measures | {name: decided[name] for name in ("recall", "false_alarm_rate")}


def resampled_roc_auc(
    abnormal: npt.ArrayLike,
    score: npt.ArrayLike,
    image: npt.ArrayLike | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """ROC-AUC on bootstrap resamples of the test images.

    Images are drawn with replacement, whatever their labels. So the same `seed` and the same number of images give the
    same draws for every detector, class and seed of a data set, and means over them and differences between them are
    resampled jointly. An image brings all its rows: the patches of one image are alike, and the interval would be too
    narrow if they were drawn one by one.

    Parameters
    ----------
    abnormal : array-like of shape (n,)
        1 = abnormal, 0 = normal.
    score : array-like of shape (n,)
        Finite, higher = more abnormal.
    image : array-like of shape (n,), int, optional
        Index of each row's image, from 0. Default: each row is an image.
    resamples : int
        Number of resamples B.
    seed : int
        Same seed, same draws.

    Returns
    -------
    ndarray of shape (B,), float64
        NaN where only normal or only abnormal images were drawn. Ties count half, as in
        :func:`sklearn.metrics.roc_auc_score`.
    """
    positive, values = checked_scores(abnormal, score, ndim=1)
    _, level = np.unique(values, return_inverse=True)
    image = np.arange(len(values)) if image is None else np.asarray(image)
    n_images, n_levels = int(image.max()) + 1, int(level.max()) + 1
    generator = np.random.default_rng(seed)
    areas = np.full(resamples, np.nan)
    for b in range(resamples):
        drawn = generator.integers(0, n_images, n_images)
        times = np.bincount(drawn, minlength=n_images)[image]  # number of draws of each row
        of_abnormal = np.bincount(level, times * positive, n_levels)
        of_normal = np.bincount(level, times * ~positive, n_levels)
        pairs = float(of_abnormal.sum()) * float(of_normal.sum())
        if pairs:
            below = np.cumsum(of_normal) - of_normal / 2  # ties count half
            areas[b] = float(of_abnormal @ below) / pairs
    return areas


def t_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval for the mean of independent values, such as one value per seed; NaN for fewer than two.

    Examples
    --------
    >>> low, high = t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    found = np.asarray(values, float)
    if len(found) < 2:
        return float("nan"), float("nan")
    half = student_t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean() - half), float(found.mean() + half)
