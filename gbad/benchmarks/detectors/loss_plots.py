"""Figure of trainings: each loss of a detector by epoch, a line for each class and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gbad.benchmarks.detectors.score_plots import COLOURS
from gbad.report.style import INK, TEXT_SIZE, new_axes


def loss_curves(results: Sequence[Mapping[str, Any]], name: str) -> Figure | None:
    """Draw how the losses of a detector went, one panel for each loss.

    Whether the discriminator still learns, has settled, or has won (a loss near 0, from which a generator learns
    nothing) is seen here.

    Parameters
    ----------
    results : sequence of mapping
        As from `run_benchmark`.
    name : str
        Of the detector.

    Returns
    -------
    Figure or None
        None if no training of the detector has kept its losses: all diverged, or ended before losses were kept.
    """
    cells = [result for result in results if result["detector"] == name and result.get("losses")]
    if not cells:
        return None
    losses = list(cells[0]["losses"])
    tasks = list(dict.fromkeys(one["class"] for one in cells))
    colours = {task: COLOURS[place % len(COLOURS)] for place, task in enumerate(tasks)}
    figure = Figure(figsize=(max(4.4, 2.6 * len(losses)), 2.9), layout="constrained")
    for place, loss in enumerate(losses, 1):
        axes = new_axes(figure, (1, len(losses), place), xlabel="epoch")
        axes.set_title(loss, fontsize=8, color=INK, loc="left", parse_math=False)
        for cell in cells:
            values = cell["losses"][loss]
            axes.plot(
                range(1, len(values) + 1), values, color=colours[cell["class"]], linewidth=1.1, label=cell["class"],
                marker="." if len(values) == 1 else "",
            )  # fmt: skip
    handles, labels = figure.axes[0].get_legend_handles_labels()
    by_task = dict(zip(labels, handles, strict=True))
    legend = figure.legend(
        by_task.values(), by_task.keys(), loc="outside upper right", ncols=5, frameon=False, fontsize=TEXT_SIZE,
        labelcolor=INK,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
