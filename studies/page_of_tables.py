"""The page of a benchmark, by the template of today, from the tables that it left: no cell and no image is needed.

python studies/page_of_tables.py results/benchmark

It reads estimates.csv, gates.csv, cells.csv, summary.json, and Tables 4 and 5 as tables.md has them, and writes
report.html. No figure is computed anew. The curves of Figures 5 and 6 and the pictures of images are left out: the
scores of single images do not stand in tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmarks.paper import figures, notes, tables
from gbad.benchmarks.paper.any_threat import FIGURES
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.methods import METHODS
from gbad.benchmarks.paper.report import write_report
from gbad.benchmarks.paper.results import TABLE_4, total_seconds
from gbad.benchmarks.paper.scales import Subset
from gbad.benchmarks.paper.summary import target_table
from gbad.report.tables import Table, keyed, of_frame
from gbad.storage.files import read_json

LEFT_OUT = (
    "This page was made from the tables of the benchmark after its cells were deleted. The curves of any threat are in "
    "plots; pictures of images are left out."
)


def groups_of(values: pd.DataFrame, seeds: Sequence[int]) -> list[Group]:
    """What the page asks of a group: its name, classes and methods; it has no image."""
    found = []
    for (subset, backbone), own in values.groupby(["subset", "backbone"], sort=False):
        classes = tuple(name for name in own["class"].unique() if name != tables.MEAN)
        run = {name: METHODS[name] for name in METHODS if name in set(own["row"])}
        nothing: Any = {}
        found.append(
            Group(
                Subset(str(subset), str(subset)), str(backbone), classes, tuple(seeds), (),
                np.empty((0, len(classes)), bool), np.empty(0), run, nothing, nothing, nothing, nothing,
            )
        )  # fmt: skip
    return found


def printed(text: str, number: int) -> pd.DataFrame:
    """Table of this number as tables.md has it, all cells as text."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"## Table {number}:"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in _table(lines)]
    return pd.DataFrame(rows[2:], columns=rows[0])


def _table(lines: Iterator[str]) -> Iterator[str]:
    begun = False
    for line in lines:
        if line.startswith("|"):
            begun = True
            yield line
        elif begun:
            return


def any_threat(text: str) -> Table[dict[str, str]]:
    """Table 4 with today's words for where a row comes from."""
    found = printed(text, 4)
    own = found["data"] == tables.OURS
    found["data"] = np.where(own, tables.OURS, tables.OTHER_DATA)
    found["name"] = [
        name.partition(": ")[2] or name if ours else "" for name, ours in zip(found["method"], own, strict=True)
    ]
    columns = keyed("method", *FIGURES, "ROC-AUC", "PR-AUC", "data", left=("method", "data"))
    return Table(columns, [{str(key): value for key, value in row.items()} for row in found.to_dict("records")])


def main(argv: Sequence[str] | None = None) -> None:
    """Write FOLDER/report.html."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(argv).folder
    values = pd.read_csv(folder / "estimates.csv", dtype={"subset": str})
    gates = pd.read_csv(folder / "gates.csv", dtype={"subset": str, "strength": str, "heads_share": str})
    costs, summary = pd.read_csv(folder / "cells.csv"), read_json(folder / "summary.json")
    text = (folder / "tables.md").read_text(encoding="utf-8")
    groups = groups_of(values, summary["settings"]["seeds"])
    subsets = list(dict.fromkeys(group.subset.name for group in groups))
    shown = next((group for group in groups if group.subset.name == TABLE_4), groups[-1])
    drawn: dict[str, dict[str, Any]] = {
        group.subset.name: {group.backbone: figures.class_figure(group, values)} for group in groups
    }
    drawn["map"] = {backbone: figures.map_figure(groups, values, backbone) for backbone in values["backbone"].unique()}
    about = [note.replace("letter", "paper") for note in summary["notes"]]
    info = {name: value for name, value in summary.items() if name not in ("targets", "all_met", "notes")}
    write_report(
        folder / "report.html", groups, shown, values, galleries=(),
        by_subset={subset: tables.subset_table(groups, values, subset) for subset in subsets},
        any_threat=any_threat(text), confidences=(of_frame(printed(text, 5)),), gates=gates,
        targets=target_table(summary), figures=drawn | {"any": {}}, about=(LEFT_OUT, *about),
        about_any_threat=(notes.ANY_THREAT,), info={**info, "seconds": total_seconds(costs)},
    )  # fmt: skip


if __name__ == "__main__":
    main()
