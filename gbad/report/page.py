"""One self-contained HTML page about an evaluation: figures first, then pictures, then how it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from gbad.errors import DataError
from gbad.evaluation.figures import evaluate
from gbad.explanation import PAPER_LOSSES
from gbad.report.gallery import Heatmaps, choose, outranked, pictures
from gbad.report.html import inline, write_page
from gbad.report.numbers import interval, number
from gbad.report.plots import figures, precision_recall_figure

DIFFERENCE = "gbad - ungated"
GALLERIES = {
    "detected": ("Best detections", "Threats that the gate calls anomalous and that rank best, the classes in turn."),
    "missed": ("Missed threats", "Threats that the gate calls anomalous, but that many images without them outrank."),
    "called_normal": ("Threats that the gate calls normal", "Those that the classifier alone ranked best come first."),
    "false_alarms": ("Worst false alarms", "Threat-free images with the highest gated probabilities."),
}
IMAGES_A_GALLERY = 8
CLASSES_A_TILE = 5


def write_report(
    path: str | Path,
    *,
    title: str,
    classes: Sequence[str],
    y_true: npt.ArrayLike,
    ungated: npt.ArrayLike,
    gated: npt.ArrayLike,
    losses: npt.ArrayLike,
    gate_score: npt.ArrayLike,
    anomalous: npt.ArrayLike,
    paths: Sequence[str | Path],
    metrics: Mapping[str, Any],
    history: pd.DataFrame | None = None,
    info: Mapping[str, Any] | None = None,
    heatmaps: Heatmaps | None = None,
    any_threat: npt.ArrayLike | None = None,
    loss_names: Sequence[str] = PAPER_LOSSES,
) -> None:
    """Write the report of an evaluation as one HTML file that needs nothing else, neither files nor network.

    Parameters
    ----------
    path : path-like
        The file; written whole or not at all.
    title : str
        Heading of the page.
    classes : sequence of C str
        Names in column order.
    y_true : array-like of shape (n, C)
        1 = present, 0 = absent. Leave out images without scores.
    ungated, gated : array-like of shape (n, C)
        Probabilities in [0, 1] of phase 1 alone and after the gate.
    losses : array-like of shape (n, k)
        Of phase 2, 0 or larger.
    gate_score : array-like of shape (n,)
        Anomaly score of the gate, higher = more anomalous.
    anomalous : array-like of shape (n,)
        The gate's decision, True = anomalous.
    paths : sequence of n path-likes
        The images. Only the few that are shown are read; one that cannot be read is shown as such.
    metrics : mapping
        As from :func:`gbad.evaluation.figures.evaluate`, or read back from ``metrics.json``. What it lacks is computed,
        except intervals.
    history : DataFrame, optional
        Training curves, see :func:`gbad.report.plots.training_figure`.
    info : mapping, optional
        How the evaluation was made: command, versions, seed, seconds per phase, hardware; mappings may be nested.
    heatmaps : callable, optional
        ``heatmaps(path, class_index)`` gives a map (h, w), higher = more of that class, or None.
    any_threat : array-like of shape (n,), optional
        Score for any threat from all classes, higher = more likely.
    loss_names : sequence of k str
        Names of the losses.

    Raises
    ------
    DataError
        If the arrays do not belong together, a label is neither 0 nor 1, or a score is not finite.
    GbadError
        If the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {
        "y_true": np.asarray(y_true),
        "ungated": np.asarray(ungated, dtype=float),
        "gated": np.asarray(gated, dtype=float),
        "losses": np.asarray(losses, dtype=float),
        "gate_score": np.asarray(gate_score, dtype=float),
        "anomalous": np.asarray(anomalous, dtype=bool),
    }
    n_images = len(arrays["y_true"])
    if len(paths) != n_images or arrays["losses"].shape != (n_images, len(loss_names)):
        raise DataError(
            f"{len(paths)} paths and losses of shape {arrays['losses'].shape} for {n_images} rows of labels; "
            f"expected one path and {len(loss_names)} losses for each row."
        )
    decision = (arrays["gate_score"], arrays["anomalous"])
    computed = evaluate(arrays["y_true"], arrays["ungated"], arrays["gated"], *decision, classes, resamples=0)
    metrics = _completed(computed, metrics)
    arrays["y_true"] = arrays["y_true"].astype(bool)

    drawn = figures(
        classes=classes, metrics=metrics, history=history, any_threat=any_threat, loss_names=loss_names, **arrays
    )
    write_page(
        path,
        "report.html.j2",
        title=title,
        metrics=metrics,
        headline=_headline(metrics),
        rows=_class_rows(metrics, classes),
        any_prevalence=float(arrays["y_true"].any(axis=1).mean()),
        figures={name: inline(figure) for name, figure in drawn.items()},
        curves=_curves(arrays, classes),
        galleries=_galleries(arrays, classes, paths, heatmaps),
        info=info or {},
    )


def _completed(computed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the given figures over the computed ones, mappings entry by entry."""
    merged = dict(computed)
    for key, value in given.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    intervals = metrics.get("intervals") or {}
    bounds = (intervals.get(DIFFERENCE) or {}).get("map")
    verdict, tone = "no interval was computed", "even"
    if bounds and interval(bounds):
        low, high = bounds
        verdict, tone = "no clear difference", "even"
        if low > 0:
            verdict, tone = "GBAD ranks better", "good"
        elif high < 0:
            verdict, tone = "GBAD ranks worse", "bad"
    return {
        "ungated_interval": (intervals.get("ungated") or {}).get("map"),
        "gbad_interval": (intervals.get("gbad") or {}).get("map"),
        "difference": number(metrics["gbad"]["map"]) - number(metrics["ungated"]["map"]),
        "difference_interval": bounds,
        "verdict": verdict,
        "tone": tone,
    }


def _class_rows(metrics: Mapping[str, Any], classes: Sequence[str]) -> list[dict[str, Any]]:
    intervals = metrics.get("intervals") or {}
    rows = []
    for name in classes:
        values = {key: number(metrics[key]["per_class_ap"][name]) for key in ("ungated", "gbad")}
        difference = values["gbad"] - values["ungated"]
        bounds = {key: found["per_class_ap"][name] for key, found in intervals.items()}
        rows.append(
            {
                "name": name,
                "positives": metrics["n_positive"][name],
                "prevalence": metrics["prevalence"][name],
                "missing": math.isnan(difference),
                "difference": difference,
                "difference_interval": bounds.get(DIFFERENCE),
                "ungated_interval": bounds.get("ungated"),
                "gbad_interval": bounds.get("gbad"),
                "gate_recall": metrics["gate"]["recall_per_class"][name],
                **values,
            }
        )
    return rows


def _curves(arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[tuple[str, Markup]]:
    curves = []
    for c, name in enumerate(classes):
        y_true, ungated, gated = (arrays[key][:, c : c + 1] for key in ("y_true", "ungated", "gated"))
        curves.append((name, inline(precision_recall_figure(y_true, ungated, gated, [name], titles=False))))
    return curves


def _galleries(
    arrays: Mapping[str, np.ndarray], classes: Sequence[str], paths: Sequence[str | Path], heatmaps: Heatmaps | None
) -> list[dict[str, Any]]:
    y_true, ungated, gated = arrays["y_true"], arrays["ungated"], arrays["gated"]
    chosen = choose(y_true, ungated, gated, arrays["anomalous"], IMAGES_A_GALLERY)
    ranks = {"before": outranked(y_true, ungated), "after": outranked(y_true, gated)}

    def tile(row: int, ranking: str) -> dict[str, Any]:
        threats = np.flatnonzero(y_true[row]).tolist()
        shown = int(ranks[ranking][row].argmin() if threats else gated[row].argmax())
        sources, problem = pictures(Path(paths[row]), shown, heatmaps)
        order = np.lexsort((-ungated[row], ~y_true[row]))[:CLASSES_A_TILE].tolist()
        return {
            "path": str(paths[row]),
            "name": Path(paths[row]).name,
            "pictures": sources,
            "problem": problem,
            "threats": [classes[c] for c in threats],
            "class": classes[shown],
            "outranked": [int(ranks[when][row, shown]) for when in ("before", "after")],
            "anomalous": bool(arrays["anomalous"][row]),
            "probabilities": [(classes[c], y_true[row, c], ungated[row, c], gated[row, c]) for c in order],
        }

    galleries = []
    for key, rows in chosen.items():
        heading, explanation = GALLERIES[key]
        tiles = [tile(row, "before" if key == "called_normal" else "after") for row in rows.tolist()]
        galleries.append({"heading": heading, "explanation": explanation, "tiles": tiles})
    return galleries
