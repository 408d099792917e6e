"""Tables with declared columns: one declaration for Markdown, CSV, HTML and the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, Literal, TypeVar

import pandas as pd
import rich.table
from rich.markup import escape

Row = TypeVar("Row")


def readable(value: object) -> str:
    """Text of a cell: numbers with four significant digits, nothing for a missing one.

    Examples
    --------
    >>> readable(0.123456), readable(float("nan")), readable("a"), readable(3)
    ('0.1235', '', 'a', '3')
    """
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table.

    Attributes
    ----------
    title : str
    value : callable
        From a row to the value of its cell.
    format : callable
        From the value to the text that is shown.
    align : {"left", "right"}
    """

    title: str
    value: Callable[[Row], Any]
    format: Callable[[Any], str] = readable
    align: Literal["left", "right"] = "right"

    def text(self, row: Row) -> str:
        """Text of the column's cell in a row."""
        return self.format(self.value(row))


@dataclass(frozen=True)
class Table(Generic[Row]):
    r"""Columns and the rows that they are read from.

    Attributes
    ----------
    columns : sequence of Column
    rows : sequence
    tone : callable
        From a row to its look on a page: ``"own"`` (bold), ``"met"``, ``"missed"`` or empty.

    Examples
    --------
    >>> table = Table([Column("class", itemgetter(0), align="left"), Column("AP", itemgetter(1))], [("Gun|", 0.51234)])
    >>> print(table.markdown())
    | class | AP |
    | --- | ---: |
    | Gun\| | 0.5123 |
    """

    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    tone: Callable[[Row], str] = lambda row: ""

    def texts(self) -> list[list[str]]:
        """Texts of all cells, row by row."""
        return [[column.text(row) for column in self.columns] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        """Texts of all cells as a data frame, for CSV files."""
        return pd.DataFrame(self.texts(), columns=[column.title for column in self.columns])

    def markdown(self) -> str:
        """Write a Markdown table."""
        rules = ["---" if column.align == "left" else "---:" for column in self.columns]
        titles = [column.title for column in self.columns]
        cells = ([cell.replace("|", "\\|") for cell in line] for line in (titles, *self.texts()))
        head, *body = (f"| {' | '.join(line)} |" for line in cells)
        return "\n".join([head, f"| {' | '.join(rules)} |", *body])

    def terminal(self, title: str = "") -> rich.table.Table:
        """Make a table to print on a terminal; on a narrow one, words and numbers go on in a line below."""
        table = rich.table.Table(title=escape(title) or None)
        for column in self.columns:
            table.add_column(escape(column.title), justify=column.align, overflow="fold")
        for line in self.texts():
            table.add_row(*map(escape, line))
        return table


def keyed(*keys: str, left: Sequence[str] = ()) -> list[Column[Any]]:
    """Columns of rows that are mappings: each shows the value of a key, under that title.

    Parameters
    ----------
    *keys : str
    left : sequence of str
        Keys whose columns are aligned to the left.
    """
    return [Column(key, itemgetter(key), align="left" if key in left else "right") for key in keys]


def of_frame(frame: pd.DataFrame) -> Table[Any]:
    """Table of all columns of a data frame, the first aligned to the left."""
    names = [*map(str, frame.columns)]
    return Table(keyed(*names, left=names[:1]), frame.to_dict("records"))
