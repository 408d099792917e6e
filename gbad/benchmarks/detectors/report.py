"""The HTML page about a benchmark of image-level detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from gbad.benchmarks.detectors.loss_plots import loss_curves
from gbad.benchmarks.detectors.paper_mode import paper_label
from gbad.benchmarks.detectors.plots import roc_auc_figure
from gbad.benchmarks.detectors.score_plots import Scored, histograms, roc_curves
from gbad.benchmarks.detectors.tables import (
    CLEAN,
    IN_PAPER_MODE,
    LOCALISATION_AND_COST,
    MODES,
    ON_A_SCREEN,
    RECALL_HEADING,
    Result,
    class_table,
    commands,
    notes,
    number,
    recall_table,
    summarise,
)
from gbad.benchmarks.page import Card, Gallery, Section, Tile, write_benchmark_page
from gbad.report.gallery import data_address, overlaid
from gbad.report.tables import Column, Table

_SMALLEST_SIDE = 128  # small images are enlarged to it without smoothing
_LARGEST_SIDE = 320


Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class DetectorFigure:
    """A figure about one detector: name of its file, detector, caption, figure."""

    name: str
    detector: str
    caption: str
    figure: Figure


def loss_figures(results: Sequence[Result]) -> list[DetectorFigure]:
    """Draw the losses of each detector's trainings by epoch; detectors without any are left out."""
    names = dict.fromkeys(result["detector"] for result in results)
    return [
        DetectorFigure(
            f"losses-{name}",
            name,
            f"{name}: mean of each training loss by epoch. Each line is a class and a seed.",
            figure,
        )
        for name in names
        if (figure := loss_curves(results, name)) is not None
    ]


def score_figures(results: Sequence[Result], scores: Callable[[Result], Arrays | None]) -> list[DetectorFigure]:
    """Draw histograms of scores and ROC curves by class for each detector and mode; of the lowest seed.

    Parameters
    ----------
    results : sequence of dict
        As from `run_benchmark`.
    scores : callable
        Gives the scores of a result, or None: ``abnormal``, ``clean``, ``paper``; see `run_cell`.
    """
    seed = min(result["seed"] for result in results)
    found: list[DetectorFigure] = []
    for name in dict.fromkeys(result["detector"] for result in results):
        of_seed = [result for result in results if (result["detector"], result["seed"]) == (name, seed)]
        arrays = {result["class"]: kept for result in of_seed if (kept := scores(result)) is not None}
        for mode in MODES:
            tasks = {task: Scored(kept["abnormal"], kept[mode]) for task, kept in arrays.items() if mode in kept}
            if not tasks:
                continue
            label = "clean" if mode == "clean" else paper_label(name)
            found += [
                DetectorFigure(
                    f"scores-{name}-{mode}", name, f"{name}, {label}: shares of normal and of abnormal test units by "
                    f"their score. Seed {seed}.", histograms(tasks, "score"),
                ),
                DetectorFigure(
                    f"roc-{name}-{mode}", name, f"{name}, {label}: ROC curve of each class with its area. Seed {seed}.",
                    roc_curves(tasks),
                ),
            ]  # fmt: skip
    return found


def _detector_sections(figures: Sequence[DetectorFigure]) -> list[Section]:
    detectors = dict.fromkeys(one.detector for one in figures)
    return [
        Section(
            f"Scores and training of {name}", plots={one.caption: one.figure for one in figures if one.detector == name}
        )
        for name in detectors
    ]


def _by_mode(table: Table[dict[str, Any]]) -> list[Section]:
    """A table of both modes as two: side by side, the modes of several detectors are wider than a page."""
    first, *others = table.columns
    of_modes: dict[str, list[Column[dict[str, Any]]]] = {"clean": [], "paper mode": []}
    for column in others:
        of_modes["clean" if column.title.endswith(("clean", "no network")) else "paper mode"].append(column)
    return [Section(f"By class, {mode}", [Table([first, *own], table.rows)]) for mode, own in of_modes.items()]


def write_report(
    path: str | Path,
    results: Sequence[Result],
    examples: Callable[[Result], Arrays | None],
    of_detectors: Sequence[DetectorFigure] = (),
) -> None:
    """Write the page of a benchmark.

    Parameters
    ----------
    path : path-like
    results : sequence of dict
        As from `run_benchmark`.
    examples : callable
        Gives the example images of a result, or None: ``scores``, ``abnormal``, ``images`` and, if the detector has
        them, ``maps``; see `run_cell`.
    of_detectors : sequence of DetectorFigure
        As from `score_figures` and `loss_figures`.
    """
    summaries = summarise(results)
    first = results[0]
    best = max(summaries, key=lambda one: np.nan_to_num(one.clean.roc_auc))
    points = "Points: means over classes and seeds. Lines: 95 % bootstrap intervals over test images. Ticks: classes."
    diverged = [
        f"{one['detector']}, {one['class']}, seed {one['seed']}: {one['error']}" for one in results if "error" in one
    ]
    recalls = recall_table(results)
    write_benchmark_page(
        path,
        kicker="Benchmark of image-level anomaly detectors",
        title=f"Detectors on {first['dataset']}, {first['protocol']}",
        cards=[
            Card("Best clean ROC-AUC", number(best.clean.roc_auc), note=best.detector),
            Card(f"The same detector, {paper_label(best.detector)}", number(best.paper.roc_auc)),
        ],
        sections=[
            Section(
                "Detection",
                [Table(ON_A_SCREEN, summaries)],
                {points: roc_auc_figure(summaries)},
                diverged,
                (
                    Section("All figures, clean", [Table(CLEAN, summaries)]),
                    Section("All figures, paper mode", [Table(IN_PAPER_MODE, summaries)]),
                    *_by_mode(class_table(summaries, results)),
                    *([] if recalls is None else [Section(RECALL_HEADING, [recalls])]),
                    Section("Localisation and cost", [Table(LOCALISATION_AND_COST, summaries)]),
                    Section("What the figures mean", notes=notes(results)),
                ),
            ),
            *([Section("Scores and losses", details=_detector_sections(of_detectors))] if of_detectors else []),
        ],
        galleries=[_gallery(result, shown) for result in results if (shown := examples(result)) is not None],
        about_galleries="Test images with the highest and the lowest clean scores, and the anomaly map where the "
        "detector has one, scaled to each image. One seed.",
        info=first["made_with"] | {"command": "\n".join(commands(results))},
    )


def _gallery(result: Result, examples: Mapping[str, npt.NDArray[Any]]) -> Gallery:
    tiles = []
    for row, score in enumerate(examples["scores"].tolist()):
        image = _picture(examples["images"][row])
        pictures = [data_address(image)]
        if "maps" in examples:
            pictures.append(data_address(overlaid(image, examples["maps"][row].astype(float))))
        abnormal = bool(examples["abnormal"][row])
        what = "abnormal" if abnormal else "normal"
        tiles.append(Tile(f"{what} image", pictures, [what], f"score {score:.3f}", abnormal))
    half = len(tiles) // 2
    halves = {"Most abnormal by its score": tiles[:half], "Least abnormal by its score": tiles[half:]}
    return Gallery(f"{result['detector']}, {result['class']}", halves)


def _picture(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).convert("RGB")
    factor = -(-_SMALLEST_SIDE // image.width)
    if factor > 1:
        return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return image
