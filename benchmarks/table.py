"""The table of what was measured and what is asked of it; exit status 1 if a target is missed.

python benchmarks/table.py build/bench/start_speed.csv build/bench/pyramid_speed.csv

Each script of this folder prints such a table of its own, and writes it with ``--out FILE.csv``. Here the files of
several scripts become one table. A file that is not there counts as missed: its script has failed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from gbad.report.tables import Column, Table, readable


def row(
    what: str, unit: str, values: Sequence[float], *, at_least: float = math.nan, at_most: float = math.nan
) -> dict[str, Any]:
    """Describe one thing that was measured.

    Parameters
    ----------
    what : str
        What was measured.
    unit : str
        Of the values; ``"x"`` for ratios.
    values : sequence of float
        One of each round.
    at_least, at_most : float
        What is asked of their median. NaN: nothing is asked.

    Returns
    -------
    dict
        A row of the table, with the verdict ``"met"``, ``"missed"`` or, if nothing is asked, an empty text.
    """
    median, asked = statistics.median(values), not (math.isnan(at_least) and math.isnan(at_most))
    verdict = ("missed" if median < at_least or median > at_most else "met") if asked else ""
    return {
        "measured": what, "unit": unit, "at_least": at_least, "at_most": at_most, "median": median,
        "lowest": min(values), "highest": max(values), "rounds": len(values), "verdict": verdict,
    }  # fmt: skip


def finish(rows: Sequence[dict[str, Any]], out: Path | None) -> int:
    """Print the table of a script, write it as CSV with command, hardware and versions, and give the exit status."""
    measured = pd.DataFrame(rows)
    if out is not None:
        from gbad.runtime.versions import hardware, library_versions  # load PyTorch; to join tables needs none

        out.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python", *sys.argv])
        measured.assign(command=command, **hardware(), **library_versions()).to_csv(out, index=False)
    return show(measured)


def show(measured: pd.DataFrame) -> int:
    """Print rows as a table, and give the exit status: 1 if one of them is missed."""
    columns = [
        Column[Any]("measured", lambda row: row["measured"], align="left"),
        Column[Any]("asked", _asked),
        Column[Any]("median", lambda row: row["median"]),
        Column[Any]("spread", _spread),
        Column[Any]("unit", lambda row: row["unit"], align="left"),
        Column[Any]("verdict", lambda row: row["verdict"], align="left"),
    ]
    Console(width=140).print(Table(columns, measured.to_dict("records")).terminal())
    return int((measured["verdict"] == "missed").any())


def _asked(row: dict[str, Any]) -> str:
    limits = (("at least", row["at_least"]), ("at most", row["at_most"]))
    return " and ".join(f"{words} {limit:g}" for words, limit in limits if not math.isnan(limit))


def _spread(row: dict[str, Any]) -> str:
    return "" if math.isnan(row["lowest"]) else f"{readable(row['lowest'])} to {readable(row['highest'])}"


def read(path: Path) -> pd.DataFrame:
    """Read what a script has written; a single row that is missed if it has written nothing."""
    if not path.exists():
        return pd.DataFrame([row(f"nothing, {path.stem} has failed", "", [math.nan]) | {"verdict": "missed"}])
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in ("at_least", "at_most")})


def main(argv: Sequence[str] | None = None) -> int:
    """Join the files of several scripts to one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="what scripts have written with --out")
    options = parser.parse_args(argv)
    return show(pd.concat([read(path) for path in options.files], ignore_index=True))


if __name__ == "__main__":
    sys.exit(main())
