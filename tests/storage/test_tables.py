"""Whatever stands in the name of a file, CSV files hold it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gbad.errors import RunError
from gbad.storage.tables import append_rows, open_table, read_table, text_table, texts, write_table

NAMES = [
    "plain.jpg", "a,b.jpg", 'a"b.jpg', "a\nb.jpg", "a\rb.jpg", "a\r\nb.jpg", " a.jpg ", "caf\udce9.jpg", "\udcff\r",
    "=1+1", "", "NA", "01", "ü\u2028", "'", "\t", "\x1b[2J", '"', ",",
]  # fmt: skip


def test_names_come_back_from_pandas_and_from_the_csv_module(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(pd.DataFrame({"path": texts(NAMES), "score": 1 / 3, "last": texts(NAMES[::-1])}), path)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    read = pd.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    for found in (rows, read.to_dict("records"), read_table(path, ["path"], "").to_dict("records")):
        assert [row["path"] for row in found] == NAMES
        assert [row["last"] for row in found] == NAMES[::-1]
        assert {row["score"] for row in found} == {str(1 / 3)}


NAME = st.binary(max_size=6).map(lambda name: os.fsdecode(name.replace(b"\0", b"")))  # which no name holds


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.tuples(NAME, NAME), min_size=1))
def test_any_bytes_come_back(rows: list[tuple[str, str]]) -> None:
    for quoted in (False, True):
        file = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", newline="")
        append_rows(text_table(rows, ["a", "b"]), file, quoted=quoted)
        file.seek(0)
        assert list(csv.reader(file)) == [["a", "b"], *map(list, rows)]
        file.seek(0)
        read = pd.read_csv(file.buffer, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
        assert list(read.itertuples(index=False, name=None)) == rows


def test_lines_end_with_a_line_feed_and_plain_texts_have_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with open_table(path) as file:
        append_rows(text_table([["a", "b c"]], ["x", "y"]), file)
        append_rows(text_table([["d\r", "e"]], ["x", "y"]), file, header=False)
    assert path.read_bytes() == b'x,y\na,b c\n"d\r",e\n'


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content in (b"", b"x\n1,2,3\n1\n", b'x,y\n"a,b\n', b"x,z\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"table\.csv: damaged.*Restore it"):
            read_table(path, ["x", "y"], "Restore it.")
