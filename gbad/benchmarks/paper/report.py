"""The HTML page of a benchmark: the chart and one table per subset first, all else folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gbad.benchmarks.page import Card, Gallery, Section, write_benchmark_page
from gbad.benchmarks.paper import gallery, notes, tables
from gbad.benchmarks.paper.any_threat import FIGURES
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.figures import PLOTTED
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.methods import BASELINES, DIFFERENCES, METHODS, in_words
from gbad.benchmarks.paper.published import SOURCE
from gbad.benchmarks.paper.summary import best_baseline
from gbad.data.images import image_paths
from gbad.report.tables import Column, Table, keyed, of_frame
from gbad.report.truth import true_boxes

LINES = "Lines: 95 % intervals."
_TITLES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}


def write_report(
    path: Path, groups: Sequence[Group], shown: Group, values: pd.DataFrame, *, galleries: Sequence[Gallery],
    by_subset: Mapping[str, Table[tables.Row]], any_threat: Table[dict[str, str]], confidences: Sequence[Table[Any]],
    gates: pd.DataFrame, targets: Table[dict[str, Any]], figures: Mapping[str, Mapping[str, Figure]],
    about: Sequence[str], about_any_threat: Sequence[str], info: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the page.

    Parameters
    ----------
    path : Path
    groups : sequence of Group
    shown : Group
        Whose subset `any_threat` and `confidences` are about.
    values : DataFrame
        From `gbad.benchmarks.paper.tables.estimates`.
    galleries : sequence of Gallery
        From `galleries_of`, or none.
    by_subset : mapping of str to Table
        Tables 1 to 3.
    any_threat, confidences : Table, sequence of Table
        Tables 4 and 5.
    gates : DataFrame
        From `gbad.benchmarks.paper.tables.gate_table`.
    targets : Table
    figures : mapping of str to mapping of str to Figure
        By subset, and ``map`` and ``any``; then by the names of their files.
    about, about_any_threat : sequence of str
        Notes on all figures, and on Table 4.
    info : mapping
        How it was made.
    """
    backbones = list(dict.fromkeys(group.backbone for group in groups))
    sections = [
        Section(
            "Mean average precision",
            plots={f"Mean average precision of each method by subset{_of(backbone, backbones)}. {LINES}": figure
                   for backbone, figure in zip(backbones, figures["map"].values(), strict=True)},
            details=(Section("How to read the figures", notes=about),),
        ),
        *(_subset_section(subset, table, groups, figures[subset]) for subset, table in by_subset.items()),
        *_difference_sections(values),
        _any_threat_section(any_threat, shown, figures["any"], about_any_threat, several=len(backbones) > 1),
        Section(
            "Details",
            details=(
                Section("Targets", [_in_words(targets, "target")], notes=(notes.BEST_OF,)),
                Section("Gates", [_gates(gates)] if len(gates) else [], notes=(notes.GATES, notes.BOUNDS)),
                Section("Table 5: confidences of sample images", confidences, notes=(notes.CONFIDENCES,)),
            ),
        ),
    ]  # fmt: skip
    subsets = ", ".join(f"SIXray{subset}" for subset in by_subset)
    write_benchmark_page(
        path, kicker=f"Benchmark: {subsets}", title=f"{_families(shown)} on {info['data']}",
        cards=_cards(values, groups), sections=sections, galleries=galleries, about_galleries=gallery.ABOUT, info=info,
    )  # fmt: skip


def galleries_of(data: BenchmarkData, shown: Group) -> list[Gallery]:
    """Pictures of the page, for which a few images are read."""
    paths = dict(zip(shown.names, image_paths(data.folder, shown.names), strict=True))
    truth = true_boxes(data.folder, shown.names, [*paths.values()], shown.y_true.astype(np.uint8), shown.classes)
    return gallery.galleries(shown, paths, {shown.names[row]: boxes for row, boxes in truth.items()})


def _families(group: Group) -> str:
    """Names of what is compared, for the title."""
    run = {name.partition("_")[0].upper() for name in group.methods}
    *others, last = [family for family in ("GBAD", *BASELINES) if family in run] or [*group.methods][:1]
    return f"{', '.join(others)} and {last}" if others else last


def _of(backbone: str, backbones: Sequence[str]) -> str:
    """Say which backbone a figure is of, if there are several."""
    return f", {tables.PUBLISHED_BACKBONES.get(backbone, backbone)}" if len(backbones) > 1 else ""


def _cards(values: pd.DataFrame, groups: Sequence[Group]) -> list[Card]:
    """GBAD's mAP on each subset, and its lead over the best CNN and the best CHR."""
    cards, backbones = [], list(dict.fromkeys(group.backbone for group in groups))
    for group in groups:
        of = group.subset.name, group.backbone
        name = "gbad" if "gbad" in group.methods else next(iter(group.methods))
        value, low, high = tables.estimate(values, *of, name)
        leads = []
        for family in BASELINES:
            best = best_baseline(group, values, family)
            found = tables.estimate(values, *of, f"{name} - {best}")
            if found:
                leads.append(f"minus best {family} ({METHODS[str(best)].label}): {tables.percent(*found)}")
        label = f"{group.methods[name].label}, SIXray{group.subset.name}{_of(group.backbone, backbones)}: mAP"
        bounds = tables.percent(value, low, high).partition(" (")[2].rstrip(")")
        cards.append(Card(label, f"{tables.percent(value)} %", bounds, "\n".join(leads)))
    return cards


def _difference_sections(values: pd.DataFrame) -> list[Section]:
    """Differences between methods, GBAD's first; nothing if there is no pair."""
    ours, others = (_differences(values, own=own) for own in (True, False))
    by_class = _in_words(tables.difference_table(values), "difference (points)")
    heading, note = "GBAD against the others", "Points of mAP by which GBAD is above the other method"
    if not ours.rows:
        heading, note, ours = "Differences", "Points of mAP by which the first method is above the second", others
    if not ours.rows:
        return []
    details = [Section("Differences by class", [by_class])]
    if others.rows and others is not ours:
        details.insert(0, Section("Other differences between methods", [others]))
    return [Section(heading, [ours], notes=(f"{note}, with 95 % intervals.",), details=details)]


def _differences(values: pd.DataFrame, *, own: bool) -> Table[dict[str, str]]:
    """Differences in mAP by subset: between GBAD and the baselines, or all others."""
    baselines = {name for family in BASELINES.values() for name in family}
    against = {f"{a} - {b}" for a, b in DIFFERENCES if a == "gbad" and b in baselines}
    pairs = values[values["row"].str.contains(" - ", regex=False) & (values["class"] == tables.MEAN)]
    subsets = [*map(str, dict.fromkeys(pairs["subset"]))]
    backbones = list(dict.fromkeys(pairs["backbone"]))
    rows = []
    for (backbone, row), found in pairs.groupby(["backbone", "row"], sort=False):
        if (row in against) == own:
            cells = {str(line["subset"]): tables.percent(line["value"], line["low"], line["high"])
                     for _, line in found.iterrows()}  # fmt: skip
            rows.append({"Methods": f"{in_words(str(row))}{_of(str(backbone), backbones)}", **cells})
    columns = [Column(f"SIXray{subset}", partial(_cell, subset)) for subset in subsets]
    return Table([*keyed("Methods", left=("Methods",)), *columns], rows)


def _cell(key: str, row: Mapping[str, str]) -> str:
    return row.get(key, "")


def _subset_section(
    subset: str, table: Table[tables.Row], groups: Sequence[Group], figures: Mapping[str, Figure]
) -> Section:
    """Our figures of a subset, then folded: variants and bounds, classes, and what the paper printed."""
    ours = [row for row in table.rows if row["data"] == tables.OURS]
    papers = [row for row in table.rows if row["data"] != tables.OURS]
    main = [row for row in ours if row["name"] in PLOTTED] or ours
    others = [row for row in ours if row not in main]
    backbones = [group.backbone for group in groups if group.subset.name == subset]
    by_class = {
        f"Average precision of each method by class{_of(backbone, backbones)}. {LINES}": figure
        for backbone, figure in zip(backbones, figures.values(), strict=True)
    }
    name = "method" if len(backbones) > 1 else "label"
    details = [Section("By class, as a chart", plots=by_class)]
    if others:
        details.insert(0, Section("Parts, variants and bounds", [_of_rows(table, others, name)], notes=(notes.BOUNDS,)))
    if papers:
        sources = [f"{SOURCE}."]
        if papers[0]["data"] == tables.OTHER_DATA:
            sources.append("These are other data than those of this page.")
        details.append(Section("What the paper printed", [_of_rows(table, papers, "method")], notes=sources))
    return Section(f"Average precision, SIXray{subset}", [_of_rows(table, main, name)],
                   notes=("In %, with 95 % intervals. mAP: mean over the classes.",), details=details)  # fmt: skip


def _of_rows(table: Table[tables.Row], rows: Sequence[tables.Row], name: str) -> Table[tables.Row]:
    """Some rows of Table 1, 2 or 3, the mean first."""
    classes = [column for column in table.columns if column.title not in ("method", tables.MEAN, "data")]
    columns: list[Column[tables.Row]] = [
        Column("Method", itemgetter(name), align="left"), Column("mAP", itemgetter(tables.MEAN)), *classes
    ]  # fmt: skip
    return Table(columns, rows, lambda row: "own" if row.get("name") == "gbad" else "")


def _any_threat_section(
    table: Table[dict[str, str]], group: Group, figures: Mapping[str, Figure], about: Sequence[str], *, several: bool
) -> Section:
    """Table 4: our figures, then folded: parts and variants, and what the paper printed."""
    subset, name = f"SIXray{group.subset.name}", "method" if several else "name"

    def of(rows: Sequence[dict[str, str]], name: str, count: int) -> Table[dict[str, str]]:
        columns = [replace(one, title=_TITLES.get(one.title, one.title)) for one in table.columns[1:-1]]
        label: Column[dict[str, str]] = Column("Method", lambda row: in_words(row[name]), align="left")
        return Table([label, *columns[:count]], rows, lambda row: "own" if row.get("name") == "gbad" else "")

    ours = [row for row in table.rows if row["data"] == tables.OURS]
    main = [row for row in ours if row["name"] not in METHODS or row["name"] in PLOTTED] or ours
    others = [row for row in ours if row not in main]
    papers = [row for row in table.rows if row["data"] != tables.OURS]
    plots = {
        f"{'ROC curves' if name.startswith('roc') else 'Precision and recall'} of any threat, {subset}.": figure
        for name, figure in figures.items()
    }
    details = [Section("How to read the figures", notes=about)]
    if others:
        details.insert(0, Section("Parts and variants", [of(others, name, len(table.columns))]))
    if papers:
        details.append(Section("What the paper printed", [of(papers, "method", len(FIGURES))], notes=(f"{SOURCE}.",)))
    return Section(
        f"Any threat or none, {subset}", [of(main, name, len(table.columns))], plots,
        ("Macro precision, recall and F1 in %: means over images with threats and threat-free ones.",), details,
    )  # fmt: skip


def _in_words(table: Table[Any], key: str) -> Table[Any]:
    """The same table, with labels in the place of the methods' keys."""
    columns = [
        replace(column, format=lambda value: in_words(str(value))) if column.title == key else column
        for column in table.columns
    ]
    return Table(columns, table.rows, table.tone)


def _gates(gates: pd.DataFrame) -> Table[Any]:
    """What each gate does to all threats together; ``gates.csv`` has the classes."""
    together = gates[gates["class"] == "any"].drop(columns="class")
    together = together.assign(network=together["network"].map(lambda name: METHODS[name].label))
    titles = {
        "network": "Network", "subset": "Subset", "backbone": "Backbone", "recall": "Recall",
        "false_alarm_rate": "False-alarm rate", "no_gate": "mAP without gate", "gate": "mAP", "oracle_gate":
        "mAP, oracle gate", "random_gate": "mAP, random gate", "strength": "Strength", "heads_share": "Heads' share",
        "second_share": "Second look's share",
    }  # fmt: skip
    kept = [name for name in titles if name in together and (name != "backbone" or together[name].nunique() > 1)]
    return of_frame(together[kept].rename(columns=titles))
