"""Run the cells of a benchmark, detector × class × seed: each is an entry of `gbad.benchmarks.store`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import pandas as pd
import torch

from gbad.benchmarks.detectors.cell import LoadedTask, load_task, run_cell
from gbad.benchmarks.detectors.detectors import make_detector, read_parameters
from gbad.benchmarks.detectors.protocols import REST, check_layout, protocol_of
from gbad.benchmarks.detectors.tasks import Task, make_tasks
from gbad.benchmarks.store import Entry, load_arrays
from gbad.data.one_class import ClassData, detect_layout, read_classes
from gbad.errors import DataError, DivergedError, GbadError
from gbad.evaluation.measures import FALSE_ALARM_RATE
from gbad.phase2_anomaly import ImageAnomalyDetector
from gbad.runtime.progress import Advance, progress_bar
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.digests import digest, files_digest
from gbad.storage.ledger import claim
from gbad.storage.targets import check_apart

VERSION = 2
"""Raised when a change of the code changes figures: cells of another version are not continued."""

EXAMPLES_FILE = "examples.npz"
"""In the folder of a cell: its most and its least abnormal test images."""

SCORES_FILE = "scores.npz"
"""In the folder of a cell: the scores of its test units, see `run_cell`."""

_RATE_WINDOW = 3600.0  # seconds: progress is reported once an epoch, which may take minutes


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """Settings that all cells of a benchmark share; other settings need another folder.

    Attributes
    ----------
    data : str
        Folder of the data set, which may move.
    protocol : str
        One of `gbad.benchmarks.detectors.protocols.PROTOCOLS`.
    layout : str or None
        See `read_classes`; None finds it from the folder.
    subset : str
        Lists of a data set in SIXray's layout.
    grid : int
        Patches a side; 1 takes whole images.
    normal : tuple of str
        Normal classes, if neither protocol nor data set names them.
    split : tuple
        Numbers of a protocol that draws its lists by numbers, see `make_tasks`; empty takes the printed ones.
    size : int or None
        Side of images (or patches) in pixels; None takes the protocol's.
    preset : str or None
        Hyperparameters of a paper or of its code, see `gbad.phase2_anomaly.preset`; None takes our defaults.
    epochs : int or None
        Epochs of each training; None takes those of the preset, or each detector's own.
    paper_every : int
        Test in paper mode after the last epoch and every so many before it; 0: never.
    max_train, max_test : int or None
        Largest parts; see `make_tasks`.
    parameters : tuple of str
        Hyperparameters, see `read_parameters`.
    device : str
        Where to train and score.
    """

    data: str
    protocol: str
    layout: str | None = None
    subset: str = "10"
    grid: int = 1
    normal: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    size: int | None = None
    preset: str | None = None
    epochs: int | None = None
    paper_every: int = 1
    max_train: int | None = None
    max_test: int | None = None
    parameters: tuple[str, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True)
class Cell:
    """One detector, trained and tested on one task from one seed.

    Attributes
    ----------
    entry : Entry
        Its result, with its example images.
    task : Task
    detector : ImageAnomalyDetector
        Not fitted.
    head : mapping
        JSON types: what the cell is, the first part of its result.
    """

    entry: Entry
    task: Task
    detector: ImageAnomalyDetector[Any]
    head: Mapping[str, Any]


def run_benchmark(
    out: str | Path,
    settings: BenchmarkSettings,
    *,
    detectors: Sequence[str],
    classes: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    command: str = "",
    show_progress: bool = False,
) -> list[dict[str, Any]]:
    """Run the cells that are not done yet, and give the results of all.

    Parameters
    ----------
    out : path-like
        Folder of the benchmark. Detectors, classes and seeds may be added to one that is there.
    settings : BenchmarkSettings
        Settings of all cells.
    detectors : sequence of str
        Names, see `gbad.phase2_anomaly.IMAGE_DETECTORS`. One that is repeated counts once, as do seeds.
    classes : sequence of str, optional
        Classes or categories; default: all.
    seeds : sequence of int
        Seeds of the trainings: all seeds see the same images.
    command : str
        Noted with the results.
    show_progress : bool
        Show a bar with the rate of training.

    Returns
    -------
    list of dict
        One for each cell, as from `run_cell`, with ``dataset``, ``protocol``, ``class``, ``detector``, ``seed``,
        ``params`` (of the detector), ``made_with`` and ``folder``, the cell's below ``OUT/cells``. A training that
        diverged has ``error`` in place of measures.

    Raises
    ------
    DataError
        If the data set does not hold what the settings ask for.
    GbadError
        If a detector or a hyperparameter is unknown, or of a wrong kind or range, or the device cannot be used.
    RunError
        If `out` holds a benchmark of other settings, images, labels or another version.
    """
    out = Path(out)
    check_apart(out, settings.data)
    detectors, seeds = list(dict.fromkeys(detectors)), list(dict.fromkeys(seeds))  # a repeated one counts once
    parameters = read_parameters(settings.parameters, detectors)
    _check_device(settings.device)
    protocol = protocol_of(settings.protocol)
    settings = replace(settings, size=settings.size or protocol.size)
    counts = _counts(settings.split)
    for name in detectors:
        _check_hyperparameters(name, settings, parameters)
    layout = settings.layout or detect_layout(Path(settings.data))
    check_layout(settings.protocol, layout)
    data = read_classes(
        settings.data, settings.size or protocol.size, layout=layout, subset=settings.subset, grid=settings.grid,
        units=protocol.units,
    )  # fmt: skip
    limits = {"max_train": settings.max_train, "max_test": settings.max_test}
    tasks = make_tasks(data, settings.protocol, classes=classes, normal=settings.normal, counts=counts, **limits)
    if few := [task.name for task in tasks if len(task.train) < 2]:
        raise DataError(f"{settings.data}: {', '.join(few)} has one normal training image, and a detector needs two.")
    dataset = data[0].name if len(data) == 1 else Path(settings.data).resolve().name
    # What the data are counts, not where they lie.
    about = {key: value for key, value in asdict(settings).items() if key != "data"} | {"layout": layout}
    about |= {"images": _images(data, Path(settings.data)), "labels": digest(*_labels(data)), "version": VERSION}
    notes = {"command": command, "data": str(Path(settings.data).resolve())}
    claim(out, {"settings": about, "dataset": dataset}, notes)

    head = {"dataset": dataset, "protocol": settings.protocol, "preset": settings.preset}
    cells = [
        _cell(out, task, name, seed, _detector(name, seed, settings, parameters), head, about)
        for seed in seeds
        for task in tasks
        for name in detectors
    ]
    missing = [cell for cell in cells if not cell.entry.is_done]
    total = sum(cell.detector.epochs * len(cell.task.train) for cell in missing)
    loaded: LoadedTask | None = None
    with progress_bar("training", total, show=show_progress and bool(missing), window=_RATE_WINDOW) as advance:
        for cell in missing:
            if loaded is None or loaded.task is not cell.task:
                loaded = None  # its images go before others come
                loaded = load_task(cell.task)
            _run(cell, loaded, settings.paper_every, cell.head["seed"] == min(seeds), command, advance)
    return [cell.entry.result for cell in cells]


def read_examples(out: Path, result: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]] | None:
    """Read the example images of a result; None if none were kept."""
    return _read_arrays(out, result, EXAMPLES_FILE)


def read_scores(out: Path, result: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]] | None:
    """Read the scores of a result's test units, see `run_cell`; None of a training that diverged."""
    return _read_arrays(out, result, SCORES_FILE)


def _read_arrays(out: Path, result: Mapping[str, Any], name: str) -> dict[str, npt.NDArray[Any]] | None:
    path = out / "cells" / result["folder"] / name
    return load_arrays(path) if path.exists() else None


def long_table(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """All measures as one row each: dataset, protocol, class, detector, mode, seed, metric, value.

    The mode is ``clean``, ``paper``, ``control`` for statistics without a network, or ``both`` for what does not depend
    on it.
    """
    keys = ("dataset", "protocol", "class", "detector")
    rows = []
    for result in results:
        parts = {"both": result.get("counts", {}) | result.get("cost", {}), "control": result.get("control", {})}
        parts |= {mode: result.get(mode) or {} for mode in ("clean", "paper")}
        recalls = {f"recall of {kind}": of["recall"] for kind, of in result.get("recall_of", {}).items()}
        parts["clean"] = parts["clean"] | recalls
        if "error" in result:
            parts["both"] = {"diverged": 1}
        rows += [
            {key: result[key] for key in keys} | {"mode": mode, "seed": result["seed"], "metric": name, "value": value}
            for mode, measures in parts.items()
            for name, value in measures.items()
        ]
    return pd.DataFrame(rows, columns=[*keys, "mode", "seed", "metric", "value"])


def loss_table(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean training losses as one row each: class, detector, seed, loss, epoch (from 1), value."""
    rows = [
        (result["class"], result["detector"], result["seed"], loss, epoch, value)
        for result in results
        for loss, values in result.get("losses", {}).items()
        for epoch, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=["class", "detector", "seed", "loss", "epoch", "value"])


def _counts(texts: Sequence[str]) -> list[int | Literal["rest"]] | None:
    """Read the three numbers of ``--split``; None for none."""
    if not texts:
        return None
    if len(texts) != 3 or not all(text == REST or (text.isdecimal() and int(text)) for text in texts):
        raise GbadError(
            f"--split {' '.join(texts)}: not three numbers of images, 1 or more each: normal ones to train on, and "
            "normal and abnormal ones to test. One may be 'rest'."
        )
    return [REST if text == REST else int(text) for text in texts]


def _images(data: Sequence[ClassData], folder: Path) -> str:
    """What decides the pixels: rows by their names, and all files of images and masks by their content."""
    names = [name for one in data for part in (one.train, one.test) for name in part.images.names]
    return digest(names, [files_digest(one.files, folder) for one in data])


def _labels(data: Sequence[ClassData]) -> list[Sequence[str] | npt.NDArray[Any]]:
    """What decides which images are normal: classes, and the class of each image."""
    return [part for one in data for part in (one.classes, one.train.labels, one.test.labels)]


def _detector(
    name: str, seed: int, settings: BenchmarkSettings, parameters: dict[str, Any]
) -> ImageAnomalyDetector[Any]:
    return make_detector(
        name, parameters, preset_name=settings.preset, epochs=settings.epochs, image_size=settings.size,
        random_state=seed, device=settings.device, contamination=FALSE_ALARM_RATE,
    )  # fmt: skip


def _cell(
    out: Path, task: Task, name: str, seed: int, detector: ImageAnomalyDetector[Any], common: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Cell:  # fmt: skip
    # All hyperparameters count, those left at their defaults too: defaults change between releases.
    params: dict[str, Any] = json.loads(json.dumps(detector.get_params()))
    head = {**common, "class": task.name, "seed": seed, "detector": name, "params": params}
    readable = re.sub(r"[^\w.-]+", "_", task.name)
    entry = Entry.of(out / "cells", f"{readable}-{name}-seed{seed}", {**about, **head})
    return Cell(entry, task, detector, head)


def _check_device(name: str) -> None:
    """Find out whether networks can live on a device before anything is written or trained."""
    try:
        torch.ones(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # the latter two where PyTorch was built without it
        reason = re.split(r"\.?\s*\n|\.\s", str(error))[0]  # PyTorch goes on for a page
        raise GbadError(f"--device {name} cannot be used here ({reason}). Choose another one, such as cpu.") from error


def _check_hyperparameters(name: str, settings: BenchmarkSettings, parameters: dict[str, Any]) -> None:
    """Find what a detector would refuse before anything is written or trained."""
    try:
        _detector(name, 0, settings, parameters).check_parameters()
    except (TypeError, ValueError) as error:
        options = [f"--size {settings.size}"]
        options += [f"--epochs {settings.epochs}"] if settings.epochs is not None else []
        options += [f"--preset {settings.preset}"] if settings.preset is not None else []
        options += [f"--set {' '.join(settings.parameters)}"] if settings.parameters else []
        raise GbadError(f"{name} with {', '.join(options)}: {error}") from error


def _run(cell: Cell, loaded: LoadedTask, paper_every: int, keep_examples: bool, command: str, advance: Advance) -> None:
    """Run a cell; a training that diverges has its error for a result."""
    epochs, done = cell.detector.epochs, 0

    def on_epoch(epoch: int) -> None:
        nonlocal done
        advance((epoch - done) * len(loaded.train))
        done = epoch

    examples = cell.entry.folder / EXAMPLES_FILE if keep_examples else None

    def compute() -> dict[str, Any]:
        result: dict[str, Any]
        try:
            result = run_cell(
                loaded, cell.detector, cell.entry.work, paper_every=paper_every, examples=examples,
                kept_scores=cell.entry.folder / SCORES_FILE, on_epoch=on_epoch,
            )  # fmt: skip
        except DivergedError as error:
            result = {"error": str(error)}
        made_with = {"versions": library_versions(), "hardware": hardware(), "command": command}
        return {**cell.head, **result, "made_with": made_with, "folder": cell.entry.folder.name}

    cell.entry.complete(compute)
    advance((epochs - done) * len(loaded.train))
