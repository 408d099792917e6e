"""Figures of an evaluation. Each function returns a matplotlib `Figure` and leaves pyplot's global state alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gbad.evaluation.metrics import confusion_counts
from gbad.report.evaluation import Evaluation
from gbad.report.loss_plot import loss_figure
from gbad.report.numbers import number
from gbad.report.style import (
    FALSE_ALARM,
    GATED,
    GRID,
    INK,
    MUTED,
    TEXT_SIZE,
    THREAT,
    UNGATED,
    legend_above,
    new_axes,
    save,
    say_missing,
    spread,
)
from gbad.storage.files import atomic_path

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_CURVE_POINTS = 2000


def average_precision_figure(metrics: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Average precision of each class and its mean, ungated and gated, with intervals. A bar marks random scores.

    Parameters
    ----------
    metrics : mapping
        From :func:`gbad.evaluation.figures.evaluate`. Intervals are drawn if it has any.
    classes : sequence of C str
        Names in column order.

    Returns
    -------
    Figure
    """
    rows = [*classes, "mean (mAP)"]
    figure = Figure(figsize=(5.8, 1.1 + 0.44 * len(rows)), layout="constrained")
    axes = new_axes(figure, xlabel="average precision")
    y = np.arange(len(rows))
    styles = (("ungated", "classifier alone", UNGATED, "s", -0.15), ("gbad", "GBAD", GATED, "o", 0.15))
    for key, label, colour, marker, offset in styles:
        values = [number(metrics[key]["per_class_ap"][name]) for name in classes] + [number(metrics[key]["map"])]
        axes.plot(
            values, y + offset, linestyle="none", marker=marker, color=colour, markersize=6, label=label, zorder=3
        )
        intervals = (metrics.get("intervals") or {}).get(key)
        if intervals:
            bounds = [intervals["per_class_ap"][name] for name in classes] + [intervals["map"]]
            low, high = np.array([[number(value) for value in pair] for pair in bounds]).T
            axes.hlines(y + offset, low, high, color=colour, linewidth=2.2)
    chance = [metrics["prevalence"][name] for name in classes]
    axes.plot(chance, y[:-1], linestyle="none", marker="|", color=INK, markersize=14, label="random scores")
    for row, name in enumerate(classes):
        if np.isnan(number(metrics["ungated"]["per_class_ap"][name])):
            axes.text(0.02, row, "missing: no image of this class", va="center", color=MUTED, fontsize=TEXT_SIZE)
    axes.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(y, [row if len(row) < 25 else f"{row[:23]}…" for row in rows])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.grid(visible=False, axis="y")
    axes.axhline(len(classes) - 0.5, color=GRID, linewidth=1)
    legend_above(axes, columns=3)
    return figure


_LINES = ((GATED, "-"), (UNGATED, "--"), (THREAT, "-."))
"""Colours and lines of the curves for any threat."""


def precision_recall_figure(
    y_true: Bools,
    ungated: Floats,
    gated: Floats,
    classes: Sequence[str],
    *,
    titles: bool = True,
) -> Figure:
    """Precision against recall, one panel per class, ungated and gated.

    Parameters
    ----------
    y_true : ndarray of shape (n, C), bool
        True = present.
    ungated, gated : ndarray of shape (n, C)
        Finite scores, higher = more likely present.
    classes : sequence of C str
        Names in column order.
    titles : bool
        Write each class's name above its panel.

    Returns
    -------
    Figure
    """
    columns = min(3, len(classes))
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.3 * rows), layout="constrained")
    for c, name in enumerate(classes):
        axes = new_axes(figure, (rows, columns, c + 1))
        scores = {"alone": (ungated[:, c], UNGATED, "--"), "GBAD": (gated[:, c], GATED, "-")}
        _draw_precision_recall(axes, y_true[:, c], scores, legend_columns=2)
        if titles:
            axes.set_title(name, loc="left", fontweight="bold", fontsize=TEXT_SIZE + 1, pad=20, parse_math=False)
    return figure


def any_threat_precision_recall_figure(y_any: Bools, scores: Mapping[str, Floats]) -> Figure:
    """Precision against recall of "any threat".

    Parameters
    ----------
    y_any : ndarray of shape (n,), bool
        True = at least one threat.
    scores : mapping of str to ndarray of shape (n,)
        Up to three finite scores by their labels, higher = more anomalous.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(5.4, 4.1), layout="constrained")
    axes = new_axes(figure)
    styled = zip(scores.items(), _LINES[: len(scores)], strict=True)
    drawn = {label: (score, *style) for (label, score), style in styled}
    _draw_precision_recall(axes, y_any, drawn, legend_columns=1)
    return figure


def roc_figure(
    y_any: Bools,
    scores: Mapping[str, Floats],
    decision: tuple[float, float] | None = None,
) -> Figure:
    """ROC curves of "any threat".

    Parameters
    ----------
    y_any : ndarray of shape (n,), bool
        True = at least one threat.
    scores : mapping of str to ndarray of shape (n,)
        Up to three finite scores by their labels, higher = more anomalous.
    decision : (float, float), optional
        False-alarm rate and recall of the gate's decision, drawn as a point.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(5.4, 4.1), layout="constrained")
    axes = new_axes(figure, xlabel="false-alarm rate", ylabel="recall")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    if y_any.all() or not y_any.any():
        say_missing(axes, "missing: needs images with and without threats")
        return figure
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    for (label, score), (colour, line) in zip(scores.items(), _LINES[: len(scores)], strict=True):
        false_alarms, recall, _ = roc_curve(y_any, score)
        label = f"{label}, AUC {roc_auc_score(y_any, score):.3f}"
        axes.plot(*_thinned(false_alarms, recall), color=colour, linestyle=line, linewidth=1.8, label=label)
    if decision is not None and np.isfinite(decision).all():
        axes.plot(
            *decision, marker="D", color=INK, markersize=6, linestyle="none", label="the gate's decision", zorder=4
        )
    axes.legend(loc="lower right", frameon=False, fontsize=TEXT_SIZE, labelcolor=INK)
    return figure


def training_figure(history: pd.DataFrame) -> Figure | None:
    """Training curves: losses on the left, validation figures on the right.

    Parameters
    ----------
    history : DataFrame
        One row per epoch. Columns with ``loss`` in their names go left, those with ``map``, ``ap``, ``auc``, ``recall``
        or ``accuracy`` as a word go right. ``epoch``, or else the row number, is the x axis. Other columns are ignored.

    Returns
    -------
    Figure or None
        None if there is nothing to draw.
    """
    numbers = history.apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")
    numbers.columns = numbers.columns.map(str)
    words = {name: set(re.split(r"[^a-z]+", name.lower())) for name in numbers.columns}
    losses = [name for name in numbers.columns if "loss" in words[name]]
    scores = [name for name in numbers.columns if words[name] & {"map", "ap", "auc", "recall", "accuracy"}]
    panels = [(label, names) for label, names in (("loss", losses), ("validation", scores)) if names]
    if not panels:
        return None
    x = numbers["epoch"].to_numpy() if "epoch" in numbers else np.arange(1, len(numbers) + 1)
    figure = Figure(figsize=(7.2 if len(panels) == 2 else 5.8, 3.0), layout="constrained")
    for index, (label, names) in enumerate(panels, start=1):
        axes = new_axes(figure, (1, len(panels), index), xlabel="epoch", ylabel=label)
        for name, colour, marker in zip(names, (GATED, UNGATED, THREAT, FALSE_ALARM, MUTED), "osD^v", strict=False):
            label = re.sub(r"\bmap\b", "mAP", name.replace("_", " ").strip())
            axes.plot(x, numbers[name], color=colour, marker=marker, markersize=4, linewidth=1.8, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        legend_above(axes, columns=2)
    return figure


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Draw an evaluation, except for the curves of each class (:func:`precision_recall_figure`).

    Returns
    -------
    dict of str to Figure
        ``average_precision``, ``roc``, ``any_threat_precision_recall``, ``losses`` and, if there is a history of
        training, ``training``.
    """
    metrics, found, threat = evaluation.metrics, evaluation.scores, evaluation.any_threat
    scores = {
        "gate score": found.gate_score,
        "classifier's maximum": found.ungated.max(axis=1),
        "all classes, calibrated": found.any_threat,
    }
    decision = (number(metrics["gate"]["false_alarm_rate"]), number(metrics["gate"]["recall"]))
    drawn = {
        "average_precision": average_precision_figure(metrics, evaluation.classes),
        "roc": roc_figure(threat, scores, decision),
        "any_threat_precision_recall": any_threat_precision_recall_figure(threat, scores),
        "losses": loss_figure(threat, found.losses, found.anomalous, found.loss_names),
    }
    training = None if evaluation.history is None else training_figure(evaluation.history)
    return drawn if training is None else drawn | {"training": training}


def save_plots(folder: str | Path, evaluation: Evaluation, *, dpi: int = 150) -> list[Path]:
    """Write the figures of an evaluation as PNG files.

    Parameters
    ----------
    folder : path-like
        Folder of the files. It is made if missing.
    evaluation : Evaluation
    dpi : int
        Pixels per inch.

    Returns
    -------
    list of Path
        The files, named by the figures.
    """
    scores = evaluation.scores
    curves = precision_recall_figure(evaluation.present, scores.ungated, scores.gated, evaluation.classes)
    paths = []
    for name, figure in {**figures(evaluation), "precision_recall": curves}.items():
        path = Path(folder) / f"{name}.png"
        with atomic_path(path) as temporary:
            save(figure, temporary, format="png", dpi=dpi, facecolor="white")
        paths.append(path)
    return paths


def _draw_precision_recall(
    axes: Axes,
    positive: Bools,
    scores: Mapping[str, tuple[Floats, str, str]],
    *,
    legend_columns: int,
) -> None:
    axes.set_xlabel("recall", color=INK, fontsize=TEXT_SIZE)
    axes.set_ylabel("precision", color=INK, fontsize=TEXT_SIZE)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    if not positive.any():
        say_missing(axes, "missing: no positive image")
        return
    axes.axhline(positive.mean(), color=MUTED, linestyle=":", linewidth=1.2)
    for label, (score, colour, line) in scores.items():
        found, false_alarms = confusion_counts(positive, score)
        gains = np.diff(found, prepend=0) > 0
        found, false_alarms = found[gains], false_alarms[gains]
        recall, precision = _thinned(found / found[-1], found / (found + false_alarms))
        recall, precision = np.append(0, recall), np.append(precision[0], precision)
        label = f"{label}, AP {100 * average_precision_score(positive, score):.1f} %"
        axes.plot(recall, precision, color=colour, linestyle=line, linewidth=1.8, label=label, drawstyle="steps-pre")
    legend_above(axes, legend_columns)


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    kept = spread(np.arange(len(x)), MAX_CURVE_POINTS)
    return x[kept], y[kept]
