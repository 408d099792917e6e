r"""Tables as CSV files that any reader reads back, whatever bytes stand in the names of files.

A text with a comma, a quote, a line feed or a carriage return stands in quotes; blanks stay; lines end with a line
feed; text is UTF-8, and bytes of a name that are none stay as they are. Read such a file with::

    csv.DictReader(open(path, encoding="utf-8", errors="surrogateescape", newline=""))
    pandas.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from gbad.errors import RunError
from gbad.storage.files import atomic_path
from gbad.storage.reading import open_regular
from gbad.storage.targets import is_stream, output_file, standard_output


def texts(values: Iterable[object]) -> pd.Series[Any]:
    """A column of a table that holds texts. Of other kinds of column some refuse bytes that are not UTF-8."""
    return pd.Series([str(value) for value in values], dtype=object)


def text_table(rows: Iterable[Sequence[object]], columns: Sequence[str]) -> pd.DataFrame:
    """A table of texts, from rows of them."""
    return pd.DataFrame([[str(value) for value in row] for row in rows], columns=list(columns), dtype=object)


def write_table(table: pd.DataFrame, path: str | Path, *, quoted: bool = False) -> None:
    """Write a table as CSV, whole or not at all; to standard output for ``-``. Its index is left out.

    With `quoted`, all texts stand in quotes, not only those that need them.

    Raises
    ------
    GbadError
        If it cannot be written.
    """
    if is_stream(path):
        with standard_output() as stream:
            append_rows(table, stream, quoted=quoted)
        return
    with atomic_path(output_file(path)) as temporary, open_table(temporary) as file:
        append_rows(table, file, quoted=quoted)


def open_table(path: Path, mode: str = "w") -> TextIO:
    """Open a CSV file for `append_rows`."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")  # type: ignore[return-value]


def append_rows(table: pd.DataFrame, file: TextIO, *, header: bool = True, quoted: bool = False) -> None:
    """Write the rows of a table to an open CSV file; `quoted` as in `write_table`."""
    quoting = csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL
    table.to_csv(  # type: ignore[call-overload]
        _Lines(file), index=False, header=header, lineterminator="\r\n", quoting=quoting
    )


def read_table(path: str | Path, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """Read a CSV file of a run folder as texts. Paths need not be UTF-8.

    Raises
    ------
    RunError
        If the file is damaged or lacks one of `columns`. The message ends with `remedy`.
    """
    try:
        with open_regular(path) as file:
            table = pd.read_csv(file, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise RunError(f"{path}: damaged ({error}). {remedy}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise RunError(f"{path}: damaged, it has no column {', '.join(missing)}. {remedy}")
    return table


class _Lines:
    """Let lines end with a line feed although carriage returns are quoted.

    Before Python 3.13, its csv module quotes a carriage return only if lines end with one. It writes line by line.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")
