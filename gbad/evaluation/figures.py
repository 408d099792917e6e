"""All figures of one evaluation, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from gbad.evaluation.bootstrap import bootstrap_intervals
from gbad.evaluation.metrics import (
    Rule,
    any_threat_metrics,
    average_precision_per_class,
    checked_labels,
    gate_diagnostics,
    mean_average_precision,
    prevalence,
    recall_at_false_alarm_rate,
)


def evaluate(
    y_true: npt.ArrayLike,
    ungated: npt.ArrayLike,
    gated: npt.ArrayLike,
    gate_score: npt.ArrayLike,
    anomalous: npt.ArrayLike,
    classes: Sequence[str],
    *,
    any_threat: npt.ArrayLike | None = None,
    rule: Rule = "all_points",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of one evaluation, in the form of ``metrics.json``.

    Parameters
    ----------
    y_true : array-like of shape (n, C)
        1 = present, 0 = absent.
    ungated, gated : array-like of shape (n, C)
        Scores of phase 1 alone and after the gate, higher = more likely present.
    gate_score : array-like of shape (n,)
        Anomaly score of the gate, higher = more anomalous.
    anomalous : array-like of shape (n,)
        The gate's decision, 1 = anomalous.
    classes : sequence of C str
        Names in column order.
    any_threat : array-like of shape (n,), optional
        Score for any threat from all classes, higher = more likely.
    rule : {"all_points", "voc07", "voc10"}
        See :func:`average_precision`. Intervals exist for ``"all_points"`` only.
    resamples : int
        Bootstrap resamples; 0 leaves the intervals out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``classes``, ``n_images``, ``n_positive``, ``prevalence``, ``ap_rule``; ``ungated``, ``gbad`` with ``map`` and
        ``per_class_ap``; ``anomaly`` (:func:`any_threat_metrics` and :func:`recall_at_false_alarm_rate` of the gate);
        ``any_threat``, the same of that score where it is given, without a decision; ``gate``
        (:func:`gate_diagnostics`, and its recall per class); ``intervals`` (:func:`bootstrap_intervals` of
        ``ungated``, ``gbad`` and ``gbad - ungated``). Missing figures are NaN.
    """
    y_true = checked_labels(y_true, "y_true", ndim=2, classes=classes)
    y_any = y_true.any(axis=1)
    figures: dict[str, Any] = {
        "classes": list(classes),
        "n_images": len(y_true),
        "n_positive": dict(zip(classes, y_true.sum(axis=0).tolist(), strict=True)),
        "prevalence": prevalence(y_true, classes),
        "ap_rule": rule,
    }
    scores = {"ungated": ungated, "gbad": gated}
    for name, score in scores.items():
        per_class = average_precision_per_class(y_true, score, classes, rule)
        figures[name] = {"map": mean_average_precision(per_class), "per_class_ap": per_class}
    figures["anomaly"] = any_threat_metrics(y_any, gate_score, anomalous)
    figures["anomaly"]["recall_at_false_alarm_rate"] = recall_at_false_alarm_rate(y_any, gate_score)
    if any_threat is not None:
        figures["any_threat"] = any_threat_metrics(y_any, any_threat)
        figures["any_threat"]["recall_at_false_alarm_rate"] = recall_at_false_alarm_rate(y_any, any_threat)
    recall = {name: gate_diagnostics(y_true[:, c], anomalous)["recall"] for c, name in enumerate(classes)}
    figures["gate"] = gate_diagnostics(y_any, anomalous) | {"recall_per_class": recall}
    if resamples and rule == "all_points":
        pairs = [("gbad", "ungated")]
        figures["intervals"] = bootstrap_intervals(
            y_true, scores, classes, differences=pairs, resamples=resamples, seed=seed
        )
    return figures
