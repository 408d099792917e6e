from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]

CODE = """
from gbad.cli.terminal import console
from gbad.report.tables import Table, keyed

names = [f"measure number {name}" for name in "abcdefgh"]
console.print(Table(keyed(*names), [dict.fromkeys(names, 0.123456)]).terminal())
"""


def test_a_pipe_gets_a_wide_table_in_whole_lines(run_python: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    text = run_python("-c", CODE).out
    header, values = (line for line in text.splitlines() if "0.12" in line or "measure" in line)
    assert all(f"measure number {name}" in header for name in "abcdefgh")
    assert values.count("0.1235") == 8


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_narrow_terminal_loses_nothing(columns: str, run_python: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = run_python("-c", CODE).out
    assert "…" not in text
    assert all(len(line) <= int(columns) for line in text.splitlines())
    assert sum(character.isdigit() for character in text) == 8 * len("01235")
