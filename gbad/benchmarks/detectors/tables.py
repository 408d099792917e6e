"""Summaries of a benchmark over classes and seeds, and the Markdown table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.detectors.paper_mode import PAPER_LABEL, paper_label
from gbad.benchmarks.detectors.protocols import protocol_of
from gbad.evaluation.bootstrap import percentiles
from gbad.evaluation.measures import FALSE_ALARM_RATE, t_interval
from gbad.phase2_anomaly import IMAGE_DETECTORS
from gbad.report.tables import Column, Table, keyed

Result = Mapping[str, Any]
"""One cell, as from `gbad.benchmarks.detectors.runner.run_benchmark`."""

MEASURES = ("roc_auc", "pr_auc", "eer", "recall", "false_alarm_rate", "pixel_roc_auc", "pro")
_PAPER_ONLY = ("roc_auc_last_epoch", "roc_auc_shuffled")
COSTS = ("parameters", "inference_parameters", "ms_batch_1", "ms_batch_64", "seconds_per_epoch")
RECALL_HEADING = f"Recall by abnormal class, at {FALSE_ALARM_RATE:.0%} false alarms on training rows"

_DASH = "–"

Mode = Literal["clean", "paper"]
MODES: tuple[Mode, ...] = ("clean", "paper")


@dataclass(frozen=True)
class ModeSummary:
    """Figures of a detector in one mode.

    Attributes
    ----------
    measures : dict of str to float
        Mean of each measure over all cells; NaN where none has it.
    seeds : list of float
        Mean ROC-AUC over classes of each seed.
    seeds_interval : (float, float)
        95 % t-interval of the mean of `seeds`; NaN for one seed.
    rows_interval : (float, float)
        95 % bootstrap interval of the mean ROC-AUC over classes and seeds, test images resampled.
    classes : dict of str to float
        Mean ROC-AUC over seeds of each class.
    """

    measures: dict[str, float]
    seeds: list[float]
    seeds_interval: tuple[float, float]
    rows_interval: tuple[float, float]
    classes: dict[str, float]

    @property
    def roc_auc(self) -> float:
        """Mean ROC-AUC over all cells."""
        return self.measures["roc_auc"]


@dataclass(frozen=True)
class Summary:
    """Figures of a detector over classes and seeds.

    Attributes
    ----------
    detector : str
    cells, diverged : int
        Numbers of trainings.
    costs : dict of str to float
        Median of each of `COSTS`.
    clean, paper : ModeSummary
    """

    detector: str
    cells: int
    diverged: int
    costs: dict[str, float]
    clean: ModeSummary
    paper: ModeSummary


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Sum up each detector over classes and seeds, in the order of `results` (as from `run_benchmark`)."""
    return [_of_detector(name, results) for name in dict.fromkeys(result["detector"] for result in results)]


def _of_detector(name: str, results: Sequence[Result]) -> Summary:
    every = [result for result in results if result["detector"] == name]
    good = [result for result in every if "error" not in result]
    costs = {cost: _median([result["cost"][cost] for result in good]) for cost in COSTS}
    clean, paper = (_of_mode(mode, good, len({result["class"] for result in every})) for mode in MODES)
    return Summary(name, len(every), len(every) - len(good), costs, clean, paper)


def _of_mode(mode: Mode, results: Sequence[Result], n_classes: int) -> ModeSummary:
    having = [result for result in results if result[mode]]
    measures = {name: _mean([result[mode].get(name) for result in having]) for name in MEASURES + _PAPER_ONLY}
    order = sorted({result["seed"] for result in having})
    by_seed = [[result[mode]["roc_auc"] for result in having if result["seed"] == seed] for seed in order]
    seeds = [_mean(areas) for areas in by_seed if len(areas) == n_classes]
    drawn = [_floats(result["resamples"][mode]) for result in having]
    low, high = percentiles(np.mean(drawn, axis=0) if drawn else [])
    names = dict.fromkeys(result["class"] for result in having)
    classes = {name: _mean([one[mode]["roc_auc"] for one in having if one["class"] == name]) for name in names}
    return ModeSummary(measures, seeds, t_interval(seeds), (low, high), classes)


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return _DASH if value is None or math.isnan(value) else f"{value:.3f}"


def _interval(bounds: Sequence[float]) -> str:
    return _DASH if any(map(math.isnan, bounds)) else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _count(value: float) -> str:
    return _DASH if math.isnan(value) else f"{round(value):,}"


def _milliseconds(value: float) -> str:
    return _DASH if math.isnan(value) else f"{value:.3g}"


def _name(one: Summary) -> str:
    return one.detector + (f" ({one.diverged} of {one.cells} diverged)" if one.diverged else "")


def _measure(title: str, mode: Mode, measure: str) -> Column[Summary]:
    return Column(title, lambda one: getattr(one, mode).measures[measure], number)


def _rows_interval(title: str, mode: Mode) -> Column[Summary]:
    return Column(title, lambda one: getattr(one, mode).rows_interval, _interval)


def _cost(title: str, cost: str, text: Callable[[float], str]) -> Column[Summary]:
    return Column(title, lambda one: one.costs[cost], text)


_RECALL = f"recall at {FALSE_ALARM_RATE:.0%} false alarms"
_DETECTOR: Column[Summary] = Column("detector", _name, align="left")
_ROC_AUC = _measure("ROC-AUC, clean", "clean", "roc_auc")
_OVER_IMAGES = _rows_interval("95 % over test images", "clean")
_PAPER_ROC_AUC = _measure(f"ROC-AUC, {PAPER_LABEL}", "paper", "roc_auc")
_CLEAN_RECALL = _measure(f"{_RECALL}, clean", "clean", "recall")
_PARAMETERS = _cost("parameters", "parameters", _count)
_MS_64 = _cost("ms an image, batch 64", "ms_batch_64", _milliseconds)

DETECTION: tuple[Column[Summary], ...] = (
    _DETECTOR,
    _ROC_AUC,
    Column("95 % over seeds", lambda one: one.clean.seeds_interval, _interval),
    _OVER_IMAGES,
    _PAPER_ROC_AUC,
    _rows_interval(f"95 % over test images, {PAPER_LABEL}", "paper"),
    _measure(f"last epoch, test rows shuffled, {PAPER_LABEL}", "paper", "roc_auc_shuffled"),
    _measure("PR-AUC, clean", "clean", "pr_auc"),
    _measure(f"PR-AUC, {PAPER_LABEL}", "paper", "pr_auc"),
    _measure("equal error rate, clean", "clean", "eer"),
    _measure(f"equal error rate, {PAPER_LABEL}", "paper", "eer"),
    _CLEAN_RECALL,
    _measure("false alarms on test rows, clean", "clean", "false_alarm_rate"),
    _measure(f"{_RECALL}, {PAPER_LABEL}", "paper", "recall"),
    Column(
        "leaks of its published code",
        lambda one: ", ".join(IMAGE_DETECTORS[one.detector].published_leaks) or "none: paper-style",
    ),
)

LOCALISATION_AND_COST: tuple[Column[Summary], ...] = (
    _DETECTOR,
    _measure("pixel ROC-AUC, clean", "clean", "pixel_roc_auc"),
    _measure("PRO up to 30% false positives, clean", "clean", "pro"),
    _PARAMETERS,
    _cost("of them in scoring", "inference_parameters", _count),
    _cost("ms an image, batch 1", "ms_batch_1", _milliseconds),
    _MS_64,
)

CLEAN, IN_PAPER_MODE = (
    tuple(column for column in DETECTION if column is _DETECTOR or (PAPER_LABEL in column.title) == in_paper_mode)
    for in_paper_mode in (False, True)
)
"""Columns of `DETECTION` by mode, for a page."""

ON_A_SCREEN = (_DETECTOR, _ROC_AUC, _OVER_IMAGES, _PAPER_ROC_AUC, _CLEAN_RECALL, _PARAMETERS, _MS_64)
"""Columns that fit on a terminal, and come first on a page; the files have all."""


def class_table(summaries: Sequence[Summary], results: Sequence[Result]) -> Table[dict[str, Any]]:
    """ROC-AUC of each class, mean over seeds: both modes of each detector side by side; the means come last."""
    control = {result["class"]: result["control"]["roc_auc"] for result in results if "control" in result}
    of_modes = {
        f"{one.detector}, {'clean' if mode == 'clean' else paper_label(one.detector)}": getattr(one, mode)
        for one in summaries
        for mode in MODES
    }
    rows = [
        {"class": name, "no network": area, **{title: of.classes.get(name) for title, of in of_modes.items()}}
        for name, area in control.items()
    ]
    means = {title: of.roc_auc for title, of in of_modes.items()}
    rows.append({"class": "mean", "no network": _mean([*control.values()]), **means})
    columns = [Column(title, itemgetter(title), number) for title in (*of_modes, "no network")]
    return Table([*keyed("class", left=("class",)), *columns], rows)


def recall_table(results: Sequence[Result]) -> Table[dict[str, Any]] | None:
    """Recall of each abnormal class, clean, mean over seeds; None if no task tests more than one abnormal class."""
    of_kinds: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in results:
        for kind, of in result.get("recall_of", {}).items():
            row = of_kinds.setdefault((result["class"], kind), {"units": [of["count"]]})
            row.setdefault(result["detector"], []).append(of["recall"])
    if len(of_kinds) <= len({task for task, _ in of_kinds}):
        return None
    rows: list[dict[str, Any]] = [
        {"class": task, "abnormal class": kind} | {name: _mean(values) for name, values in row.items()}
        for (task, kind), row in of_kinds.items()
    ]
    names = dict.fromkeys(result["detector"] for result in results)
    keys = keyed("class", "abnormal class", left=("class", "abnormal class"))
    columns = [Column(name, partial(_cell_of, name), number) for name in names]
    return Table([*keys, Column("units", itemgetter("units"), _count), *columns], rows)


def _cell_of(name: str, row: Mapping[str, Any]) -> float | None:
    return row.get(name)


def notes(results: Sequence[Result]) -> list[str]:
    """Say what the figures mean and what they were made on, one sentence or two each."""
    protocol = results[0]["protocol"]
    seeds = sorted({result["seed"] for result in results})
    counts = [result["counts"] for result in results if "counts" in result]
    share = _mean([one["test_abnormal"] / (one["test_abnormal"] + one["test_normal"]) for one in counts])
    return [
        f"Protocol {protocol}: {protocol_of(protocol).meaning}.",
        f"{len({result['class'] for result in results})} class(es) or categories, seeds {', '.join(map(str, seeds))}; "
        "figures are means over them. Seeds decide the training only.",
        "Clean: networks in eval mode, range and threshold from training rows, the last epoch. Each image is scored by "
        "itself.",
        *_about_settings(results),
        *_about_paper_mode(list(dict.fromkeys(result["detector"] for result in results))),
        "Last epoch, test rows shuffled: paper mode without the choice of the epoch and without the order that puts "
        "all normal test images first.",
        "No network: distance of an image's mean, standard deviation and total variation from those of the training "
        "images. A detector that is no better than that has learnt little else.",
        f"Recall, clean: the threshold is the {1 - FALSE_ALARM_RATE:.0%} quantile of the training rows, so the false "
        "alarms on test rows are given beside it. Recall in paper mode: the threshold is read off the test set.",
        "Equal error rate: where the share of normal units that raise an alarm is the share of abnormal ones that do "
        "not.",
        "95 % over seeds: Student's t-interval of the mean over classes. 95 % over test images: bootstrap, an image "
        "with all its patches, or a clip with all its frames, joint for classes that are tested on the same images.",
        f"Chance: ROC-AUC 0.500, PR-AUC {number(share)} (the share of abnormal images). Parameters: trainable ones; "
        "those in scoring are all in the layers that scoring calls. Times: median, images decoded, "
        "networks built; the networks see as many images at a time as the batch has.",
    ]


def _about_settings(results: Sequence[Result]) -> list[str]:
    """Say where the hyperparameters come from, and how long each detector was trained."""
    epochs = {result["detector"]: result["params"]["epochs"] for result in results}
    preset = results[0].get("preset")
    meaning = {
        "published": "those that the papers print, and our defaults where they print none",
        "released": "those of the authors' code",
        None: "our defaults",
    }
    told = ", ".join(f"{name} {count}" for name, count in epochs.items())
    return [f"Hyperparameters: {meaning[preset]}, but for what the command says. Epochs: {told}."]


def _about_paper_mode(detectors: Sequence[str]) -> list[str]:
    """Say of each detector whether its figures of paper mode are what its published code did."""
    as_published = [name for name in detectors if IMAGE_DETECTORS[name].published_leaks]
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


def markdown(results: Sequence[Result]) -> str:
    """Write the tables, what they mean and how they were made as Markdown."""
    summaries = summarise(results)
    made_with = results[0]["made_with"]
    versions = ", ".join(f"{name} {version}" for name, version in made_with["versions"].items())
    machine = ", ".join(f"{name}: {value}" for name, value in made_with["hardware"].items())
    return "\n".join([
        f"# Detectors on {results[0]['dataset']}, {results[0]['protocol']}",
        "",
        Table(DETECTION, summaries).markdown(),
        "",
        Table(LOCALISATION_AND_COST, summaries).markdown(),
        "",
        *(f"- {note}" for note in notes(results)),
        "",
        "## ROC-AUC by class",
        "",
        class_table(summaries, results).markdown(),
        "",
        *_recalls(results),
        "## How it was made",
        "",
        *(f"- Command: `{command}`" for command in commands(results)),
        f"- Hardware: {machine}",
        f"- Versions: {versions}",
        "",
    ])  # fmt: skip


def _recalls(results: Sequence[Result]) -> list[str]:
    table = recall_table(results)
    return [] if table is None else [f"## {RECALL_HEADING}", "", table.markdown(), ""]


def commands(results: Sequence[Result]) -> list[str]:
    """Commands that the results were made with, each once."""
    return list(dict.fromkeys(result["made_with"]["command"] for result in results))


def _floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], float)


def _mean(values: Sequence[float | None]) -> float:
    found = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


def _median(values: Sequence[float | None]) -> float:
    found = [value for value in values if value is not None]
    return float(np.median(found)) if found else math.nan
