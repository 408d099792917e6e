"""The files of a benchmark that people read: tidy CSV, Markdown, plots, report, environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gbad.benchmarks.detectors.plots import roc_auc_figure
from gbad.benchmarks.detectors.report import loss_figures, score_figures, write_report
from gbad.benchmarks.detectors.runner import long_table, loss_table, read_examples, read_scores
from gbad.benchmarks.detectors.tables import markdown, summarise
from gbad.report.style import save
from gbad.storage.files import atomic_path, write_json
from gbad.storage.tables import write_table


def write_outputs(out: str | Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write ``results.csv``, ``losses.csv``, ``table.md``, ``plots/``, ``report.html`` and ``environment.json``.

    ``plots`` holds, as PNG and SVG, ``roc_auc``; and for each detector and mode ``scores-DETECTOR-MODE``, histograms of
    its scores, and ``roc-DETECTOR-MODE``, its ROC curves by class; and for each detector ``losses-DETECTOR``, its
    training losses by epoch.

    Parameters
    ----------
    out : path-like
        Folder of the benchmark, whose example images the report shows.
    results : sequence of dict
        As from `run_benchmark`.
    """
    out = Path(out)
    for name, table in {"results.csv": long_table(results), "losses.csv": loss_table(results)}.items():
        write_table(table, out / name)
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(markdown(results), encoding="utf-8")
    of_detectors = [*score_figures(results, lambda result: read_scores(out, result)), *loss_figures(results)]
    plots = {"roc_auc": roc_auc_figure(summarise(results))} | {one.name: one.figure for one in of_detectors}
    for name, plot in plots.items():
        for suffix in ("png", "svg"):
            with atomic_path(out / "plots" / f"{name}.{suffix}") as temporary:
                save(plot, temporary, dpi=160)
    write_report(out / "report.html", results, lambda result: read_examples(out, result), of_detectors)
    # Cells may be from several machines: each cell's own file says which.
    write_json(out / "environment.json", results[-1]["made_with"])
