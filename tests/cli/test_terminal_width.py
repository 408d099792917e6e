from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
from gbad.cli.terminal import console
from gbad.report.tables import Table, keyed

names = [f"measure number {name}" for name in "abcdefgh"]
console.print(Table(keyed(*names), [dict.fromkeys(names, 0.123456)]).terminal())
"""


def printed(**environment: str) -> str:
    """What a script prints into a pipe."""
    others = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-c", CODE], env=others | environment, capture_output=True, check=True, encoding="utf-8"
    ).stdout


def test_a_pipe_gets_a_wide_table_in_whole_lines() -> None:
    header, values = (line for line in printed().splitlines() if "0.12" in line or "measure" in line)
    assert all(f"measure number {name}" in header for name in "abcdefgh")
    assert values.count("0.1235") == 8


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_narrow_terminal_loses_nothing(columns: str) -> None:
    text = printed(COLUMNS=columns)
    assert "…" not in text
    assert all(len(line) <= int(columns) for line in text.splitlines())
    assert sum(character.isdigit() for character in text) == 8 * len("01235")
