"""The HTML page of a benchmark: cards, sections of plots and tables with folded details, images, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from gbad.report.html import inline, write_page
from gbad.report.tables import Table


@dataclass(frozen=True)
class Card:
    """One figure at the top of the page; `tone` is ``"good"``, ``"bad"`` or empty."""

    label: str
    value: str
    interval: str = ""
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    heading : str
    tables : sequence of Table
    plots : mapping of str to Figure
        By their captions, above the tables.
    notes : sequence of str
        Below the tables.
    details : sequence of Section
        Folded, at the end.
    """

    heading: str
    tables: Sequence[Table[Any]] = ()
    plots: Mapping[str, Figure] = field(default_factory=dict)
    notes: Sequence[str] = ()
    details: Sequence[Section] = ()

    @property
    def figures(self) -> list[tuple[str, Markup]]:
        """Captions and plots as parts of the page."""
        return [(caption, inline(plot)) for caption, plot in self.plots.items()]


@dataclass(frozen=True)
class Tile:
    """One image.

    Attributes
    ----------
    alt : str
        What the image is.
    pictures : sequence of str
        Addresses of one or two pictures; none if the image cannot be read.
    labels : sequence of str
        What the image shows; the tile is marked if `is_threat`.
    verdict : str
    is_threat : bool
    name, problem : str
        Name of the image, and why there is no picture; empty without.
    """

    alt: str
    pictures: Sequence[str]
    labels: Sequence[str]
    verdict: str
    is_threat: bool
    name: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """Tiles by their headings, which may be empty; large ones for images that have to be looked into."""

    heading: str
    tiles: Mapping[str, Sequence[Tile]]
    large: bool = False


def write_benchmark_page(
    path: str | Path, *, kicker: str, title: str, cards: Sequence[Card], sections: Sequence[Section],
    galleries: Sequence[Gallery], about_galleries: str, info: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the page as one file that needs no other file and no network.

    Parameters
    ----------
    path : path-like
    kicker, title : str
        Small and large heading.
    cards : sequence of Card
    sections : sequence of Section
    galleries : sequence of Gallery
    about_galleries : str
        What the images of all galleries are.
    info : mapping
        How it was made: command, versions, hardware; may be nested.
    """
    write_page(
        path, "benchmark.html.j2", kicker=kicker, title=title, cards=cards, sections=sections, galleries=galleries,
        about_galleries=about_galleries, info=info,
    )  # fmt: skip
