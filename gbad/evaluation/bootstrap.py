"""Bootstrap intervals of average precision, for single methods and for differences between methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError
from gbad.evaluation.metrics import Rule, check_rule, checked_labels, checked_scores, precision_over_recall


def bootstrap_average_precision(
    y_true: npt.ArrayLike,
    y_scores: Sequence[npt.ArrayLike],
    *,
    resamples: int = 1000,
    seed: int = 0,
    sample_weight: npt.ArrayLike | None = None,
    rule: Rule = "all_points",
) -> npt.NDArray[np.float64]:
    """Average precision of several methods on the same resamples of the images.

    Images are drawn with replacement. Images with threats and threat-free images are drawn separately, because their
    numbers are a property of the list (10, 100 or 1000 to 1) and not chance. All classes and all methods see the same
    draws, so differences between methods are paired.

    Parameters
    ----------
    y_true : array-like of shape (n, C)
        1 = present, 0 = absent.
    y_scores : sequence of M array-likes of shape (n, C)
        Finite scores of each method, higher = more likely present.
    resamples : int
        Number of resamples B.
    seed : int
        Same seed, same resamples.
    sample_weight : array-like of shape (n,), optional
        How often an image counts in each draw.
    rule : {"all_points", "voc07", "voc10"}
        See :func:`gbad.evaluation.metrics.average_precision`.

    Returns
    -------
    ndarray of shape (B, M, C), float64
        NaN where a resample has no positive of the class.

    Notes
    -----
    AP changes only at a positive, so the images between two neighbouring positives are interchangeable. Each ranking is
    binned once by the distinct scores of its positives, and a resample costs one ``bincount`` per ranking.
    The result equals ``average_precision(..., sample_weight=number of times drawn * sample_weight)``.
    """
    check_rule(rule)
    scores = [checked_scores(y_true, y_score, ndim=2) for y_score in y_scores]
    positive = checked_labels(y_true, "y_true", ndim=2)
    any_threat = positive.any(axis=1)
    order = np.argsort(~any_threat, kind="stable")  # threats first
    n_threats, n_classes = int(any_threat.sum()), positive.shape[1]
    positive = positive[order]
    members = [np.flatnonzero(positive[:, c]) for c in range(n_classes)]
    of_image = np.ones(len(positive)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    if of_image.shape != any_threat.shape:
        raise DataError(f"sample_weight has shape {of_image.shape} for {len(positive)} images: pass one weight each.")
    of_image = of_image[order]
    bins = [[positive_bins(score[order, c], members[c]) for c in range(n_classes)] for _, score in scores]

    generator = np.random.default_rng(seed)
    strata = [(0, n_threats), (n_threats, len(positive))]
    result = np.full((resamples, len(scores), n_classes), np.nan)
    for b in range(resamples):
        draws = [generator.integers(low, high, size=high - low) for low, high in strata if high > low]
        weights = np.bincount(np.concatenate(draws), minlength=len(positive)) * of_image
        for c, rows in enumerate(members):
            if weights[rows].any():
                result[b, :, c] = [binned_average_precision(ranking[c], rows, weights, rule) for ranking in bins]
    return result


def bootstrap_intervals(
    y_true: npt.ArrayLike,
    y_scores: Mapping[str, npt.ArrayLike],
    classes: Sequence[str],
    *,
    differences: Iterable[tuple[str, str]] = (),
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    sample_weight: npt.ArrayLike | None = None,
    rule: Rule = "all_points",
) -> dict[str, dict[str, Any]]:
    """Percentile intervals of per-class AP and mAP, and of paired differences between methods.

    Parameters
    ----------
    y_true : array-like of shape (n, C)
        1 = present, 0 = absent.
    y_scores : mapping of str to array-like of shape (n, C)
        Scores of each method by its name, higher = more likely present.
    classes : sequence of C str
        Names in column order.
    differences : iterable of (str, str)
        Pairs ``(a, b)`` of methods, for the interval of a minus b on the same resamples.
    level : float
        Coverage in (0, 1).
    resamples, seed, sample_weight, rule
        See :func:`bootstrap_average_precision`.

    Returns
    -------
    dict
        ``{method: {"map": [low, high], "per_class_ap": {class: [low, high]}}}``, with one more entry ``"a - b"`` for
        each difference. The bounds are NaN for a class without positives. The mAP of a resample is the mean
        over the classes with positives in it.

    Notes
    -----
    On simulated scores the 95 % intervals held the expected AP in 92 to 94 % of the trials (30 positives or more, AP
    below 0.9), in 89 % (AP above 0.9) and in 79 to 92 % (10 positives): intervals of rare classes tend to be too
    narrow. With few positives the resampled AP lies above the estimate on average, since a positive drawn twice ranks
    twice.
    """
    checked_labels(y_true, "y_true", ndim=2, classes=classes)
    names = list(y_scores)
    values = bootstrap_average_precision(
        y_true, list(y_scores.values()), resamples=resamples, seed=seed, sample_weight=sample_weight, rule=rule
    )
    samples = {name: values[:, m] for m, name in enumerate(names)}
    samples |= {f"{a} - {b}": samples[a] - samples[b] for a, b in differences}
    return {
        name: {
            "map": [*percentiles(mean_over_classes(sample), level)],
            "per_class_ap": {label: [*percentiles(sample[:, c], level)] for c, label in enumerate(classes)},
        }
        for name, sample in samples.items()
    }


def positive_bins(score: npt.NDArray[np.float64], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Count the distinct scores of the positives `rows` that each image reaches: int (n,); 0 = behind all positives."""
    return np.searchsorted(np.unique(score[rows]), score, side="right")


def binned_average_precision(
    bins: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], weights: npt.NDArray[np.float64], rule: Rule = "all_points"
) -> float:
    """Average precision of a ranking that `positive_bins` has binned. Without checks, for callers that need thousands.

    Parameters
    ----------
    bins : int array (n,)
    rows : int array (k,)
        The positives, one or more.
    weights : float array (n,)
        How often each image counts; above 0 for one positive or more.
    rule : {"all_points", "voc07", "voc10"}
        See :func:`gbad.evaluation.metrics.average_precision`.
    """
    n_bins = int(bins[rows].max()) + 1
    images = np.bincount(bins, weights, n_bins)[:0:-1].cumsum()
    found = np.bincount(bins[rows], weights[rows], n_bins)[:0:-1].cumsum()
    return precision_over_recall(found, images, rule)


def mean_over_classes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the last axis, NaN left out; NaN where all values are."""
    present = ~np.isnan(values)
    count = present.sum(axis=-1)
    return np.where(count > 0, np.where(present, values, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def percentiles(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Bounds of the central share `level` of resampled values, NaN left out; NaN if no value is left."""
    found = np.asarray(values, dtype=float)
    found = found[~np.isnan(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
