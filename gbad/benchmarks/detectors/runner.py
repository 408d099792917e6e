"""Run the cells of a benchmark, detector × class × seed; each becomes one JSON file, so that a killed run goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gbad.benchmarks.detectors.cell import LoadedTask, load_task, run_cell
from gbad.benchmarks.detectors.detectors import make_detector, read_parameters
from gbad.benchmarks.detectors.protocols import make_tasks, task_names
from gbad.data.one_class import ClassData, detect_layout, read_classes
from gbad.errors import DataError, DivergedError, GbadError, RunError
from gbad.evaluation.measures import FALSE_ALARM_RATE
from gbad.phase2_anomaly import ImageAnomalyDetector
from gbad.runtime.progress import Advance, progress_bar
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.digests import digest, files_digest
from gbad.storage.files import read_json, remove_folder, write_json
from gbad.storage.ledger import claim
from gbad.storage.plain_data import load_plain

VERSION = 4
"""Raised when the code changes in a way that changes figures; cells of another version are not continued."""

_RATE_WINDOW = 3600.0  # seconds: progress is reported once an epoch, which may take minutes


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all cells of a benchmark agree in; another value needs another folder.

    Attributes
    ----------
    data : str
        Folder of the data set; it may move.
    protocol : str
        One of `gbad.benchmarks.detectors.protocols.PROTOCOLS`.
    layout : str or None
        See `read_classes`; None tells it from the folder.
    subset : str
        Lists of a data set in SIXray's layout.
    grid : int
        Patches a side; 1 takes whole images.
    normal : tuple of str
        Normal classes under ``normal-vs-abnormal``, where the data set does not say.
    size : int
        Side of images (or patches) in pixels.
    epochs : int
        Of each training.
    paper_every : int
        Test in paper mode after the last epoch and every so many before it; 0 does without.
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
    size: int = 32
    epochs: int = 15
    paper_every: int = 1
    max_train: int | None = None
    max_test: int | None = None
    parameters: tuple[str, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True)
class Cell:
    """Place of one cell in the benchmark."""

    task: str
    detector: str
    seed: int

    def path(self, out: Path, folder: str, suffix: str = "") -> Path:
        """Give the path of one of the cell's files."""
        return out / folder / re.sub(r"[^\w.-]+", "_", self.task) / self.detector / f"seed{self.seed}{suffix}"


def run_benchmark(
    out: str | Path,
    settings: Settings,
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
    settings : Settings
        What all its cells agree in.
    detectors : sequence of str
        Names, see `DETECTORS`. One that is repeated counts once, as do seeds.
    classes : sequence of str, optional
        Classes or categories; default: all.
    seeds : sequence of int
        They decide the training only: all seeds see the same images.
    command : str
        Noted with the results.
    show_progress : bool
        Show a bar with the rate of training.

    Returns
    -------
    list of dict
        One for each cell, as from `run_cell`, with ``dataset``, ``protocol``, ``class``, ``detector``, ``seed``,
        ``params`` (of the detector) and ``made_with``. A training that diverged has ``error`` in place of measures.

    Raises
    ------
    DataError
        If the data set does not hold what the settings ask for.
    GbadError
        If a detector or a hyperparameter is unknown, or of a wrong kind or range, or the device cannot be used.
    RunError
        If `out` holds a benchmark of other settings, images, labels or another version, or a cell with other
        hyperparameters.
    """
    out = Path(out)
    detectors, seeds = list(dict.fromkeys(detectors)), list(dict.fromkeys(seeds))  # a repeated one counts once
    parameters = read_parameters(settings.parameters, detectors)
    _check_device(settings.device)
    for name in detectors:
        _check_hyperparameters(name, settings, parameters)
    layout = settings.layout or detect_layout(Path(settings.data))
    data = read_classes(settings.data, settings.size, layout=layout, subset=settings.subset, grid=settings.grid)
    limits = {"max_train": settings.max_train, "max_test": settings.max_test}
    tasks = make_tasks(data, settings.protocol, classes=classes, normal=settings.normal, **limits)
    if few := [task.name for task in tasks if len(task.train) < 2]:
        raise DataError(f"{settings.data}: {', '.join(few)} has one normal training image, and a detector needs two.")
    every = task_names(data, settings.protocol, settings.normal)  # also those that are added later
    if len({Cell(name, "", 0).path(out, "").parts for name in every}) < len(every):
        raise GbadError(f"{settings.data}: two of {', '.join(every)} give the same file name. Rename a folder.")
    names = [task.name for task in tasks]
    dataset = data[0].name if len(data) == 1 else Path(settings.data).resolve().name
    # What the data are counts, not where they lie.
    about = {key: value for key, value in asdict(settings).items() if key != "data"} | {"layout": layout}
    about |= {"images": _images(data, Path(settings.data)), "labels": digest(*_labels(data)), "version": VERSION}
    claim(
        out, {"settings": about, "dataset": dataset}, {"command": command, "data": str(Path(settings.data).resolve())}
    )

    cells = [Cell(name, detector, seed) for seed in seeds for name in names for detector in detectors]
    missing = [cell for cell in cells if not cell.path(out, "cells", ".json").exists()]
    for cell in (cell for cell in cells if cell not in missing):
        _check_finished(cell.path(out, "cells", ".json"), cell.task, _params(cell, settings, parameters))
    by_name = {task.name: task for task in tasks}
    total = settings.epochs * sum(len(by_name[cell.task].train) for cell in missing)
    loaded: LoadedTask | None = None
    with progress_bar("training", total, show=show_progress and bool(missing), window=_RATE_WINDOW) as advance:
        for cell in missing:
            if loaded is None or loaded.task.name != cell.task:
                loaded = None  # its images go before others come
                loaded = load_task(by_name[cell.task])
            head = {"dataset": dataset, "protocol": settings.protocol, "class": cell.task, "seed": cell.seed}
            result = _run(out, cell, loaded, settings, parameters, cell.seed == min(seeds), advance)
            made_with = {"versions": library_versions(), "hardware": hardware(), "command": command}
            head |= {"detector": cell.detector, "params": _params(cell, settings, parameters)}
            content = head | result | {"made_with": made_with}
            write_json(cell.path(out, "cells", ".json"), content)
            remove_folder(cell.path(out, "work"))
    return [read_json(cell.path(out, "cells", ".json")) for cell in cells]


def read_examples(out: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the example images of a result; None if none were kept."""
    path = Cell(result["class"], result["detector"], result["seed"]).path(out, "examples", ".joblib")
    return load_plain(path) if path.exists() else None


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
        if "error" in result:
            parts["both"] = {"diverged": 1}
        rows += [
            {key: result[key] for key in keys} | {"mode": mode, "seed": result["seed"], "metric": name, "value": value}
            for mode, measures in parts.items()
            for name, value in measures.items()
        ]
    return pd.DataFrame(rows, columns=[*keys, "mode", "seed", "metric", "value"])


def _images(data: Sequence[ClassData], folder: Path) -> str:
    """What decides the pixels: rows by their names, and all files of images and masks by their content."""
    names = [name for one in data for part in (one.train, one.test) for name in part.images.names]
    return digest(names, [files_digest(one.files, folder) for one in data])


def _labels(data: Sequence[ClassData]) -> list[Sequence[str] | np.ndarray]:
    """What decides which images are normal: classes, and the class of each image."""
    return [part for one in data for part in (one.classes, one.train.labels, one.test.labels)]


def _detector(cell: Cell, settings: Settings, parameters: dict[str, Any]) -> ImageAnomalyDetector[Any]:
    return make_detector(
        cell.detector, parameters, image_size=settings.size, epochs=settings.epochs, random_state=cell.seed,
        device=settings.device, contamination=FALSE_ALARM_RATE,
    )  # fmt: skip


def _check_device(name: str) -> None:
    """Find out whether networks can live on a device before anything is written or trained."""
    try:
        torch.ones(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # the latter two where PyTorch was built without it
        reason = re.split(r"\.?\s*\n|\.\s", str(error))[0]  # PyTorch goes on for a page
        raise GbadError(f"--device {name} cannot be used here ({reason}). Choose another one, such as cpu.") from error


def _check_hyperparameters(name: str, settings: Settings, parameters: dict[str, Any]) -> None:
    """Find what a detector would refuse before anything is written or trained."""
    try:
        _detector(Cell("", name, 0), settings, parameters).check_parameters()
    except (TypeError, ValueError) as error:
        options = [f"--size {settings.size}", f"--epochs {settings.epochs}"]
        options += [f"--set {' '.join(settings.parameters)}"] if settings.parameters else []
        raise GbadError(f"{name} with {', '.join(options)}: {error}") from error


def _params(cell: Cell, settings: Settings, parameters: dict[str, Any]) -> dict[str, Any]:
    """All hyperparameters of a cell's detector, those left at their defaults too, as JSON gives them back."""
    params: dict[str, Any] = json.loads(json.dumps(_detector(cell, settings, parameters).get_params()))
    return params


def _check_finished(path: Path, task: str, params: dict[str, Any]) -> None:
    """Make sure that a finished cell has class and hyperparameters of this run: defaults change between releases."""
    found = read_json(path)
    known, params = found["params"] | {"class": found["class"]}, params | {"class": task}
    if different := sorted(key for key in known | params if known.get(key) != params.get(key)):
        raise RunError(
            f"{path} was made with another {', '.join(different)}. Choose another folder for the benchmark, or delete "
            "this file."
        )


def _run(
    out: Path,
    cell: Cell,
    loaded: LoadedTask,
    settings: Settings,
    parameters: dict[str, Any],
    keep_examples: bool,
    advance: Advance,
) -> dict[str, Any]:
    detector = _detector(cell, settings, parameters)
    done = 0

    def on_epoch(epoch: int) -> None:
        nonlocal done
        advance((epoch - done) * len(loaded.train))
        done = epoch

    examples = cell.path(out, "examples", ".joblib") if keep_examples else None
    try:
        return run_cell(
            loaded,
            detector,
            cell.path(out, "work"),
            paper_every=settings.paper_every,
            examples=examples,
            on_epoch=on_epoch,
        )
    except DivergedError as error:
        return {"error": str(error)}
    finally:
        advance((settings.epochs - done) * len(loaded.train))
