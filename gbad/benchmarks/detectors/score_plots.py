"""Figures of the scores of one detector: their distribution for normal and abnormal units, and ROC curves by class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.detectors.curves import roc_points
from gbad.data.arrays import Mask
from gbad.report.style import GATED, GRID, INK, MUTED, THREAT, legend_above, new_axes

_BINS = 40
_MOST_COLUMNS = 5
_LINES = ("-", "--", "-.", ":")
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Of lines, by Okabe and Ito."""


@dataclass(frozen=True)
class Scored:
    """Scores of the test units of one task, higher = more abnormal.

    Attributes
    ----------
    abnormal : bool ndarray of shape (n,)
        Both values occur.
    scores : float64 ndarray of shape (n,)
        Finite.
    """

    abnormal: Mask
    scores: Floats


def histograms(tasks: Mapping[str, Scored], xlabel: str) -> Figure:
    """Draw how the scores of normal and abnormal units are distributed, one panel for each task.

    Bars show shares of the normal units and shares of the abnormal ones, so that few abnormal units stay visible.

    Parameters
    ----------
    tasks : mapping of str to Scored
        By the name of the class or category; one or more.
    xlabel : str
    """
    columns = min(_MOST_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(3.4, 2.1 * columns), 0.5 + 1.7 * rows), layout="constrained")
    for place, (name, task) in enumerate(tasks.items(), 1):
        axes = new_axes(figure, (rows, columns, place), xlabel=xlabel if place > len(tasks) - columns else "")
        low, high = float(task.scores.min()), float(task.scores.max())
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for shown, label, colour, hatch in (
            (~task.abnormal, "normal", GATED, ""), (task.abnormal, "abnormal", THREAT, "////"),
        ):  # fmt: skip
            counts, _ = np.histogram(task.scores[shown], edges)
            axes.stairs(
                counts / shown.sum(), edges, fill=True, facecolor=(*_rgb(colour), 0.25), edgecolor=colour,
                linewidth=1.1, hatch=hatch, label=label,
            )  # fmt: skip
        axes.set_title(name, fontsize=8, color=INK, loc="left", parse_math=False)
        axes.tick_params(labelleft=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def roc_curves(tasks: Mapping[str, Scored]) -> Figure:
    """Draw one ROC curve for each task, with its area in the legend.

    Parameters
    ----------
    tasks : mapping of str to Scored
        As in `histograms`.
    """
    per_row = 2
    height = 3.6 + 0.18 * math.ceil(len(tasks) / per_row)
    figure = Figure(figsize=(4.4, height), layout="constrained")
    axes = new_axes(figure, xlabel="false alarms: share of normal", ylabel="recall: share of abnormal")
    for number, (name, task) in enumerate(tasks.items()):
        false_alarms, recall = roc_points(task.abnormal, task.scores)
        area = float(np.trapezoid(recall, false_alarms))
        axes.plot(
            false_alarms, recall, label=f"{name}, {area:.3f}", linewidth=1.3,
            color=COLOURS[number % len(COLOURS)], linestyle=_LINES[number // len(COLOURS) % len(_LINES)],
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1.0)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color=GRID)
    legend_above(axes, columns=per_row)
    return figure


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue
