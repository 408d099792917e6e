"""Average precision per class, detection of any threat, gate diagnostics: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError

Rule = Literal["all_points", "voc07", "voc10"]
RULES: tuple[Rule, ...] = get_args(Rule)
FALSE_ALARM_RATES = (0.001, 0.01, 0.05, 0.1)


def average_precision(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    rule: Rule = "all_points",
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Average precision of one class.

    Images with equal scores count as one threshold, so the value does not depend on the order of the rows.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 where the threat is present, 0 where it is absent.
    y_score : array-like of shape (n,)
        Any finite score, higher = more likely present. Only its ranking matters.
    rule : {"all_points", "voc07", "voc10"}
        ``"all_points"``: precision times gain in recall, summed over all thresholds, equal to
        :func:`sklearn.metrics.average_precision_score`. ``"voc07"``: mean of the best precision at recall at least
        0, 0.1, ..., 1; ``"voc10"``: area under the curve of the best precision at no less recall
        (PASCAL VOC development kits of 2007 and 2010).
    sample_weight : array-like of shape (n,), optional
        How often each image counts. A weight of k for each threat-free image gives the value of a list that holds each
        of them k times (prevalence-adjusted average precision).

    Returns
    -------
    float
        In [0, 1]; NaN if no image is positive. Random scores give the prevalence.

    Raises
    ------
    DataError
        If the shapes differ, a label is neither 0 nor 1, a score is not finite, or `rule` is unknown.

    Examples
    --------
    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.8333333333333333
    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], sample_weight=[1, 2, 1, 2])
    0.75
    """
    positive, score = checked_scores(y_true, y_score, ndim=1)
    check_rule(rule)
    if not positive.any():
        return float("nan")
    if rule == "all_points":
        from sklearn.metrics import average_precision_score  # slow to import, and scoring does without

        return float(average_precision_score(positive, score, sample_weight=sample_weight))
    weights = np.ones(len(score)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    found = np.cumsum(np.where(positive, weights, 0.0)[order])[last_of_tie]
    return precision_over_recall(found, np.cumsum(weights[order])[last_of_tie], rule)


def precision_over_recall(
    found: npt.NDArray[np.floating[Any]], images: npt.NDArray[np.floating[Any]], rule: Rule
) -> float:
    """Average precision of a ranking from its running totals. Without checks, for callers that need thousands.

    Parameters
    ----------
    found, images : float arrays (k,)
        Weights of the positives and of all images with at least the k-th highest score; it is enough to give the scores
        of positives.
    rule : {"all_points", "voc07", "voc10"}
        See :func:`average_precision`.
    """
    precision = found / np.where(images > 0, images, 1.0)
    gained = np.diff(found, prepend=0.0)
    if rule == "all_points":
        return float((gained * precision).sum() / found[-1])
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "voc10":
        return float((gained * best_from_here).sum() / found[-1])
    # Not shares, because a recall of 3/10 is not >= 3 * 0.1 in floating point.
    first = np.searchsorted(10 * found, np.arange(11) * found[-1])
    return float(best_from_here[first].mean())


def check_rule(rule: str) -> None:
    """DataError if `rule` is no rule of :func:`average_precision`."""
    if rule not in RULES:
        raise DataError(f"the rule of average precision is {rule!r}; choose one of {', '.join(RULES)}.")


def average_precision_per_class(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    classes: Sequence[str],
    rule: Rule = "all_points",
    sample_weight: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Average precision of each class.

    Parameters
    ----------
    y_true : array-like of shape (n, C)
        1 = threat of that class present, 0 = absent.
    y_score : array-like of shape (n, C)
        Finite scores, higher = more likely present.
    classes : sequence of C str
        Names in column order.
    rule, sample_weight
        See :func:`average_precision`.

    Returns
    -------
    dict of str to float
        In [0, 1], NaN for a class without positives.

    Raises
    ------
    DataError
        As :func:`average_precision`, or if the number of classes differs from C.
    """
    positive, score = checked_scores(y_true, y_score, ndim=2, classes=classes)
    return {name: average_precision(positive[:, c], score[:, c], rule, sample_weight) for c, name in enumerate(classes)}


def mean_average_precision(per_class: Mapping[str, float]) -> float:
    """Mean over the classes that have positives; NaN only if none has.

    Examples
    --------
    >>> mean_average_precision({"Gun": 0.75, "Knife": 0.25, "Pliers": float("nan")})
    0.5
    """
    present = [value for value in per_class.values() if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")


def any_threat_metrics(
    y_any: npt.ArrayLike, score: npt.ArrayLike, predicted: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Measure how well a score tells images with threats from threat-free ones.

    Source: Table 4 and Figures 5 and 6 of GBAD (Dumagpi et al. 2020).

    Parameters
    ----------
    y_any : array-like of shape (n,)
        1 = at least one threat, 0 = threat-free.
    score : array-like of shape (n,)
        Finite anomaly score, higher = more anomalous.
    predicted : array-like of shape (n,), optional
        The decision: 1 = anomalous.

    Returns
    -------
    dict of str to float
        ``roc_auc``, ``pr_auc`` (average precision), and with a decision ``macro_precision``, ``macro_recall``,
        ``macro_f1``: the unweighted mean of the positive and the negative class. All NaN unless there are images with
        threats and without. The precision of a class that is never predicted counts as 0.

    Raises
    ------
    DataError
        If the shapes differ, a label is neither 0 nor 1, or a score is not finite.
    """
    positive, score = checked_scores(y_any, score, ndim=1)
    names = ["roc_auc", "pr_auc"]
    if predicted is not None:
        decision = checked_labels(predicted, "predicted", ndim=1, rows=len(positive))
        names += ["macro_precision", "macro_recall", "macro_f1"]
    if positive.all() or not positive.any():
        return dict.fromkeys(names, float("nan"))
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    values = [roc_auc_score(positive, score), average_precision_score(positive, score)]
    if predicted is not None:
        values += precision_recall_fscore_support(positive, decision, average="macro", zero_division=0.0)[:3]
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def recall_at_false_alarm_rate(
    y_any: npt.ArrayLike, score: npt.ArrayLike, rates: Iterable[float] = FALSE_ALARM_RATES
) -> dict[float, float]:
    """Share of the threats that are found while at most a given share of the threat-free images raises an alarm.

    Parameters
    ----------
    y_any : array-like of shape (n,)
        1 = at least one threat, 0 = threat-free.
    score : array-like of shape (n,)
        Finite score, higher = more anomalous.
    rates : iterable of float
        False-alarm rates in [0, 1].

    Returns
    -------
    dict of float to float
        Recall in [0, 1] per rate, at the lowest threshold that keeps to it. NaN unless there are images with threats
        and without.
    """
    positive, score = checked_scores(y_any, score, ndim=1)
    if positive.all() or not positive.any():
        return dict.fromkeys(rates, float("nan"))
    true_positives, false_positives = confusion_counts(positive, score)
    n_positive, n_negative = true_positives[-1], false_positives[-1]
    # In floating point 0.29 of 100 is 28.999…, but 29 false alarms are allowed.
    allowed = {rate: np.searchsorted(false_positives, rate * n_negative * (1 + 1e-12), side="right") for rate in rates}
    return {rate: float(true_positives[k - 1] / n_positive) if k else 0.0 for rate, k in allowed.items()}


def gate_diagnostics(y_any: npt.ArrayLike, anomalous: npt.ArrayLike) -> dict[str, float | int]:
    """Count what the gate decides about images with threats and without.

    Parameters
    ----------
    y_any : array-like of shape (n,)
        1 = at least one threat (or: a threat of one class), 0 = without.
    anomalous : array-like of shape (n,)
        1 = the gate calls the image anomalous.

    Returns
    -------
    dict
        ``recall`` (share of the images with threats called anomalous, NaN without such), ``false_alarm_rate`` (share
        of the threat-free images called anomalous, NaN without such), both in [0, 1]; ``n_threats``,
        ``n_threat_free``, ``missed_threats``, ``false_alarms``: numbers of images.
    """
    positive = checked_labels(y_any, "y_any", ndim=1)
    decision = checked_labels(anomalous, "anomalous", ndim=1, rows=len(positive))
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    passed, false_alarms = int((positive & decision).sum()), int((~positive & decision).sum())
    return {
        "recall": passed / n_positive if n_positive else float("nan"),
        "false_alarm_rate": false_alarms / n_negative if n_negative else float("nan"),
        "n_threats": n_positive,
        "n_threat_free": n_negative,
        "missed_threats": n_positive - passed,
        "false_alarms": false_alarms,
    }


def prevalence(y_true: npt.ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """Share of the images that hold a threat of each class, in [0, 1]: the AP that random scores reach."""
    positive = checked_labels(y_true, "y_true", ndim=2, classes=classes)
    return {name: float(positive[:, c].mean()) for c, name in enumerate(classes)}


def confusion_counts(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count true and false positives at each distinct score, from the highest to the lowest.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 = present, 0 = absent.
    y_score : array-like of shape (n,)
        Finite scores; equal scores fall together.

    Returns
    -------
    true_positives, false_positives : ndarray of shape (number of distinct scores,), int64
        Images with at least that score. The last entries are the totals.
    """
    positive, score = checked_scores(y_true, y_score, ndim=1)
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true_positives: npt.NDArray[np.int64] = np.cumsum(positive[order], dtype=np.int64)[last_of_tie]
    return true_positives, last_of_tie + 1 - true_positives


def checked_labels(
    labels: npt.ArrayLike, name: str, ndim: int, *, rows: int | None = None, classes: Sequence[str] | None = None
) -> npt.NDArray[np.bool_]:
    """Check 0/1 labels and give them as bool.

    Parameters
    ----------
    labels : array-like of shape (n,) or (n, C)
        1 = present, 0 = absent.
    name : str
        Their name in the error message.
    ndim : int
        1 or 2.
    rows : int, optional
        Expected n.
    classes : sequence of str, optional
        Expected columns.

    Returns
    -------
    ndarray of the same shape, bool

    Raises
    ------
    DataError
        If the shape or a value is not as described.
    """
    labels = np.asarray(labels)
    if labels.ndim != ndim or not labels.size:
        raise DataError(f"{name} has shape {labels.shape}; expected {ndim} dimension(s) and at least one image.")
    if rows is not None and len(labels) != rows:
        raise DataError(f"{name} has {len(labels)} rows, expected {rows}: pass the same images everywhere.")
    if classes is not None and labels.shape[1] != len(classes):
        raise DataError(f"{name} has {labels.shape[1]} columns for {len(classes)} classes ({', '.join(classes)}).")
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise DataError(f"{name} holds {labels[wrong][0]}; labels are 1 (present) or 0 (absent). Map others first.")
    return labels.astype(bool)


def checked_scores(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, ndim: int, *, classes: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Check labels and their scores.

    Parameters
    ----------
    y_true : array-like of shape (n,) or (n, C)
        1 = present, 0 = absent.
    y_score : array-like of the same shape
        Finite numbers.
    ndim : int
        1 or 2.
    classes : sequence of str, optional
        Expected columns.

    Returns
    -------
    positive : ndarray, bool
    score : ndarray, float64

    Raises
    ------
    DataError
        If a shape or a value is not as described.
    """
    positive, score = checked_labels(y_true, "y_true", ndim, classes=classes), np.asarray(y_score)
    if score.shape != positive.shape:
        raise DataError(f"y_score has shape {score.shape}, y_true {positive.shape}: pass one score for each label.")
    score = score.astype(float)
    if not np.isfinite(score).all():
        wrong = tuple(np.argwhere(~np.isfinite(score))[0])
        raise DataError(f"y_score holds {score[wrong]} in row {wrong[0]}; leave out images without a finite score.")
    return positive, score
