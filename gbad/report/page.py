"""One self-contained HTML page about an evaluation: what was found and what not, figures, how it was made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from gbad.errors import DataError, ImageError
from gbad.evaluation.figures import PARTS
from gbad.report.drawing import Finding, TrueBox
from gbad.report.evaluation import Evaluation
from gbad.report.gallery import Bools, choose, picture
from gbad.report.html import inline, write_page
from gbad.report.numbers import interval, number, percent, probability
from gbad.report.plots import figures, precision_recall_figure
from gbad.report.style import spread
from gbad.report.tables import Column, Table

DIFFERENCE = "gbad - ungated"
FOUND = {
    "found": (
        "Found", "images with threats", "Each threat reaches its class's threshold. The most certain come first.",
    ),
    "missed": (
        "Missed", "images with threats", "A threat stays below its class's threshold. The furthest below come first.",
    ),
    "false_alarms": (
        "False alarms", "threat-free images", "A class reaches its threshold. The furthest above come first.",
    ),
}  # fmt: skip
"""Galleries: heading, which images it is a part of, what it shows."""

IMAGES_PER_GALLERY = 6
IN_VIEW = 2
"""Images of a gallery that are in view at once; the others are folded."""

CLASSES_PER_TILE = 3
"""Classes of an image that are shown, at least."""

Found = Callable[[int], Sequence[Finding]]
"""From an image's row to what was found in it."""


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    *,
    title: str,
    paths: Sequence[str | Path],
    info: Mapping[str, Any] | None = None,
    findings: Found | None = None,
    truth: Mapping[int, Sequence[TrueBox]] | None = None,
    operating: Table[Any] | None = None,
    about_operating: str = "",
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
        How the evaluation was made: command, versions, seed, seconds per phase, hardware. It may be nested. What is
        None is left out.
    findings : callable, optional
        What was found in the image of a row, to draw into it.
    truth : mapping of int to sequence of TrueBox, optional
        Where threats are, by the image's row.
    operating : Table, optional
        Thresholds for false-alarm rates, and what they do.
    about_operating : str
        What images stand behind that table, or why there is none.

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
        with_threats=_alarms(evaluation, evaluation.any_threat),
        threat_free=_alarms(evaluation, np.asarray(~evaluation.any_threat)),
        class_thresholds=_class_thresholds(evaluation),
        operating=operating,
        about_operating=about_operating,
        galleries=_galleries(evaluation, paths, findings or (lambda row: ()), truth or {}),
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


def _alarms(evaluation: Evaluation, rows: Bools) -> dict[str, float | int]:
    """How many of some images raise an alarm by the classes' thresholds."""
    alarms, images = int(evaluation.found[rows].any(axis=1).sum()), int(rows.sum())
    return {"alarms": alarms, "images": images, "rate": alarms / images if images else math.nan}


def _class_thresholds(evaluation: Evaluation) -> Table[int]:
    """For each class its threshold, and how often it is found where it is, and in threat-free images."""
    present, found = evaluation.present, evaluation.found
    free = np.asarray(~evaluation.any_threat)

    def share(rows: Bools, column: int) -> str:
        count, of = int(found[rows, column].sum()), int(rows.sum())
        return f"{percent(count / of)} ({count:,} of {of:,})" if of else "missing"

    return Table([
        Column("Class", lambda c: evaluation.classes[c], align="left"),
        Column("Threshold", lambda c: float(evaluation.thresholds[c]), probability),
        Column("Found where it is", lambda c: share(present[:, c], c)),
        Column("Found in threat-free images", lambda c: share(free, c)),
    ], range(len(evaluation.classes)))  # fmt: skip


def _galleries(
    evaluation: Evaluation, paths: Sequence[str | Path], findings: Found, truth: Mapping[int, Sequence[TrueBox]]
) -> list[dict[str, Any]]:
    classes, present, found = evaluation.classes, evaluation.present, evaluation.found
    gated, thresholds = evaluation.scores.gated, evaluation.thresholds
    margin = evaluation.scores.log_gated - np.log(np.maximum(thresholds, np.finfo(float).tiny))

    def tile(row: int) -> dict[str, Any]:
        telling = present[row] | found[row]
        shown = np.lexsort((-gated[row], ~telling))[: max(CLASSES_PER_TILE, int(telling.sum()))].tolist()
        try:
            source, problem = picture(Path(paths[row]), findings(row), truth.get(row, ()))
        except ImageError as error:
            source, problem = "", f"{error.status}: {error.reason}"
        return {
            "path": str(paths[row]),
            "name": Path(paths[row]).name,
            "picture": source,
            "problem": problem,
            "threats": [classes[c] for c in np.flatnonzero(present[row]).tolist()],
            "found": [classes[c] for c in np.flatnonzero(found[row]).tolist()],
            "regions": len(evaluation.scores.regions.of(row)),
            "anomalous": bool(evaluation.scores.anomalous[row]),
            "classes": [
                {"name": classes[c], "present": present[row, c], "found": found[row, c],
                 "probability": gated[row, c], "threshold": thresholds[c]}
                for c in shown
            ],
        }  # fmt: skip

    galleries = []
    threats = int(evaluation.any_threat.sum())
    of = {"images with threats": threats, "threat-free images": len(present) - threats}
    for key, rows in choose(present, found, margin).items():
        heading, kind, explanation = FOUND[key]
        chosen = spread(rows, IMAGES_PER_GALLERY) if key == "found" else rows[:IMAGES_PER_GALLERY]
        tiles = [tile(row) for row in chosen.tolist()]
        galleries.append({
            "heading": heading, "count": f"{len(rows):,} of {of[kind]:,} {kind}", "explanation": explanation,
            "tiles": tiles[:IN_VIEW], "more": tiles[IN_VIEW:],
        })  # fmt: skip
    return galleries
