"""Figure of a benchmark: ROC-AUC of each detector, clean and in paper mode, over classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gbad.benchmarks.detectors.paper_mode import PAPER_LABEL
from gbad.benchmarks.detectors.tables import ModeSummary, Summary
from gbad.report.style import GATED, INK, MUTED, UNGATED, legend_above, new_axes

_STYLES = {"clean": ("clean", GATED, "o", -0.16), "paper": (PAPER_LABEL, UNGATED, "s", 0.16)}


def roc_auc_figure(summaries: Sequence[Summary]) -> Figure:
    """Draw the mean ROC-AUC of each detector with its interval over test images, and a small dot for each class.

    Parameters
    ----------
    summaries : sequence of Summary

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(6.4, 1.2 + 0.62 * len(summaries)), layout="constrained")
    axes = new_axes(figure, xlabel="ROC-AUC")
    y = np.arange(len(summaries))
    for mode, (label, colour, marker, offset) in _STYLES.items():
        of_mode: list[ModeSummary] = [getattr(one, mode) for one in summaries]
        means = [one.roc_auc for one in of_mode]
        if np.isnan(means).all():
            continue
        for row, one in zip(y, of_mode, strict=True):
            areas = list(one.classes.values())
            axes.plot(areas, [row + offset] * len(areas), linestyle="none", marker="|", color=colour, markersize=7)
        low, high = np.array([one.rows_interval for one in of_mode]).T
        axes.hlines(y + offset, low, high, color=colour, linewidth=2.2)
        axes.plot(means, y + offset, linestyle="none", marker=marker, color=colour, markersize=6, label=label, zorder=3)
    axes.axvline(0.5, color=MUTED, linestyle=":", linewidth=1.2)
    axes.annotate("chance", (0.5, 1), (3, -2), ("data", "axes fraction"), "offset points", va="top", color=INK, size=8)
    axes.set(xlim=(min(0.4, axes.get_xlim()[0]), 1.01), ylim=(len(summaries) - 0.5, -0.5))
    axes.set_yticks(y, [one.detector for one in summaries])
    axes.grid(visible=False, axis="y")
    legend_above(axes, columns=2)
    return figure
