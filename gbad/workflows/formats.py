"""Formats of finished scores: CSV, JSON Lines and Parquet, all made of the rows in ``<out>.part``, which is a CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from gbad.errors import GbadError
from gbad.runtime.text import printable
from gbad.storage.files import atomic_path
from gbad.storage.targets import is_stream

TEXTS = frozenset({"path", "name", "status", "reason", "classes", "boxes"})
"""Columns of texts."""

WHOLE = frozenset({"alarm", "anomalous", "looked_twice"})
"""Columns of whole numbers. All others hold numbers."""

SUFFIXES = (".csv", ".jsonl", ".parquet")
_ROWS_AT_A_TIME = 10_000


def check_format(out: str | Path) -> None:
    """Refuse scores whose suffix names no format, or one whose library is missing; GbadError."""
    suffix = _suffix(out)
    if is_stream(out) or suffix in (".csv", ".jsonl"):
        return
    if suffix != ".parquet":
        raise GbadError(
            f"{out}: the suffix {suffix or '(none)'} names no format of scores. Give {', '.join(SUFFIXES)}, or - for "
            "CSV on standard output."
        )
    if find_spec("pyarrow") is None:
        raise GbadError(f"{out}: Parquet needs pyarrow. Run pip install 'gbad[parquet]', or give a .csv or .jsonl.")


def is_csv(out: str | Path) -> bool:
    """Whether scores are written as CSV, the form in which they are collected."""
    return _suffix(out) == ".csv"


def convert(rows: Path, out: str | Path) -> None:
    """Write the rows of a CSV of scores as JSON Lines or Parquet, whole or not at all.

    Parameters
    ----------
    rows : Path
        CSV with the columns of ``scores.csv``.
    out : path-like
        File whose suffix says the format.
    """
    with atomic_path(out) as temporary:
        if _suffix(out) == ".jsonl":
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(_nested(row)) + "\n" for row in read_rows(rows))
        else:
            _write_parquet(rows, temporary)


def read_rows(rows: Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV of scores with their types: texts, whole numbers and numbers; None where there is no number."""
    with rows.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: _typed(name, text) for name, text in row.items()}


def _typed(name: str, text: str) -> str | int | float | None:
    if name in TEXTS:
        return text
    if not text:
        return None
    return int(text) if name in WHOLE else float(text)


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Classes as a list, and boxes as an object, in the place of texts."""
    if "classes" in row:
        row["classes"] = row["classes"].split("; ") if row["classes"] else []
        row["boxes"] = json.loads(row["boxes"] or "{}")
    return row


def _write_parquet(rows: Path, target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with rows.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        names = next(csv.reader(file))
    kinds = {**dict.fromkeys(TEXTS, pa.string()), **dict.fromkeys(WHOLE, pa.int64())}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
    with pq.ParquetWriter(target, schema) as writer:
        # Names of files may be any bytes, a Parquet text is UTF-8.
        plain = (
            {name: printable(value) if name in TEXTS else value for name, value in row.items()}
            for row in read_rows(rows)
        )
        while part := list(islice(plain, _ROWS_AT_A_TIME)):
            writer.write_table(pa.Table.from_pylist(part, schema))


def _suffix(out: str | Path) -> str:
    return Path(out).suffix.lower()
