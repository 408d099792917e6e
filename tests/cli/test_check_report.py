from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
from rich.console import Console

from gbad.cli.check_report import print_report
from gbad.data.check import CheckReport, ListCounts
from gbad.data.consistency import Problem


def shown(*problems: Problem) -> str:
    counts = (
        ListCounts("10", "train", 3, 3, 3, 1, {"Gun": 2, "Knife": 1}),
        ListCounts("100", "train", 1, 1, None, 0, {"[red]Axe": 1}),
    )
    table = pd.DataFrame(problems, columns=list(Problem._fields))
    output = StringIO()
    print_report(CheckReport(Path("data"), "10", table, counts, 5, 2), Console(file=output, width=100))
    return output.getvalue()


def test_summary_shows_counts_findings_and_verdict() -> None:
    assert "Subset 10 is complete" in shown()
    text = shown(
        Problem("train", "P2", "", "missing_image", "no image file has this name"),
        Problem("", "[bold]X", "[bold]X.jpg", "no_row", "in no list"),
        Problem("train", "P1", "P1.jpg", "mislabelled", "on the given list"),
    )
    assert "Subset 10 is incomplete: 1 " in text
    assert "1 of the 2 names" in text
    for word in (
        "10 train", "100 train", "[red]Axe", "threat-free", "missing_image", "row without image", "P2", "[bold]X",
    ):  # fmt: skip
        assert word in text
