"""Table 4 of the paper, "any threat": macro precision, recall and F1 at thresholds from validation parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.inference import Scores
from gbad.data.arrays import Mask, Rows
from gbad.errors import DataError
from gbad.evaluation.bootstrap import percentiles
from gbad.phase3_gate import fit_any_threat, log_odds

FIGURES = ("precision", "recall", "f1")

OWN_DECISION = "BiGAN and SVM"
"""What Table 4 calls the detector of phases 2 and 3 with its own decision: the paper's row."""

AT_THRESHOLD = "BiGAN and SVM, at a chosen threshold"
"""The same score, where a threshold of the validation part decides."""

Counts = npt.NDArray[np.int64] | npt.NDArray[np.floating[Any]]


class SeedScores(NamedTuple):
    """Anomaly scores of one training, higher = more likely a threat.

    Attributes
    ----------
    validation_any : bool array (m,)
        Which validation images show a threat.
    validation_score : float array (m,)
    test_score : float array (n,)
    threshold : float or None
        The detector's own; None chooses one on the validation part.
    """

    validation_any: Mask
    validation_score: Floats
    test_score: Floats
    threshold: float | None = None


def macro_figures(
    true_positives: Counts, false_positives: Counts, n_positive: float, n_negative: float
) -> tuple[Floats, Floats, Floats]:
    """Macro precision, recall and F1, the unweighted means over the positive and the negative class.

    Parameters
    ----------
    true_positives, false_positives : arrays of one shape
        Weights of the images that are called a threat.
    n_positive, n_negative : float
        Weights of all images of each kind, above 0.

    Returns
    -------
    precision, recall, f1 : arrays of that shape
        In [0, 1]; the precision of a class that is never predicted counts as 0, as in scikit-learn.
    """
    true_negatives, false_negatives = n_negative - false_positives, n_positive - true_positives
    kinds = ((true_positives, false_positives, n_positive), (true_negatives, false_negatives, n_negative))
    precision = np.mean([right / np.maximum(right + wrong, 1e-12) for right, wrong, _ in kinds], axis=0)
    recall = np.mean([right / total for right, _, total in kinds], axis=0)
    f1 = np.mean([2 * right / (right + wrong + total) for right, wrong, total in kinds], axis=0)
    return np.asarray(precision), np.asarray(recall), np.asarray(f1)


def decision_threshold(y_any: Mask, score: Floats, ratio: float | None = None) -> float:
    """Threshold of the highest macro F1; images with at least that score are called a threat.

    Parameters
    ----------
    y_any : bool array (m,)
        Validation images.
    score : float array (m,)
    ratio : float, optional
        Threat-free images per image with threats to choose for: those of the validation part are weighted to it.

    Returns
    -------
    float
        Half-way between two neighbouring scores, or the lowest score.

    Raises
    ------
    DataError
        If all images are of one kind.
    """
    if not _both(y_any):
        raise DataError(
            f"{int(y_any.sum())} of {len(y_any)} validation images show a threat, so no threshold can be chosen on "
            "them. Use a training list with more images of both kinds."
        )
    order = np.argsort(-score, kind="stable")
    positive, ranked = y_any[order].astype(float), score[order]
    n_positive = positive.sum()
    weight = 1.0 if ratio is None else ratio * n_positive / (len(positive) - n_positive)
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found, false = np.cumsum(positive)[ends], weight * np.cumsum(1 - positive)[ends]
    f1 = macro_figures(found, false, n_positive, weight * (len(positive) - n_positive))[2]
    best = int(np.argmax(f1))
    below = ranked[ends[best] + 1] if best + 1 < len(ends) else ranked[ends[best]]
    return float(ranked[ends[best]] / 2 + below / 2)


def detector_rows(
    detectors: Mapping[str, Sequence[SeedScores]],
    y_any: Mask,
    ratio: float | None,
    *,
    negative_weight: float = 1.0,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows of Table 4.

    Parameters
    ----------
    detectors : mapping of str to sequence of SeedScores
        By what the table calls them, one entry a training seed.
    y_any : bool array (n,)
        Which test images show a threat.
    ratio : float or None
        See `decision_threshold`.
    negative_weight : float
        How often each threat-free test image counts.
    resamples, seed : int
        Of the bootstrap over test images.

    Returns
    -------
    DataFrame
        ``method``; ``precision``, ``recall``, ``f1`` with ``_low`` and ``_high``; ``roc_auc``, ``pr_auc``: means over
        seeds, in [0, 1]. Intervals are of the seed mean, over test images.
    """
    rows = []
    n_positive, n_negative = int(y_any.sum()), negative_weight * int((~y_any).sum())
    weights = np.where(y_any, 1.0, negative_weight)
    generator = np.random.default_rng(seed)
    for name, seeds in detectors.items():
        decisions = np.stack([
            one.test_score >= (decision_threshold(one.validation_any, one.validation_score, ratio)
                               if one.threshold is None else one.threshold)
            for one in seeds
        ])  # fmt: skip
        passed, alarms = decisions[:, y_any], decisions[:, ~y_any]  # (S, n of each kind)
        values = macro_figures(passed.sum(1), negative_weight * alarms.sum(1), n_positive, n_negative)
        found, false = (_resampled_counts(kind, resamples, generator) for kind in (passed, alarms))
        sampled = macro_figures(found, negative_weight * false, n_positive, n_negative)
        row: dict[str, str | float] = {"method": name}
        for figure, value, sample in zip(FIGURES, values, sampled, strict=True):
            low, high = percentiles(sample.mean(axis=1))
            row |= {figure: float(value.mean()), f"{figure}_low": low, f"{figure}_high": high}
        row["roc_auc"] = float(np.mean([roc_auc_score(y_any, one.test_score) for one in seeds]))
        row["pr_auc"] = float(
            np.mean([average_precision_score(y_any, one.test_score, sample_weight=weights) for one in seeds])
        )
        rows.append(row)
    return pd.DataFrame(rows)


def group_detectors(group: Group, ratio: float | None) -> dict[str, list[SeedScores]]:
    """Any-threat scores of a group's methods (`AnyThreat`), calibrated for a ratio, and those of their detectors.

    The detector of a method, BiGAN and SVM, has the decision of its SVM, as in the paper, and stands there once more at
    a threshold that is chosen as for the other methods. What a validation part would have to choose is left out for a
    network without one. Bounds are left out, since they know the truth or nothing.
    """
    found: dict[str, list[SeedScores]] = {}
    for name, method in group.methods.items():
        if method.is_bound:
            continue
        pairs = list(zip(group.validation[method.network], group.test[method.network], strict=True))
        can_choose = all(validation.labels is not None and _both(_any(validation)) for validation, _ in pairs)
        if can_choose:
            found[name] = [_of_all_classes(group, name, validation, test, ratio) for validation, test in pairs]
        if method.output == "gated":
            for label, threshold in ((OWN_DECISION, 0.0), *([(AT_THRESHOLD, None)] if can_choose else [])):
                found[f"{name}: {label}"] = [
                    SeedScores(_any(validation), validation.gate_score, test.gate_score, threshold)  # type: ignore[arg-type]
                    for validation, test in pairs
                ]
    return found


def _of_all_classes(group: Group, name: str, validation: Scores, test: Scores, ratio: float | None) -> SeedScores:
    seen, judged = group.columns(validation, name), group.columns(test, name)
    if group.methods[name].gives_probabilities:
        seen, judged = log_odds(seen), log_odds(judged)
    prevalence = None if ratio is None else 1 / (1 + ratio)
    any_threat = fit_any_threat(seen, validation.labels, prevalence)  # type: ignore[arg-type]
    return SeedScores(_any(validation), any_threat.score(seen), any_threat.score(judged))


def _resampled_counts(decisions: Mask, resamples: int, generator: np.random.Generator) -> Rows:
    """How often each seed says "threat" about images drawn with replacement: (S, n) decisions -> (B, S) counts."""
    # Images on which all seeds decide alike are interchangeable: draw how many of each kind there are.
    patterns, counts = np.unique(decisions, axis=1, return_counts=True)
    drawn = generator.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    return np.asarray(drawn @ patterns.T.astype(np.int64))


def _any(validation: Scores) -> Mask:
    assert validation.labels is not None
    return np.asarray(validation.labels.any(axis=1))


def _both(positive: Mask) -> bool:
    return bool(positive.any() and not positive.all())
