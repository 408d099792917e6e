"""All figures of one evaluation, with their intervals."""

from __future__ import annotations

import math
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
from gbad.explanation import Explanation

PARTS = {
    "class heads": ("heads", "ungated"),
    "gate": ("first_look", "heads"),
    "second look": ("gbad", "first_look"),
}
"""Parts of a pipeline behind its classifier: the figures with and without each, the parts before it included."""


def evaluate(
    y_true: npt.ArrayLike,
    explanation: Explanation,
    classes: Sequence[str],
    *,
    rule: Rule = "all_points",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute all figures of one evaluation, in the form of ``metrics.json``.

    Parameters
    ----------
    y_true : array-like of shape (n, C)
        1 = present, 0 = absent.
    explanation : Explanation
        Of the same n images. Phase 1 is ranked by its logits, GBAD by the logarithm of its gated probabilities.
    classes : sequence of C str
        Names in column order.
    rule : {"all_points", "voc07", "voc10"}
        See :func:`gbad.evaluation.metrics.average_precision`.
    resamples : int
        Bootstrap resamples; 0 leaves the intervals out.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    dict
        ``classes``, ``n_images``, ``n_positive``, ``prevalence``, ``ap_rule``.

        ``ungated``, ``heads``, ``first_look``, ``gbad``: ``map`` and ``per_class_ap`` of the classifier alone, with
        class heads, behind the gate, and with the second look; see `PARTS`.

        ``looked_twice``: share of the images with and without threats that had a second look.

        ``anomaly``: `any_threat_metrics` and `recall_at_false_alarm_rate` of the gate's score and decision.
        ``any_threat``: the same for the score from all classes, which has no decision.

        ``gate``: `gate_diagnostics`, and the gate's recall per class.

        ``intervals``: `bootstrap_intervals` of the same, of ``gbad - ungated``, and of what each part adds.

        Missing figures are NaN.

    Raises
    ------
    DataError
        If labels and scores do not belong together, a label is neither 0 nor 1, or a score is not finite.
    """
    y_true = checked_labels(y_true, "y_true", ndim=2, classes=classes)
    y_any, decision = y_true.any(axis=1), explanation.anomalous
    figures: dict[str, Any] = {
        "classes": list(classes),
        "n_images": len(y_true),
        "n_positive": dict(zip(classes, y_true.sum(axis=0).tolist(), strict=True)),
        "prevalence": prevalence(y_true, classes),
        "ap_rule": rule,
    }
    scores = {
        "ungated": explanation.logits, "heads": explanation.first_ranking, "first_look": explanation.first_look,
        "gbad": explanation.log_gated,
    }  # fmt: skip
    for name, score in scores.items():
        per_class = average_precision_per_class(y_true, score, classes, rule)
        figures[name] = {"map": mean_average_precision(per_class), "per_class_ap": per_class}
    for name, one, decided in (
        ("anomaly", explanation.gate_score, decision),
        ("any_threat", explanation.any_threat, None),
    ):
        figures[name] = any_threat_metrics(y_any, one, decided)
        figures[name]["recall_at_false_alarm_rate"] = recall_at_false_alarm_rate(y_any, one)
    recall = {name: gate_diagnostics(y_true[:, c], decision)["recall"] for c, name in enumerate(classes)}
    figures["gate"] = gate_diagnostics(y_any, decision) | {"recall_per_class": recall}
    figures["looked_twice"] = {
        name: float(explanation.looked_twice[rows].mean()) if rows.any() else math.nan
        for name, rows in (("threats", y_any), ("threat_free", ~y_any))
    }
    if resamples:
        pairs = [("gbad", "ungated"), *PARTS.values()]
        figures["intervals"] = bootstrap_intervals(
            y_true, scores, classes, differences=pairs, resamples=resamples, seed=seed, rule=rule
        )
    return figures
