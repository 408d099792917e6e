"""Self-contained HTML pages from the templates of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from gbad.report import numbers
from gbad.report.style import GATED, GRID, INK, svg
from gbad.storage.files import atomic_path

_FILTERS = ("percent", "points", "interval", "ratio", "probability", "readable")


def write_page(path: str | Path, template: str, **values: Any) -> None:
    """Write a page as one file that needs no other file and no network.

    Parameters
    ----------
    path : path-like
        The file. It is written whole or not at all.
    template : str
        Name of a template in this folder that extends ``base.html.j2``.
    **values
        The template's values. ``title`` and ``info`` (how the page was made; a mapping, may be nested or empty) are
        those of ``base.html.j2``.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters |= {name: getattr(numbers, name) for name in _FILTERS}
    page = environment.get_template(template).render(values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # names of files may hold bytes that are no text


def inline(figure: Figure) -> Markup:
    """Make a figure part of the page. Markup is safe here: matplotlib escapes the texts that it writes into an SVG."""
    return Markup(svg(figure, {INK: "var(--ink)", GRID: "var(--grid)", GATED: "var(--gated)"}))
