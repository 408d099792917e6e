"""Summaries of a benchmark over classes and seeds, and the Markdown table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gbad.benchmarks.detectors.detectors import DETECTORS
from gbad.benchmarks.detectors.paper_mode import PAPER_LABEL, paper_label
from gbad.evaluation.bootstrap import percentiles
from gbad.evaluation.measures import FALSE_ALARM_RATE, t_interval

MEASURES = ("roc_auc", "pr_auc", "recall", "false_alarm_rate", "pixel_roc_auc", "pro")
_PAPER_ONLY = ("roc_auc_last_epoch", "roc_auc_shuffled")
COSTS = ("parameters", "inference_parameters", "ms_batch_1", "ms_batch_64", "seconds_per_epoch")
MEANINGS = {
    "one-vs-rest": "the named class is normal, all other classes are abnormal",
    "leave-one-class-out": "the named class is abnormal, all other classes are normal",
    "normal-vs-abnormal": "the data set or the command says which classes are normal",
}

DETECTION = tuple(range(13))
LOCALISATION_AND_COST = (0, *range(13, 19))
"""Columns of `headers` and `rows` that make up each of the two tables of all detectors."""

_DASH = "–"


def summarise(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sum up each detector over classes and seeds.

    Parameters
    ----------
    results : sequence of dict
        As from `run_benchmark`.

    Returns
    -------
    list of dict
        One for each detector, in the order of `results`: ``detector``; ``cells`` and ``diverged``, numbers of
        trainings; the median of each of `COSTS`; and for each mode a dict with

        - the mean of each measure over all cells (NaN where none has it),
        - ``seeds_interval``: 95 % t-interval of the mean ROC-AUC over classes, one value a seed (NaN for one seed),
        - ``rows_interval``: 95 % bootstrap interval of the mean ROC-AUC over classes and seeds, test images resampled,
        - ``classes``: mean ROC-AUC over seeds of each class.
    """
    return [_of_detector(name, results) for name in dict.fromkeys(result["detector"] for result in results)]


def _of_detector(name: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    every = [result for result in results if result["detector"] == name]
    good = [result for result in every if "error" not in result]
    costs = {cost: _median([result["cost"][cost] for result in good]) for cost in COSTS}
    modes = {mode: _of_mode(mode, good, len({result["class"] for result in every})) for mode in ("clean", "paper")}
    return {"detector": name, "cells": len(every), "diverged": len(every) - len(good)} | costs | modes


def _of_mode(mode: str, results: Sequence[Mapping[str, Any]], n_classes: int) -> dict[str, Any]:
    having = [result for result in results if result[mode]]
    summary: dict[str, Any] = {
        measure: _mean([result[mode].get(measure) for result in having]) for measure in MEASURES + _PAPER_ONLY
    }
    seeds = sorted({result["seed"] for result in having})
    by_seed = [[result[mode]["roc_auc"] for result in having if result["seed"] == seed] for seed in seeds]
    summary["seeds"] = [_mean(areas) for areas in by_seed if len(areas) == n_classes]
    summary["seeds_interval"] = t_interval(summary["seeds"])
    drawn = [_floats(result["resamples"][mode]) for result in having]
    summary["rows_interval"] = percentiles(np.mean(drawn, axis=0) if drawn else [])
    classes = dict.fromkeys(result["class"] for result in having)
    summary["classes"] = {
        name: _mean([result[mode]["roc_auc"] for result in having if result["class"] == name]) for name in classes
    }
    return summary


def headers(level: float = FALSE_ALARM_RATE) -> list[str]:
    """Titles of the columns of `rows`."""
    return [
        "detector", "ROC-AUC, clean", "95 % over seeds", "95 % over test images", f"ROC-AUC, {PAPER_LABEL}",
        "95 % over test images, " + PAPER_LABEL, "last epoch, test rows shuffled, " + PAPER_LABEL,
        "PR-AUC, clean", f"PR-AUC, {PAPER_LABEL}",
        f"recall at {level:.0%} false alarms, clean", "false alarms on test rows, clean",
        f"recall at {level:.0%} false alarms, {PAPER_LABEL}", "leaks of its published code", "pixel ROC-AUC, clean",
        "PRO up to 30% false positives, clean",
        "parameters", "of them in scoring", "ms an image, batch 1", "ms an image, batch 64",
    ]  # fmt: skip


def rows(summaries: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Give the table of all detectors as texts; measures that no cell has are dashes."""
    table = []
    for one in summaries:
        leaks = ", ".join(DETECTORS[one["detector"]].published_leaks)
        clean, paper = one["clean"], one["paper"]
        diverged = f" ({one['diverged']} of {one['cells']} diverged)" if one["diverged"] else ""
        table.append([
            one["detector"] + diverged, number(clean["roc_auc"]), interval(clean["seeds_interval"]),
            interval(clean["rows_interval"]), number(paper["roc_auc"]), interval(paper["rows_interval"]),
            number(paper["roc_auc_shuffled"]), number(clean["pr_auc"]), number(paper["pr_auc"]),
            number(clean["recall"]), number(clean["false_alarm_rate"]), number(paper["recall"]),
            leaks or "none: paper-style", number(clean["pixel_roc_auc"]), number(clean["pro"]),
            count(one["parameters"]), count(one["inference_parameters"]),
            milliseconds(one["ms_batch_1"]), milliseconds(one["ms_batch_64"]),
        ])  # fmt: skip
    return table


def columns(table: Sequence[Sequence[str]], chosen: Sequence[int]) -> list[list[str]]:
    """Take some columns of a table."""
    return [[row[column] for column in chosen] for row in table]


def class_headers(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Titles of the columns of `class_rows`."""
    modes = (f"{one['detector']}, {mode}" for one in summaries for mode in ("clean", paper_label(one["detector"])))
    return ["class", *modes, "no network"]


def class_rows(summaries: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """ROC-AUC of each class, mean over seeds, clean and paper mode of each detector side by side; then the means."""
    control = {result["class"]: result["control"]["roc_auc"] for result in results if "control" in result}
    columns_of = [(one, mode) for one in summaries for mode in ("clean", "paper")]
    table = [
        [name, *(number(one[mode]["classes"].get(name)) for one, mode in columns_of), number(area)]
        for name, area in control.items()
    ]
    means = (number(one[mode]["roc_auc"]) for one, mode in columns_of)
    return [*table, ["mean", *means, number(_mean(list(control.values())))]]


def notes(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the figures mean and what they were made on, one sentence or two each."""
    protocol = results[0]["protocol"]
    seeds = sorted({result["seed"] for result in results})
    counts = [result["counts"] for result in results if "counts" in result]
    share = _mean([one["test_abnormal"] / (one["test_abnormal"] + one["test_normal"]) for one in counts])
    return [
        f"Protocol {protocol}: {MEANINGS[protocol]}.",
        f"{len({result['class'] for result in results})} class(es) or categories, seeds {', '.join(map(str, seeds))}; "
        "figures are means over them. Seeds decide the training only.",
        "Clean: networks in eval mode, range and threshold from training rows, the last epoch. Each image is scored by "
        "itself.",
        *_about_paper_mode(list(dict.fromkeys(result["detector"] for result in results))),
        "Last epoch, test rows shuffled: paper mode without the choice of the epoch and without the order that puts "
        "all normal test images first.",
        "No network: distance of an image's mean, standard deviation and total variation from those of the training "
        "images. A detector that is no better than that has learnt little else.",
        f"Recall, clean: the threshold is the {1 - FALSE_ALARM_RATE:.0%} quantile of the training rows, so the false "
        "alarms on test rows are given beside it. Recall in paper mode: the threshold is read off the test set.",
        "95 % over seeds: Student's t-interval of the mean over classes. 95 % over test images: bootstrap, an image "
        "with all its patches, joint for classes that are tested on the same images.",
        f"Chance: ROC-AUC 0.500, PR-AUC {number(share)} (the share of abnormal images). Parameters: trainable ones; "
        "those in scoring are all in the layers that scoring calls. Times: median, images decoded, "
        "networks built; the networks see as many images at a time as the batch has.",
    ]


def _about_paper_mode(detectors: Sequence[str]) -> list[str]:
    """Say of each detector whether its figures of paper mode are what its published code did."""
    as_published = [name for name in detectors if DETECTORS[name].published_leaks]
    others = [name for name in detectors if name not in as_published]
    label = f"{PAPER_LABEL[0].upper()}{PAPER_LABEL[1:]}"
    about = []
    if as_published:
        about.append(
            f"{label}, {', '.join(as_published)}: the epoch with the best test ROC-AUC, as in the published code, and "
            "networks in train mode, where it left them: with the statistics of batches of test images, all normal "
            "ones first."
        )
    if others:
        about.append(
            f"{label}, {', '.join(others)}: paper-style. The epoch with the best test ROC-AUC, networks in eval mode. "
            "No published code of these detectors chooses it so."
        )
    return about


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """Write the tables, what they mean and how they were made as Markdown."""
    summaries = summarise(results)
    made_with = results[0]["made_with"]
    versions = ", ".join(f"{name} {version}" for name, version in made_with["versions"].items())
    machine = ", ".join(f"{name}: {value}" for name, value in made_with["hardware"].items())
    table = [headers(), *rows(summaries)]
    return "\n".join([
        f"# Detectors on {results[0]['dataset']}, {results[0]['protocol']}",
        "",
        *_table(*columns(table, DETECTION)),
        "",
        *_table(*columns(table, LOCALISATION_AND_COST)),
        "",
        *(f"- {note}" for note in notes(results)),
        "",
        "## ROC-AUC by class",
        "",
        *_table(class_headers(summaries), *class_rows(summaries, results)),
        "",
        "## How it was made",
        "",
        *(f"- Command: `{command}`" for command in commands(results)),
        f"- Hardware: {machine}",
        f"- Versions: {versions}",
        "",
    ])  # fmt: skip


def commands(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Commands that the results were made with, each once."""
    return list(dict.fromkeys(result["made_with"]["command"] for result in results))


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return _DASH if _missing(value) else f"{value:.3f}"


def interval(bounds: Sequence[float]) -> str:
    """Write ``low to high``, or a dash."""
    return _DASH if any(_missing(bound) for bound in bounds) else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def count(value: float | None) -> str:
    """Whole number with separators, or a dash."""
    return _DASH if value is None or _missing(value) else f"{round(value):,}"


def milliseconds(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return _DASH if _missing(value) else f"{value:.3g}"


def _table(titles: Sequence[str], *lines: Sequence[str]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(titles), "|" + "---|" * len(titles), *map(line, lines)]


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], float)


def _mean(values: Sequence[float | None]) -> float:
    found = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


def _median(values: Sequence[float | None]) -> float:
    found = [value for value in values if value is not None]
    return float(np.median(found)) if found else math.nan
