"""Plots of the benchmark: Figures 5 and 6 of the paper, average precision of each class, mAP of each subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gbad.benchmarks.paper.any_threat import SeedScores
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.tables import MEAN
from gbad.data.arrays import Mask
from gbad.evaluation.metrics import confusion_counts
from gbad.report.style import (
    FALSE_ALARM,
    GATED,
    GRID,
    INK,
    MUTED,
    SUPPRESSED,
    TEXT_SIZE,
    THREAT,
    UNGATED,
    legend_above,
    new_axes,
    save,
    svg,
)
from gbad.storage.files import atomic_path

STYLES = (
    (UNGATED, "--", "s"), (THREAT, "-.", "^"), (INK, (0, (6, 1, 1, 1, 1, 1)), ">"),
    (FALSE_ALARM, (0, (4, 1)), "v"), (SUPPRESSED, ":", "D"), ("#6a3d9a", (0, (2, 1)), "<"),
    (GATED, "-", "o"), ("#009e73", (0, (3, 1, 1, 1)), "P"), ("#555555", (0, (1, 1)), "X"),
    ("#a6761d", (0, (5, 1, 1, 1)), "*"),
)  # fmt: skip
"""Colour, line and marker, in turn: for all that is plotted, and two image-level detectors."""

PLOTTED = ("cnn", "cnn_balanced", "cnn_fresh", "chr", "chr_balanced", "gbad_paper", "gbad", "gbad_boxes")
"""Methods that plots show; tables also have parts of them, as `cnn_balanced_fpn` is of `gbad_paper`, and variants."""

_MAX_POINTS = 1500


def roc_figure(y_any: Mask, detectors: Mapping[str, Sequence[SeedScores]]) -> Figure:
    """Figure 5: ROC of "any threat"; curves of the first seed, areas as means over all."""
    figure = _of_curves(len(detectors))
    axes = new_axes(figure, xlabel="false-alarm rate", ylabel="recall")
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    for (name, seeds), (colour, line, _) in zip(detectors.items(), STYLES, strict=False):
        area = np.mean([roc_auc_score(y_any, seed.test_score) for seed in seeds])
        false_alarms, recall, _ = roc_curve(y_any, seeds[0].test_score)
        axes.plot(false_alarms, recall, color=colour, linestyle=line, linewidth=1.8, label=f"{name}, AUC {area:.3f}")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    _legend_of_curves(axes, detectors)
    return figure


def precision_recall_figure(
    y_any: Mask, detectors: Mapping[str, Sequence[SeedScores]], negative_weight: float = 1.0
) -> Figure:
    """Figure 6: precision against recall of "any threat"; curves of the first seed, areas as means over all."""
    weights = np.where(y_any, 1.0, negative_weight)
    figure = _of_curves(len(detectors))
    axes = new_axes(figure, xlabel="recall", ylabel="precision")
    axes.axhline(np.average(y_any, weights=weights), color=MUTED, linestyle=":", linewidth=1.2)
    for (name, seeds), (colour, line, _) in zip(detectors.items(), STYLES, strict=False):
        areas = [average_precision_score(y_any, seed.test_score, sample_weight=weights) for seed in seeds]
        area = np.mean(areas)
        found, alarms = confusion_counts(y_any, seeds[0].test_score)
        false_alarms = negative_weight * alarms
        gains = np.flatnonzero(np.diff(found, prepend=0) > 0)
        gains = gains[np.linspace(0, len(gains) - 1, min(len(gains), _MAX_POINTS)).astype(int)]
        recall, precision = found[gains] / found[-1], found[gains] / (found[gains] + false_alarms[gains])
        axes.plot(
            recall, precision, color=colour, linestyle=line, linewidth=1.8, label=f"{name}, AP {100 * area:.1f} %"
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    _legend_of_curves(axes, detectors)
    return figure


def class_figure(group: Group, values: pd.DataFrame) -> Figure:
    """Average precision of each class and method on one subset, with 95 % intervals."""
    own = values[(values["subset"] == group.subset.name) & (values["backbone"] == group.backbone)]
    return _dots(own, [*group.classes, MEAN], "class", _plotted(group), "average precision (%)")


def map_figure(groups: Sequence[Group], values: pd.DataFrame, backbone: str) -> Figure:
    """MAP of each method by subset, with 95 % intervals."""
    of_backbone = [group for group in groups if group.backbone == backbone]
    own = values[(values["backbone"] == backbone) & (values["class"] == MEAN)]
    methods = _plotted(of_backbone[0])
    return _dots(own, [group.subset.name for group in of_backbone], "subset", methods, "mAP (%)", "SIXray")


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure as PNG and as SVG."""
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            save(figure, temporary, format="png", dpi=150, facecolor="white")
        with atomic_path(folder / f"{name}.svg") as temporary:
            temporary.write_text(svg(figure), encoding="utf-8")


def _of_curves(count: int) -> Figure:
    """Figure with room for a line of the legend for each curve: beside one another, long names leave no curves."""
    return Figure(figsize=(5.6, 4.0 + 0.19 * count), layout="constrained")


def _legend_of_curves(axes: Axes, detectors: Mapping[str, Sequence[SeedScores]]) -> None:
    """Legend that says, where there are several seeds, which of them a curve shows, and what an area is."""
    legend_above(axes, columns=1)
    legend = axes.get_legend()
    if legend is not None and max((len(seeds) for seeds in detectors.values()), default=0) > 1:
        legend.set_title("Curves: first seed. Areas: means over the seeds.", prop=FontProperties(size=TEXT_SIZE))
        legend.get_title().set_color(INK)
        legend.set_alignment("left")


def _plotted(group: Group) -> dict[str, str]:
    """Names and labels of a group's methods that plots show; all of them if none is among the usual ones."""
    names = [name for name in PLOTTED if name in group.methods] or [*group.methods]
    return {name: group.methods[name].label for name in names[: len(STYLES)]}


def _dots(
    values: pd.DataFrame, rows: Sequence[str], key: str, methods: Mapping[str, str], label: str, prefix: str = ""
) -> Figure:
    """Dots with intervals, the methods of a row below one another: a narrow screen shows it as well as a wide one."""
    figure = Figure(figsize=(6.2, 1.2 + len(rows) * (0.12 + 0.17 * len(methods))), layout="constrained")
    axes = new_axes(figure, xlabel=label)
    height = 0.8 / max(len(methods), 1)
    for m, ((name, text), (colour, _, marker)) in enumerate(zip(methods.items(), STYLES, strict=False)):
        own = values[values["row"] == name].set_index(key).reindex([*rows])
        numbers = 100 * own[["value", "low", "high"]].to_numpy(float)
        place = np.arange(len(rows)) + (m - (len(methods) - 1) / 2) * height
        axes.hlines(place, numbers[:, 1], numbers[:, 2], color=colour, linewidth=2)
        axes.plot(numbers[:, 0], place, linestyle="none", marker=marker, color=colour, markersize=6, label=text)
    axes.set_yticks(np.arange(len(rows)), [f"{prefix}{row}" for row in rows])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.grid(visible=False, axis="y")
    for border in range(1, len(rows)):
        axes.axhline(border - 0.5, color=GRID, linewidth=1)
    axes.set(xlim=(0, 102), ylim=(len(rows) - 0.5, -0.5))
    legend_above(axes, columns=2)
    return figure
