"""Plot of the losses of phase 2, by truth and by the gate's decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from gbad.explanation import PAPER_LOSSES
from gbad.report.style import (
    FALSE_ALARM,
    MUTED,
    SUPPRESSED,
    THREAT,
    legend_above,
    new_axes,
    say_missing,
    spread,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_SCATTER_POINTS = 4000


def loss_figure(
    y_any: Bools,
    losses: Floats,
    anomalous: Bools,
    names: Sequence[str] = PAPER_LOSSES,
) -> Figure:
    """Plot the first loss against each other loss; a single loss as the share of images below it.

    Parameters
    ----------
    y_any : ndarray of shape (n,), bool
        True = at least one threat.
    losses : ndarray of shape (n, k)
        0 or larger. Rows that are not finite are left out.
    anomalous : ndarray of shape (n,), bool
        The gate's decision.
    names : sequence of k str
        Names of the losses.

    Returns
    -------
    Figure
        Each of the four groups is drawn with at most `MAX_SCATTER_POINTS` evenly spaced rows. The legend has the full
        numbers.
    """
    panels = max(1, len(names) - 1)
    figure = Figure(figsize=(6.2 if panels == 1 else 4.4 * panels, 4.4), layout="constrained")
    labels = [name.replace("feature_matching", "feature-matching").replace("_", " ") for name in names]
    kept = np.isfinite(losses).all(axis=1)
    losses, y_any, anomalous = losses[kept], y_any[kept], anomalous[kept]
    groups: tuple[tuple[str, Bools, dict[str, Any]], ...] = (
        ("threat-free, called normal", ~y_any & ~anomalous, {"marker": ".", "color": MUTED, "alpha": 0.45, "s": 16}),
        ("threat-free, called anomalous", ~y_any & anomalous, {"marker": "o", "color": FALSE_ALARM, "s": 16}),
        ("threat, called anomalous", y_any & anomalous, {"marker": "^", "color": THREAT, "alpha": 0.85, "s": 26}),
        ("threat, called normal", y_any & ~anomalous, {"marker": "x", "color": SUPPRESSED, "s": 30, "linewidths": 1.4}),
    )
    for panel in range(panels):
        other = labels[panel + 1] if len(labels) > 1 else "share of images up to it"
        axes = new_axes(figure, (1, panels, panel + 1), xlabel=labels[0], ylabel=other)
        if not len(losses):
            say_missing(axes, "missing: no finite losses")
        elif len(labels) == 1:
            _draw_shares(axes, _floor(losses[:, 0]), y_any)
        else:
            pair = np.column_stack([_floor(losses[:, 0]), _floor(losses[:, panel + 1])])
            for label, members, style in groups:
                rows = spread(np.flatnonzero(members), MAX_SCATTER_POINTS)
                axes.scatter(*pair[rows].T, label=f"{label}: {members.sum():,}", rasterized=True, **style)
            _scale(axes, "x", pair[:, 0])
            _scale(axes, "y", pair[:, 1])
            legend_above(axes, columns=2 if panels == 1 else 1)
    return figure


def _draw_shares(axes: Axes, values: Floats, y_any: Bools) -> None:
    for label, members, colour, line in (("threat-free", ~y_any, MUTED, "--"), ("threat", y_any, THREAT, "-")):
        own = np.sort(values[members])
        rows = spread(np.arange(len(own)), MAX_SCATTER_POINTS)
        shares = (rows + 1) / max(len(own), 1)
        axes.plot(own[rows], shares, color=colour, linestyle=line, linewidth=1.8, label=f"{label}: {len(own):,}")
    axes.set_ylim(-0.01, 1.02)
    _scale(axes, "x", values)
    legend_above(axes, columns=2)


def _scale(axes: Axes, which: str, values: Floats) -> None:
    if values.max() <= 5 * values.min():  # a log axis over a smaller range would have no tick
        return
    set_scale, axis = (axes.set_xscale, axes.xaxis) if which == "x" else (axes.set_yscale, axes.yaxis)
    set_scale("log")
    few_decades = values.max() < 500 * values.min()
    _of_log(axis, (1, 2, 5) if few_decades else (1,))


def _of_log(axis: Axis, ticks: tuple[int, ...]) -> None:
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _floor(values: Floats) -> Floats:
    """Lift zeros to the smallest positive value, since a log axis has no zero."""
    lowest = np.min(values, where=values > 0, initial=values.max(initial=1e-12))
    return np.asarray(np.maximum(values, lowest))
