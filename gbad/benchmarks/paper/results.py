"""Write the results of a benchmark: CSV, JSON, Markdown, plots and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gbad.benchmarks.page import Card, Section, write_benchmark_page
from gbad.benchmarks.paper import figures, gallery, tables
from gbad.benchmarks.paper.any_threat import FIGURES, OWN_DECISION, SeedScores, detector_rows, group_detectors
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.methods import BASELINES
from gbad.benchmarks.paper.published import PUBLISHED_ANY_THREAT, SOURCE
from gbad.benchmarks.paper.summary import best_baseline, summarise, target_table
from gbad.data.images import image_paths
from gbad.report.tables import Table, keyed, of_frame
from gbad.storage.files import atomic_path, write_json

TABLE_NUMBERS = {"10": 1, "100": 2, "1000": 3}
"""The paper's tables by subset."""

TABLE_4 = "100"
"""Subset of Tables 4 and 5 and of Figures 5 and 6; if it is missing, the last one is taken."""

INTERVALS = (
    "Average precision and its differences: means over the training seeds; in brackets 95 % bootstrap intervals over "
    "test images and training seeds together (over test images alone where there is one seed)."
)
INTERVALS_4 = (
    "Table 4: means over the training seeds; in brackets 95 % bootstrap intervals over test images alone, which leave "
    "out the chance of training."
)
BOUNDS = (
    "Oracle and random gates are bounds: the first knows which images show a threat, the second deals the gate's own "
    "factors out blindly (expected value)."
)
BEST_OF = (
    "The best CNN and the best CHR are those variants of the baseline, of all that were run, with the highest mAP on "
    "the test list: a choice in their favour. The largest loss is that of the class that suffers most: among five "
    "classes with few threats each, one falls behind by chance more easily than its interval says."
)
ANY_THREAT = (
    "The score of an image for any threat is the probability that it holds at least one class, from the logits of its "
    "classes, each calibrated on the validation part. Thresholds are chosen there, too; both for the subset's ratio of "
    "threat-free images. The detector of phases 2 and 3, BiGAN and SVM, is what the paper compares with GANomaly and "
    "Skip-GANomaly: the decision is that of its SVM. A network that holds no image out stands there with its detector "
    "alone."
)
CONFIDENCES = (
    "Images of the first seed. First the probabilities, as the paper prints them; then their log-odds, natural "
    "logarithms of the odds, which tell apart what is rounded to 0 or 1."
)
RULES = {
    "all_points": "Average precision is the all-point average, as in the code of CHR's authors.",
    "voc07": "Average precision follows the 11-point rule of PASCAL VOC 2007.",
    "voc10": "Average precision follows the rule of PASCAL VOC 2010: the best precision at no less recall.",
}
"""Notes on the rule of average precision."""
GATES = (
    "Shares, as means over the seeds. A gate acts on the ranking of class heads and classifier, so AP without gate "
    "holds the heads too. Recall and false-alarm rate are those of its yes or no; a soft gate of small strength does "
    "much less than these say. Of the gate's strength and of the heads' share there is one number a seed, chosen for "
    "the subset."
)


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
    passes = _passes(costs)
    notes = (*data.notes, _budget(costs), passes, RULES[shown[0].rule], INTERVALS)
    summary |= {"notes": [*notes, INTERVALS_4, *_handicap(info, detectors or {})], **info}

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
        _write_csv(table, folder / f"{name}.csv")
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
    sections = [
        Section("Targets", [targets], notes=(BEST_OF,)),
        *(
            Section(
                _heading(subset), [table], {f"SIXray{subset}": figure for figure in drawn[subset].values()},
                (*notes, BOUNDS, source),
            )
            for subset, table in by_subset.items()
        ),
        Section("Differences", [differences], drawn["map"], (INTERVALS, passes)),
        Section(
            f"Table 4: any threat, SIXray{shown[0].subset.name}", [table4], drawn["any"],
            (ANY_THREAT, INTERVALS_4, *_handicap(info, detectors or {}), passes, source),
        ),
        Section("Table 5: confidences", [table5, table5_odds], notes=(CONFIDENCES,)),
        Section("Gates", [of_frame(gates)] if len(gates) else [], notes=(GATES, BOUNDS)),
    ]  # fmt: skip
    paths = dict(zip(shown[0].names, image_paths(data.folder, shown[0].names), strict=True))
    write_benchmark_page(
        folder / "report.html",
        kicker="GBAD benchmark",
        title=f"{', '.join(f'SIXray{subset}' for subset in subsets)}: {info['data']}",
        cards=_cards(values, groups),
        sections=sections,
        galleries=gallery.galleries(shown[0], paths),
        about_galleries=gallery.ABOUT,
        info={**info, "seconds": _totals(costs)},
    )
    listed = "\n".join(f"- {note}" for note in (*summary["notes"], BOUNDS, source))
    parts = [
        f"# Benchmark\n\n`{summary['command']}`\n\n{listed}",
        *(f"## {_heading(subset)}\n\n{table.markdown()}" for subset, table in by_subset.items()),
        f"## Differences\n\n{differences.markdown()}",
        f"## Table 4: any threat\n\n{table4.markdown()}",
        f"## Table 5: confidences\n\n{CONFIDENCES}\n\n{table5.markdown()}\n\n{table5_odds.markdown()}",
        f"## Targets\n\n{BEST_OF}\n\n{targets.markdown()}",
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
            "method": _any_threat_label(row["backbone"], row["method"]),
            **{name: tables.percent(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in FIGURES},
            "ROC-AUC": f"{row['roc_auc']:.3f}", "PR-AUC": f"{row['pr_auc']:.3f}", "data": "this benchmark",
        }
        for _, row in rows.iterrows()
    ]  # fmt: skip
    readable += [
        {"method": name, **{figure: f"{value:.1f}" for figure, value in zip(FIGURES, values, strict=True)},
         "ROC-AUC": "", "PR-AUC": "", "data": source}
        for name, values in PUBLISHED_ANY_THREAT.items()
    ]  # fmt: skip
    columns = keyed("method", *FIGURES, "ROC-AUC", "PR-AUC", "data", left=("method", "data"))
    return Table(columns, readable, tables.other_data)


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


def _cards(values: pd.DataFrame, groups: Sequence[Group]) -> list[Card]:
    cards = []
    for group in groups:
        baselines = [best_baseline(group, values, family) for family in BASELINES]
        differences = [f"gbad - {name}" for name in (*baselines, "gbad_ungated", "gbad_first_look") if name is not None]
        for row in ("gbad", *differences):
            found = tables.estimate(values, group.subset.name, group.backbone, row)
            if not found:
                continue
            value, low, high = (100 * number for number in found)
            tone = "" if row == "gbad" else "good" if low > 0 else "bad" if high < 0 else ""
            label = f"{row}, SIXray{group.subset.name}, {group.backbone}"
            interval = f"{low:.1f} to {high:.1f}"
            cards.append(Card(label, f"{value:.1f}", interval, tone=tone))
    return cards


def _budget(costs: pd.DataFrame) -> str:
    """How many images phase 1 was shown: the same for all networks, or within which bounds."""
    costs = costs[costs["backbone"] != ""]  # image-level detectors have no phase 1
    bounds = [costs.groupby(["training_list", "backbone"])["images_seen"].agg(kind) for kind in ("min", "max")]
    same = "the same number of images" if (bounds[0] == bounds[1]).all() else "not the same number of images"
    numbers = " to ".join(f"{number:,}" for number in dict.fromkeys((bounds[0].min(), bounds[1].max())))
    epochs = ", ".join(map(str, sorted(costs["epochs"].unique())))
    return (
        f"Phase 1 of all networks on one list was shown {same} ({numbers}, {epochs} epochs), with the same "
        f"augmentation, image size and optimiser; no epoch was selected. {_held_out(costs)} A second look trains a "
        "second classifier, on regions: `cells.csv` has its seconds."
    )


def _held_out(costs: pd.DataFrame) -> str:
    """Which networks left a part of the training list to phase 3."""
    without = sorted(set(costs.loc[costs["held_out"] == 0, "network"]))
    nothing = f"{', '.join(without)}: no image was held out. " if without else ""
    if (costs["held_out"] == 0).all():
        return "No image was held out."
    return (
        f"{nothing}{'Otherwise a' if without else 'A'} part of the training list was kept from phase 1 for validation, "
        "and phase 3 alone used its labels; phases 2 and 3 also saw all other training images."
    )


def _passes(costs: pd.DataFrame) -> str:
    """How often each network's phase 1 saw an image with a threat and a threat-free one."""
    costs = costs[costs["backbone"] != ""]
    several = costs["training_list"].nunique() > 1
    texts = []
    for (of, network), own in costs.groupby(["training_list", "network"], sort=False):
        name = f"{network} on list {of}" if several else network
        same = " (always the same)" if (own["negatives"] == "fixed").all() else ""
        texts.append(f"{name} {own['positive_passes'].mean():.2g} and {own['negative_passes'].mean():.2g}{same}")
    return (
        "Passes of phase 1, or how often it saw a training image with a threat and a threat-free one on average: "
        f"{'; '.join(texts)}. Networks with fewer passes over the threats had fewer chances to learn them."
    )


def _handicap(info: Mapping[str, Any], detectors: Mapping[str, Any]) -> list[str]:
    """What image-level detectors learnt from, beside which their figures have to be read; empty without them."""
    settings = info.get("settings", {}).get("image_detectors")
    if not settings or not detectors:
        return []
    return [
        f"{' and '.join(detectors)} saw images of {settings['image_size']} px, with "
        f"{settings['features']} channels in their first layer (64 as published), and learnt from at most "
        f"{settings['max_images']:,} threat-free images in {settings['epochs']} epochs: smaller images, networks and "
        "trainings hold them back, so these rows are no measure of what they can do."
    ]


def _totals(costs: pd.DataFrame) -> dict[str, float]:
    names = [name for name in map(str, costs.columns) if name.endswith("_seconds")]
    seconds = {name.removesuffix("_seconds"): round(float(costs[name].sum()), 1) for name in names}
    return seconds | {"all cells": round(sum(seconds.values()), 1)}


def _heading(subset: str) -> str:
    number = f"Table {TABLE_NUMBERS[subset]}: " if subset in TABLE_NUMBERS else ""
    return f"{number}average precision (%), SIXray{subset}"


def _file(subset: str) -> str:
    return f"table{TABLE_NUMBERS[subset]}" if subset in TABLE_NUMBERS else f"table-{subset}"


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
