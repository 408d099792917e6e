"""The common look of all figures, and how they become files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette: readers with any colour vision can tell the colours apart. Lines and markers differ too.
INK, GRID, MUTED = "#1f2937", "#d8dee6", "#7b8794"
UNGATED, GATED = "#e69f00", "#0072b2"
THREAT, SUPPRESSED, FALSE_ALARM = "#d55e00", "#cc79a7", "#56b4e9"
TEXT_SIZE = 9


def svg(figure: Figure, colours: Mapping[str, str] | None = None) -> str:
    """Turn a figure into an ``<svg>`` element for a web page; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
        The figure.
    colours : mapping of str to str, optional
        Colours to replace, such as ``{INK: "var(--ink)"}``, so that the page's colour scheme applies.

    Returns
    -------
    str
        Texts stay texts, in the page's font.
    """
    buffer = io.StringIO()
    empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # without it the file links to several web sites
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gbad"}):
        save(figure, buffer, format="svg", transparent=True, metadata=empty, dpi=160)
    markup = buffer.getvalue()
    markup = markup[markup.index("<svg") :]
    for colour, replacement in (colours or {}).items():
        markup = markup.replace(colour, replacement)
    return markup


def save(figure: Figure, target: Any, **options: Any) -> None:
    """Call ``savefig`` without warnings about class names in a script that the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(target, **options)


def new_axes(figure: Figure, position: tuple[int, int, int] = (1, 1, 1), xlabel: str = "", ylabel: str = "") -> Axes:
    """Add axes in the common look at (rows, columns, index)."""
    axes = figure.add_subplot(*position)
    axes.set_xlabel(xlabel, color=INK, fontsize=TEXT_SIZE)
    axes.set_ylabel(ylabel, color=INK, fontsize=TEXT_SIZE)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=TEXT_SIZE, color=MUTED, which="both")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def legend_above(axes: Axes, columns: int) -> None:
    """Put the legend above the axes, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0.1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def say_missing(axes: Axes, text: str) -> None:
    """Write the reason into empty axes."""
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes, color=MUTED, fontsize=TEXT_SIZE)


def spread(rows: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Take `count` evenly spaced entries, or all if there are fewer."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(int)]
