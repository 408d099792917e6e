"""The page of a benchmark from its tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

RESULTS = Path(__file__).parents[2] / "results" / "benchmark"
NUMBER = re.compile(r"-?\d[\d,]*\.\d+")


def words(page: Path) -> str:
    """Text of a page without its plots."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_the_page_says_what_the_tables_say(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RESULTS, tmp_path / "benchmark"))
    (folder / "report.html").unlink()
    script("studies/page_of_tables.py").main([str(folder)])
    page, tables = words(folder / "report.html"), (folder / "tables.md").read_text(encoding="utf-8")
    assert page == words(RESULTS / "report.html")
    assert "GBAD, SIXray10: mAP 66.6 %" in page
    assert "made from the tables of the benchmark after its cells were deleted" in page
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")
    start, end = page.index("Average precision, SIXray10"), page.index("Gates")
    assert set(NUMBER.findall(page[start:end])) <= set(NUMBER.findall(tables))
