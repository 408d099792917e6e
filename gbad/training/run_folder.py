"""Run folders: what `gbad train` works on, kept so that a killed run goes on and every step can be repeated."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import PartialState

from gbad.data.bad_images import COLUMNS, BadImages
from gbad.data.boxes import Boxes, read_boxes
from gbad.data.images import image_paths
from gbad.data.labels import LabelList, list_path, read_sixray
from gbad.data.source import source_from_paths
from gbad.errors import GbadError, RunError
from gbad.pipeline import GBADPipeline
from gbad.storage.files import atomic_path, read_json, read_table, remove_folder
from gbad.storage.ledger import claim, locked, read_head
from gbad.training.fitted import TrainingSet, validation_rows
from gbad.training.settings import check_labels, check_parts, check_settings, params_from, plain_settings

_log = logging.getLogger(__name__)

PHASE_3_SETTINGS = ("class_heads", "gate", "gate_fit", "suppression", "epsilon", "alpha", "prevalence")
"""Parameters of `gbad.GBADPipeline` that phases 1 and 2 do not depend on."""


@dataclass(frozen=True)
class Run:
    """A run folder that is ready for its next phase.

    Attributes
    ----------
    folder : Path
    data : TrainingSet
    pipeline : GBADPipeline
        With the run's settings; not fitted.
    bad : BadImages
        Images that had to be skipped.
    """

    folder: Path
    data: TrainingSet
    pipeline: GBADPipeline
    bad: BadImages


def start_run(
    folder: str | Path,
    data: str | Path,
    subset: int | str,
    pipeline: GBADPipeline,
    *,
    max_bad: float = 0.01,
    strict: bool = False,
) -> Run:
    """Make a run folder for a training list in SIXray's layout, or continue the one that is there.

    Raises
    ------
    RunError
        If the folder holds a run on other data or with other settings; the message names what differs.
    DataError
        If the list cannot be used, or the pipeline learns from boxes and there are none.
    """
    folder = Path(folder)
    params = pipeline.get_params(deep=False)
    check_settings(params)
    labels = read_sixray(data, subset, "train")
    check_labels(labels.labels, labels.classes)
    paths = image_paths(data, labels.names)
    # Before anything is written: what is found wrong later would keep the corrected command out of the folder.
    validation = None if (folder / "split.csv").exists() else _new_split(labels, paths, pipeline)
    boxes = _boxes(folder, data, labels, paths, pipeline)
    content = {"data": str(Path(data).resolve()), "subset": str(subset), "settings": plain_settings(params)}
    claim(folder, content, {"max_bad": max_bad, "strict": strict})
    return _open(folder, read_head(folder), labels, paths, boxes, validation)


def open_run(folder: str | Path) -> Run:
    """Open a run folder that `start_run` made: read its list and its split.

    Raises
    ------
    RunError
        If it is no run folder or a damaged one, or its list has changed since.
    """
    return _open(Path(folder), *_read(Path(folder)))


def _read(folder: Path) -> tuple[dict[str, Any], LabelList, list[Path], Boxes | None]:
    """``run.json``, and what it names: the list, its images, and their boxes where they are needed yet."""
    if not (folder / "run.json").exists():
        raise RunError(f"{folder} is no run folder. Make one with `gbad train DATA --out {folder}`.")
    content = read_head(folder)
    if "data" not in content:
        raise RunError(f"{folder} belongs to GBADPipeline.fit. Continue it there, or choose another run folder.")
    if missing := [name for name in ("subset", "max_bad", "strict") if name not in content]:
        raise RunError(f"{folder / 'run.json'}: damaged, it has no {', '.join(missing)}. Restore it, or train again.")
    labels = read_sixray(content["data"], content["subset"], "train")
    paths = image_paths(content["data"], labels.names)
    return content, labels, paths, _boxes(folder, content["data"], labels, paths, _pipeline(folder, content))


def refit_run(run: str | Path, out: str | Path, **settings: Any) -> Run:
    """Make a run folder that has phases 1 and 2 of another one, and phase 3 before it with other settings.

    Both folders share the files of phases 1 and 2 (hard links, copies where the disk has none); each can be deleted
    without the other. If `out` is there already, it goes on.

    Parameters
    ----------
    run : path-like
        A run folder of `gbad.training.run_folder.start_run` in which phase 2 is done.
    out : path-like
        The new run folder.
    **settings
        Of `PHASE_3_SETTINGS`; all others stay.

    Returns
    -------
    Run
        For `gbad.training.run_folder.finish`.

    Raises
    ------
    RunError
        If phase 2 of `run` is not done, or `out` holds another run.
    GbadError
        If a setting is not one of phase 3, or cannot work.
    """
    run, out = Path(run), Path(out)
    if other := sorted(settings.keys() - set(PHASE_3_SETTINGS)):
        raise GbadError(f"{', '.join(other)}: phases 1 and 2 depend on it. Train another run with `gbad train`.")
    content, labels, paths, boxes = _read(run)
    data = _open(run, content, labels, paths, boxes).data  # refuses a list that has changed since
    if out.resolve() == run.resolve():
        raise RunError(f"{out}: the run itself cannot be refitted. Give another folder; both share phases 1 and 2.")
    if not (run / "phase2" / "done.json").exists():
        raise RunError(f"{run}: phase 2 is not done yet. Finish the run first, with the command that began it.")
    params = GBADPipeline(**params_from(content["settings"]) | settings).get_params(deep=False)
    check_settings(params)
    check_parts(data.positive, data.validation, params["gate_fit"])
    about = {"data": content["data"], "subset": content["subset"], "settings": plain_settings(params)}
    claim(out, about, {name: content[name] for name in ("max_bad", "strict")})
    with locked(out, params["device"]):
        for name in ("split.csv", "bad_images.csv", "phase1", "phase2"):
            for left in out.glob(f".{name}.*"):  # what a killed call was copying
                remove_folder(left)
            if (run / name).exists() and not (out / name).exists():
                _share(run / name, out / name)
    return _open(out, read_head(out), labels, paths, None)


def _boxes(
    folder: Path, data: str | Path, labels: LabelList, paths: list[Path], pipeline: GBADPipeline
) -> Boxes | None:
    """Boxes of the training list where phase 1 has yet to learn from them."""
    if not pipeline.position_weight or (folder / "phase1" / "done.json").exists():
        return None
    return read_boxes(data, labels.names, paths, labels.labels, labels.classes)


def _pipeline(folder: Path, content: dict[str, Any]) -> GBADPipeline:
    try:
        return GBADPipeline(**params_from(content["settings"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder / 'run.json'}: damaged, or written by a newer gbad ({error}). Restore it, update gbad, or choose "
            "another run folder."
        ) from error


def _new_split(labels: LabelList, paths: list[Path], pipeline: GBADPipeline) -> np.ndarray:
    """Rows for validation, bool (n,); DataError if a part then lacks images with or without threats."""
    rows = validation_rows(labels.names, labels.labels, paths, pipeline.validation_fraction, pipeline.random_state)
    check_parts(np.asarray(labels.labels.any(1)), rows, pipeline.gate_fit)
    return rows


def _open(
    folder: Path, content: dict[str, Any], labels: LabelList, paths: list[Path], boxes: Boxes | None,
    validation: np.ndarray | None = None,
) -> Run:  # fmt: skip
    pipeline = _pipeline(folder, content)
    split = folder / "split.csv"
    if not split.exists():
        validation = _new_split(labels, paths, pipeline) if validation is None else validation
        table = pd.DataFrame({"name": labels.names, "part": np.where(validation, "validation", "train")})
        table[list(labels.classes)] = labels.labels
        with atomic_path(split) as temporary:
            table.to_csv(temporary, index=False)
    remedy = "Delete it and run the same command again, which makes the same split."
    table = read_table(split, ("name", "part"), remedy)
    known = labels.names, labels.classes, labels.labels.astype(str).tolist()
    if (tuple(table["name"]), tuple(table.columns[2:]), table.iloc[:, 2:].to_numpy().tolist()) != known:
        path = list_path(content["data"], content["subset"], "train")
        raise RunError(f"{path} has changed since the run in {folder} began. Restore it, or start in another folder.")
    source = source_from_paths(paths, pipeline.size)
    data = TrainingSet(source, labels.labels, labels.classes, (table["part"] == "validation").to_numpy(), boxes)
    bad = BadImages(
        len(source), content["max_bad"], strict=content["strict"], report=folder / "bad_images.csv",
        shown=(paths, labels.labels, labels.classes),
    )  # fmt: skip
    return Run(folder, data, pipeline, bad)


def _share(source: Path, target: Path) -> None:
    """Link or copy a file or folder, whole or not at all."""
    with atomic_path(target) as temporary:
        if source.is_file():
            _link(source, temporary)
        else:  # a checkpoint is of no use to a phase that is done
            shutil.copytree(source, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".*", "checkpoint-*"))


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)


def finish(run: Run, *, last: int = 3, show_progress: bool = False) -> dict[str, Any]:
    """Run the phases up to `last` that are not done yet; after phase 3 save ``pipeline.joblib``.

    ``bad_images.csv`` lists the images that were skipped, by earlier calls too, and also if this one fails.

    Returns
    -------
    dict
        Per finished phase, what its ``done.json`` says.

    Raises
    ------
    RunError
        If another process works in the run folder, or something in it is damaged.
    """
    with locked(run.folder, run.pipeline.device):
        path = run.folder / "bad_images.csv"
        listed = read_table(path, COLUMNS, "Delete it and run the same command again.") if path.exists() else None
        main = PartialState().is_main_process
        try:
            run.pipeline.fit_phases(run.data, run.folder, run.bad, last=last, show_progress=show_progress)
        finally:
            if main and run.bad.errors:
                run.bad.write(path, before=listed)
        if not main:
            return {}
        if run.bad.errors:
            _log.warning("%d images were skipped, see %s", len(run.bad.errors), path)
        if last >= 3:
            run.pipeline.save(run.folder / "pipeline.joblib")
        done = {f"phase{phase}": run.folder / f"phase{phase}" / "done.json" for phase in (1, 2, 3)}
        return {phase: read_json(path) for phase, path in done.items() if path.exists()}
