"""One self-contained HTML page about an evaluation: figures, then images, then how it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from gbad.errors import DataError
from gbad.evaluation.figures import PARTS
from gbad.report.evaluation import Evaluation
from gbad.report.gallery import Heatmaps, choose, outranked, pictures
from gbad.report.html import inline, write_page
from gbad.report.numbers import interval, number, percent
from gbad.report.plots import figures, precision_recall_figure

DIFFERENCE = "gbad - ungated"
GALLERIES = {
    "detected": ("Best detections", "Threats called anomalous that rank best, the classes in turn."),
    "missed": (
        "Missed threats",
        "Threats called anomalous that rank below many images without the class.",
    ),
    "called_normal": (
        "Threats that the gate calls normal",
        "Those that the classifier alone ranked best come first.",
    ),
    "false_alarms": ("Worst false alarms", "Threat-free images with the highest gated probabilities."),
}
IMAGES_PER_GALLERY = 8
CLASSES_PER_TILE = 5


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    *,
    title: str,
    paths: Sequence[str | Path],
    info: Mapping[str, Any] | None = None,
    heatmaps: Heatmaps | None = None,
) -> None:
    """Write the report of an evaluation as one HTML file that needs no other file and no network.

    Parameters
    ----------
    path : path-like
        The file. It is written whole or not at all.
    evaluation : Evaluation
    title : str
        Heading of the page.
    paths : sequence of n path-likes
        The images. Only those that are shown are read; an image that cannot be read is shown as such.
    info : mapping, optional
        How the evaluation was made: command, versions, seed, seconds per phase, hardware. It may be nested.
    heatmaps : callable, optional
        ``heatmaps(path, class_index)`` gives a map (h, w), higher = more of that class, or None.

    Raises
    ------
    DataError
        If the number of paths is not n.
    GbadError
        If the file cannot be written.
    """
    if len(paths) != len(evaluation.labels):
        raise DataError(f"{len(paths)} paths for {len(evaluation.labels)} images: pass one path for each image.")
    write_page(
        path,
        "report.html.j2",
        title=title,
        metrics=evaluation.metrics,
        headline=_headline(evaluation.metrics),
        gate=gate_text(evaluation.metrics["phase3"]) if "phase3" in evaluation.metrics else "",
        rows=_class_rows(evaluation.metrics, evaluation.classes),
        parts=_parts(evaluation.metrics),
        any_prevalence=float(evaluation.any_threat.mean()),
        figures={name: inline(figure) for name, figure in figures(evaluation).items()},
        curves=_curves(evaluation),
        galleries=_galleries(evaluation, paths, heatmaps),
        info=info or {},
    )


def gate_text(phase3: Mapping[str, Any]) -> str:
    """Describe how much the gate and the class heads change the ranking.

    Parameters
    ----------
    phase3 : mapping
        ``suppression`` ("hard" or "soft"), ``strength`` and ``heads_share``, as in ``metrics.json``; for a pipeline
        with a second look also ``second_look``: its ``share`` and ``strength``.
    """
    suppression, strength = phase3["suppression"], f"{phase3['strength']:g}"
    text = f"The {suppression} gate has the strength {strength}."
    if phase3["strength"] == (1 if suppression == "hard" else 0):
        text = f"This gate changes no probability ({suppression}, strength {strength}). Below are its decisions."
    text = f"{text} Class heads have {percent(phase3['heads_share'])} of the first look's ranking."
    if second := phase3.get("second_look"):
        text += (
            f" The second look has {percent(second['share'])} of the ranking of the images that it sees, its own gate "
            f"the strength {second['strength']:g}."
        )
    return text


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


def _parts(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the classifier alone reaches, and what each part behind it adds."""
    intervals = metrics.get("intervals") or {}
    alone = {"name": "Classifier alone", "map": metrics["ungated"]["map"]}
    rows: list[dict[str, Any]] = [alone | {"interval": (intervals.get("ungated") or {}).get("map"), "adds": None}]
    for name, (after, before) in PARTS.items():
        rows.append({
            "name": f"with {name}", "map": metrics[after]["map"],
            "interval": (intervals.get(after) or {}).get("map"),
            "adds": number(metrics[after]["map"]) - number(metrics[before]["map"]),
            "adds_interval": (intervals.get(f"{after} - {before}") or {}).get("map"),
        })  # fmt: skip
    return rows


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


def _curves(evaluation: Evaluation) -> list[tuple[str, Markup]]:
    present, ungated, gated = evaluation.present, evaluation.scores.ungated, evaluation.scores.gated
    curves = []
    for c, name in enumerate(evaluation.classes):
        own = slice(c, c + 1)
        figure = precision_recall_figure(present[:, own], ungated[:, own], gated[:, own], [name], titles=False)
        curves.append((name, inline(figure)))
    return curves


def _galleries(evaluation: Evaluation, paths: Sequence[str | Path], heatmaps: Heatmaps | None) -> list[dict[str, Any]]:
    classes, present = evaluation.classes, evaluation.present
    ungated, gated, anomalous = evaluation.scores.ungated, evaluation.scores.gated, evaluation.scores.anomalous
    ranks = {"before": outranked(present, ungated), "after": outranked(present, gated)}

    def tile(row: int, ranking: str) -> dict[str, Any]:
        threats = np.flatnonzero(present[row]).tolist()
        shown = int(ranks[ranking][row].argmin() if threats else gated[row].argmax())
        regions = evaluation.scores.regions
        own = regions.of(row)
        best = own[regions.log_odds[own, shown].argsort()[::-1]]
        sources, problem = pictures(Path(paths[row]), shown, heatmaps, regions.boxes[best])
        order = np.lexsort((-ungated[row], ~present[row]))[:CLASSES_PER_TILE].tolist()
        return {
            "path": str(paths[row]),
            "name": Path(paths[row]).name,
            "pictures": sources,
            "problem": problem,
            "threats": [classes[c] for c in threats],
            "class": classes[shown],
            "regions": [
                (float(regions.log_odds[region, shown]), float(regions.gate_score[region])) for region in best.tolist()
            ],
            "outranked": [int(ranks[when][row, shown]) for when in ("before", "after")],
            "anomalous": bool(anomalous[row]),
            "probabilities": [(classes[c], present[row, c], ungated[row, c], gated[row, c]) for c in order],
        }

    galleries = []
    for key, rows in choose(present, ungated, gated, anomalous, IMAGES_PER_GALLERY).items():
        heading, explanation = GALLERIES[key]
        tiles = [tile(row, "before" if key == "called_normal" else "after") for row in rows.tolist()]
        galleries.append({"heading": heading, "explanation": explanation, "tiles": tiles})
    return galleries
