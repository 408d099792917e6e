"""No document states a figure that the data do not hold.

A comment behind a text names the data of its figures, for example::

    GBAD has 66.6 % on SIXray10.

    <!-- figures
    benchmark/estimates.csv row=gbad class=mean
    given: 1.7 (noted by hand)
    -->

It covers the text from the last comment or heading to itself. Its lines are

- a CSV in ``results/``, with conditions on its columns; its figures are all numbers of the rows that meet them;
- a JSON in ``results/``, with a path to its values, ``*`` for any name; or a Markdown file, with a word of the lines;
- ``mean:`` and a JSON as before: the means of all values with the same last name;
- ``calc:`` and sums of figures, ``given:`` and figures without data, with the reason in brackets;
- ``seeds:``, ``paired:``, ``minutes:``, ``detector:``: see the functions of these names.

A figure is a number with a decimal point, or one in front of "%" or "points". Tables with a comment ``<!-- table: -->``
are checked cell by cell in ``test_tables.py``.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *RESULTS.rglob("README.md")])

_COMMENT = re.compile(r"<!-- figures\n(.*?)-->", re.DOTALL)
_NOT_PROSE = (
    re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE),  # code blocks
    re.compile(r"<!-- table: .*?-->\s*(?:^\|.*\n?)+", re.MULTILINE),  # checked in test_tables.py
    re.compile(r"`[^`\n]*`|\]\([^)]*\)|<[^>]*>"),  # code, addresses, tags
    re.compile(r"Python \d\.\d+|Apache-2\.0|\d+(?:\.\d+){2,}|95 %"),  # versions, intervals
)
_SERIES = re.compile(r"((?:-?\d[\d.]*(?:, | and | to ))*-?\d[\d.]*)(?=[- ](?:%|points?\b))")
_DECIMAL = re.compile(r"(?<![\w.,])-?\d*\.\d+(?:e-?\d+)?(?!\d)|(?<![\w.])\de-\d")


def figures_of(text: str) -> Iterator[str]:
    """Find what a text states as figures."""
    for pattern in _NOT_PROSE:
        text = pattern.sub(" ", text)
    yield from dict.fromkeys(_DECIMAL.findall(text))
    for series in _SERIES.findall(text):
        yield from re.findall(r"-?\d[\d.]*", series)


def sections(text: str) -> Iterator[tuple[str, str | None]]:
    """Cut a document at headings and comments: texts, each with its comment or None."""
    start = 0
    for cut in re.finditer(r"^#+ [^\n]*$|" + _COMMENT.pattern, _without_code(text), re.DOTALL | re.MULTILINE):
        yield text[start : cut.start()], cut.group(1)
        start = cut.end()
    yield text[start:], None


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", lambda block: "·" * len(block.group()), text, flags=re.DOTALL | re.MULTILINE)


@cache
def numbers_of(source: str) -> list[float]:
    """Look up what a line of a comment names."""
    kind, _, rest = source.partition(": ")
    if kind in SPECIAL:
        return SPECIAL[kind](rest)
    name, *conditions = shlex.split(source)
    path = RESULTS / name
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column, wanted in (condition.split("=", 1) for condition in conditions):
            table = table[table[column].map(lambda value, wanted=wanted: fnmatchcase(value, wanted))]
        cells = table.to_numpy().ravel()
        return [float(cell) for cell in cells if re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", cell)]
    if path.suffix == ".json":
        return [value for _, value in values(json.loads(path.read_text()), *conditions)]
    lines = [line for line in path.read_text().splitlines() if all(word in line for word in conditions)]
    return [float(number.replace(",", "")) for line in lines for number in re.findall(r"-?\d[\d,]*\.?\d*", line)]


def values(tree: Any, path: str = "*", name: str = "") -> Iterator[tuple[str, float]]:
    """Walk plain data: the last name and the value of all numbers at or below a path."""
    if isinstance(tree, dict | list):
        key, _, rest = path.partition(".")
        for own, below in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if fnmatchcase(str(own), key):
                yield from values(below, rest or "*", str(own))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield name, float(tree)


def mean(rest: str) -> list[float]:
    """Average the values with the same last name, one a seed."""
    path, pattern = rest.split()
    groups = defaultdict(list)
    for name, value in values(json.loads((RESULTS / path).read_text()), pattern):
        groups[name].append(value)
    return [float(np.mean(group)) for group in groups.values()]


def calc(rest: str) -> list[float]:
    """Work out sums of figures, with spaces between them."""
    assert re.fullmatch(r"[\d.+*/() -]+", rest)
    return [float(eval(part)) for part in rest.split()]


def given(rest: str) -> list[float]:
    """Take figures that no data hold; the reason stands behind them in brackets."""
    figures, reason = re.fullmatch(r"([\d.e -]+) \((.+)\)", rest).groups()  # type: ignore[union-attr]
    assert reason
    return [float(figure) for figure in figures.split()]


def map_by_seed(folder: str, method: str) -> pd.Series:
    table = pd.read_csv(RESULTS / folder / "results.csv")
    chosen = table[(table["method"] == method) & (table["class"] == "mean")]
    return 100 * chosen.set_index(["subset", "seed"])["ap"]


def seeds(rest: str) -> list[float]:
    """``FOLDER SUBSET METHOD - METHOD``: difference in mAP, seed by seed."""
    folder, subset, first, _, second = rest.split()
    return list((map_by_seed(folder, first) - map_by_seed(folder, second)).loc[int(subset)])


def paired(rest: str) -> list[float]:
    """``FOLDER METHOD - FOLDER METHOD``: difference in mAP of each subset, with Student's interval over the seeds."""
    folder, first, _, other, second = rest.split()
    differences = map_by_seed(folder, first) - map_by_seed(other, second)
    return [number for _, seeds in differences.groupby("subset") for number in student(seeds.to_numpy())]


def student(sample: np.ndarray) -> tuple[float, float, float]:
    """Mean of some trainings, and its 95 % interval."""
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample))
    return sample.mean(), sample.mean() - half, sample.mean() + half


def minutes(folder: str) -> list[float]:
    """Sum the seconds of all networks, in minutes: all, by two processes."""
    cells = pd.read_csv(RESULTS / folder / "cells.csv")
    total = cells[[name for name in cells if name.endswith("_seconds")]].sum().sum() / 60
    return [total, total / 2]


def detector(folder: str) -> list[float]:
    """Average each measure of each detector over classes and seeds; also of each class, over seeds."""
    table = pd.read_csv(RESULTS / "detectors" / folder / "results.csv")
    by = ["detector", "mode", "metric"]
    return [*table.groupby(by)["value"].mean(), *table.groupby([*by, "class"])["value"].mean()]


SPECIAL: dict[str, Callable[[str], list[float]]] = {
    "mean": mean, "calc": calc, "given": given, "seeds": seeds, "paired": paired, "minutes": minutes,
    "detector": detector,
}  # fmt: skip


def is_held(figure: str, numbers: list[float]) -> bool:
    """Whether a number, a share as per cent, or millions round to a figure as it is printed; losses have no sign."""
    if "e" in figure:
        return float(figure) in numbers
    decimals = len(figure.partition(".")[2])
    printed = {f"{abs(number * scale):.{decimals}f}" for number in numbers for scale in (1, 100, 1e-6)}
    return f"{abs(float(figure)):.{decimals}f}" in printed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_figure_is_in_the_data(document: Path) -> None:
    wrong = []
    for text, comment in sections(document.read_text(encoding="utf-8")):
        numbers = [number for line in (comment or "").splitlines() if line for number in numbers_of(line)]
        wrong += [(figure, " ".join(text.split())[:60]) for figure in figures_of(text) if not is_held(figure, numbers)]
    assert not wrong, "no comment names data that hold these figures"


def test_a_wrong_figure_is_found() -> None:
    text = "GBAD has 66.7 %.\n\n<!-- figures\nbenchmark/estimates.csv row=gbad class=mean subset=10\n-->\n"
    (part, comment), _ = sections(text)
    assert list(figures_of(part)) == ["66.7", "66.7"]
    assert comment
    assert not is_held("66.7", numbers_of(comment.strip()))
    assert is_held("66.6", numbers_of(comment.strip()))


@pytest.mark.parametrize(
    "folder",
    [
        "benchmark",
        "benchmark_224",
        "benchmark_first",
        "projected",
        "second_look/projected_320",
        "second_look/projected_640",
        "second_look/simulated_512",
        "second_look/simulated_512_first_224",
    ],
)
def test_each_missed_target_is_named(folder: str) -> None:
    summary = json.loads((RESULTS / folder / "summary.json").read_text())
    page = (ROOT / "docs" / "results" / "index.md").read_text(encoding="utf-8")
    for target in summary.get("targets") or summary["bars"]:
        if target["met"] is False:
            low, high = target["interval"]
            assert f"{target['value']:.1f} ({low:.1f} to {high:.1f})" in page, f"{folder}: {target}"
