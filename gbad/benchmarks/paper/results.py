"""Write the results of a benchmark: CSV, JSON, Markdown, plots and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gbad.benchmarks.paper import figures, notes, tables
from gbad.benchmarks.paper.any_threat import FIGURES, OWN_DECISION, SeedScores, detector_rows, group_detectors
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.published import PUBLISHED_ANY_THREAT, SOURCE
from gbad.benchmarks.paper.report import galleries_of, write_report
from gbad.benchmarks.paper.summary import summarise, target_table
from gbad.report.tables import Table, keyed, of_frame
from gbad.storage.files import atomic_path, write_json
from gbad.storage.tables import write_table

TABLE_NUMBERS = {"10": 1, "100": 2, "1000": 3}
"""The paper's tables by subset."""

TABLE_4 = "100"
"""Subset of Tables 4 and 5 and of Figures 5 and 6; if it is missing, the last one is taken."""


def write_results(
    folder: Path, data: BenchmarkData, groups: Sequence[Group], costs: pd.DataFrame, info: Mapping[str, Any],
    *, resamples: int, detectors: Mapping[str, Sequence[SeedScores]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the results of a benchmark; images are read for the few pictures of the page alone.

    Parameters
    ----------
    folder : Path
        Folder for all files.
    data : BenchmarkData
    groups : sequence of Group
        By subset and backbone.
    costs : DataFrame
        From `gbad.benchmarks.paper.cells.Cell.costs`, one row a cell.
    info : mapping
        Command, versions, hardware.
    resamples : int
        Resamples of the bootstrap.
    detectors : mapping of str to sequence of SeedScores, optional
        Image-level detectors by their names in the tables, for Table 4 and Figures 5 and 6: scores of the test images
        of `shown_groups`.

    Returns
    -------
    dict
        The content of ``summary.json``.
    """
    subsets = list(dict.fromkeys(group.subset.name for group in groups))
    values = tables.estimates(groups, resamples)
    published = tables.OTHER_DATA if data.is_generated else "paper, SIXray"
    by_subset = {subset: tables.subset_table(groups, values, subset, published) for subset in subsets}
    shown = shown_groups(groups)
    ratio = data.ratio(shown[0].subset)
    judged = [group_detectors(group, ratio) for group in shown]
    any_threat = _any_threat_rows(shown, judged, ratio, resamples, detectors or {})
    gates = tables.gate_table(groups)
    sampled = [name for name in (PAPER, "gbad") if name in shown[0].scores] or [next(iter(shown[0].scores))]
    confidences = pd.concat([tables.confidence_table(shown[0], name) for name in sampled], ignore_index=True)
    summary = summarise(groups, values, any_threat if shown[0].subset.name == "100" else any_threat.iloc[:0])
    passes, handicap = notes.passes(costs), notes.handicap(info, detectors or {})
    about = (*data.notes, notes.budget(costs), passes, notes.RULES[shown[0].rule])
    summary |= {"notes": [*about, notes.INTERVALS, notes.INTERVALS_4, *handicap], **info}

    written = {
        "results": tables.tidy(groups),
        "estimates": values,
        "gates": gates,
        "table5": confidences,
        "cells": costs,
    }
    written |= {_file(subset): table.frame() for subset, table in by_subset.items()}
    written["table4"] = any_threat
    for name, table in written.items():
        write_table(table, folder / f"{name}.csv")
    write_json(folder / "summary.json", summary)
    drawn = _figures(groups, values, shown, judged, detectors or {})
    figures.save_figures(
        folder / "plots", {name: figure for of_name in drawn.values() for name, figure in of_name.items()}
    )

    source = f"Published rows: {SOURCE}."
    targets, differences = target_table(summary), tables.difference_table(values)
    table4 = any_threat_table(any_threat, published)
    printed = [column for column in confidences if str(column).startswith("confidence_")]
    of_printed = {column: str(column).removeprefix("confidence_") for column in printed}
    about_images = ["method", "image", "name", "shows"]
    table5 = of_frame(confidences[[*about_images, *printed]].rename(columns=of_printed))
    table5_odds = of_frame(confidences.drop(columns=printed))
    write_report(
        folder / "report.html", groups, shown[0], values, galleries=galleries_of(data, shown[0]), by_subset=by_subset,
        any_threat=table4,
        confidences=(table5, table5_odds), gates=gates, targets=targets, figures=drawn, about=(*about, notes.INTERVALS),
        about_any_threat=(notes.ANY_THREAT, notes.INTERVALS_4, *handicap, passes),
        info={**info, "seconds": total_seconds(costs)},
    )  # fmt: skip
    listed = "\n".join(f"- {note}" for note in (*summary["notes"], notes.BOUNDS, source))
    parts = [
        f"# Benchmark\n\n`{summary['command']}`\n\n{listed}",
        *(f"## {_heading(subset)}\n\n{table.markdown()}" for subset, table in by_subset.items()),
        f"## Differences\n\n{differences.markdown()}",
        f"## Table 4: any threat\n\n{table4.markdown()}",
        f"## Table 5: confidences\n\n{notes.CONFIDENCES}\n\n{table5.markdown()}\n\n{table5_odds.markdown()}",
        f"## Targets\n\n{notes.BEST_OF}\n\n{targets.markdown()}",
    ]
    with atomic_path(folder / "tables.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    return summary


PAPER = "gbad_paper"
PAPER_DETECTOR = f"{PAPER}: {OWN_DECISION}"


def shown_groups(groups: Sequence[Group]) -> list[Group]:
    """Groups of the subset that Tables 4 and 5 are about."""
    names = [group.subset.name for group in groups]
    subset = TABLE_4 if TABLE_4 in names else names[-1]
    return [group for group in groups if group.subset.name == subset]


def _any_threat_rows(
    groups: Sequence[Group], judged: Sequence[Mapping[str, Sequence[SeedScores]]], ratio: float, resamples: int,
    detectors: Mapping[str, Sequence[SeedScores]],
) -> pd.DataFrame:  # fmt: skip
    parts = []
    for number, (group, own) in enumerate(zip(groups, judged, strict=True)):
        if group.y_any.all() or not group.y_any.any():
            continue
        by_backbone = {"": detectors if number == 0 else {}, group.backbone: own}
        for backbone, found in by_backbone.items():
            if found:
                weight = group.subset.negative_weight
                rows = detector_rows(found, group.y_any, ratio, negative_weight=weight, resamples=resamples)
                rows.insert(0, "backbone", backbone)
                parts.append(rows)
    columns = ["backbone", "method", *FIGURES]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def any_threat_table(rows: pd.DataFrame, source: str) -> Table[dict[str, str]]:
    """Table 4 from rows of `detector_rows`, then the published rows with `source` in their column ``data``."""
    readable = [
        {
            "method": _any_threat_label(row["backbone"], row["method"]), "name": row["method"],
            **{name: tables.percent(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in FIGURES},
            "ROC-AUC": f"{row['roc_auc']:.3f}", "PR-AUC": f"{row['pr_auc']:.3f}", "data": tables.OURS,
        }
        for _, row in rows.iterrows()
    ]  # fmt: skip
    readable += [
        {"method": name, **{figure: f"{value:.1f}" for figure, value in zip(FIGURES, values, strict=True)},
         "ROC-AUC": "", "PR-AUC": "", "data": source}
        for name, values in PUBLISHED_ANY_THREAT.items()
    ]  # fmt: skip
    columns = keyed("method", *FIGURES, "ROC-AUC", "PR-AUC", "data", left=("method", "data"))
    return Table(columns, readable)


def _any_threat_label(backbone: str, method: str) -> str:
    if not backbone:  # of images, not of a network's features
        return method
    return f"{tables.PUBLISHED_BACKBONES.get(backbone, backbone)}: {method}"


def _figures(
    groups: Sequence[Group], values: pd.DataFrame, shown: Sequence[Group],
    judged: Sequence[Mapping[str, Sequence[SeedScores]]], detectors: Mapping[str, Sequence[SeedScores]],
) -> dict[str, dict[str, Any]]:  # fmt: skip
    drawn: dict[str, dict[str, Any]] = {}
    for group in groups:
        name = f"ap-sixray{group.subset.name}-{group.backbone}"
        drawn.setdefault(group.subset.name, {})[name] = figures.class_figure(group, values)
    backbones = dict.fromkeys(group.backbone for group in groups)
    drawn["map"] = {f"map-{backbone}": figures.map_figure(groups, values, backbone) for backbone in backbones}
    drawn["any"] = {}
    for group, own in zip(shown, judged, strict=True):
        # The paper's figures first: its detector beside GANomaly and Skip-GANomaly.
        paper = {f"{group.methods[PAPER].label}: {OWN_DECISION}": own[name] for name in own if name == PAPER_DETECTOR}
        labelled = {group.methods[name].label: own[name] for name in figures.PLOTTED if name in own}
        plotted = {**paper, **(detectors if group is shown[0] else {}), **labelled} or dict(own)
        if group.y_any.any() and not group.y_any.all():
            drawn["any"][f"roc-{group.backbone}"] = figures.roc_figure(group.y_any, plotted)
            drawn["any"][f"precision-recall-{group.backbone}"] = figures.precision_recall_figure(
                group.y_any, plotted, group.subset.negative_weight
            )
    return drawn


def total_seconds(costs: pd.DataFrame) -> dict[str, float]:
    """Seconds of all cells together, by phase."""
    names = [name for name in map(str, costs.columns) if name.endswith("_seconds")]
    seconds = {name.removesuffix("_seconds"): round(float(costs[name].sum()), 1) for name in names}
    return seconds | {"all cells": round(sum(seconds.values()), 1)}


def _heading(subset: str) -> str:
    number = f"Table {TABLE_NUMBERS[subset]}: " if subset in TABLE_NUMBERS else ""
    return f"{number}average precision (%), SIXray{subset}"


def _file(subset: str) -> str:
    return f"table{TABLE_NUMBERS[subset]}" if subset in TABLE_NUMBERS else f"table-{subset}"
