"""Run folders: what `gbad train` works on, kept so that a killed run goes on and every step can be repeated."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import PartialState

from gbad.data.bad_images import BadImages
from gbad.data.images import locate
from gbad.data.labels import list_path, read_sixray
from gbad.data.source import source_from_paths
from gbad.errors import RunError
from gbad.files import atomic_path, read_json, write_json
from gbad.pipeline import GBADPipeline
from gbad.training import TrainingSet, validation_rows
from gbad.versions import hardware, library_versions

_log = logging.getLogger(__name__)


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
    """
    folder = Path(folder)
    content: dict[str, Any] = {
        "data": str(Path(data).resolve()),
        "subset": str(subset),
        "max_bad": max_bad,
        "strict": strict,
        "settings": _settings(pipeline),
    }
    head = folder / "run.json"
    if head.exists():
        known = read_json(head)
        different = [key for key in ("data", "subset") if known[key] != content[key]]
        different += [key for key, value in content["settings"].items() if known["settings"].get(key) != value]
        if different:
            raise RunError(
                f"{folder} holds a run with another {', '.join(different)}. Choose another --out folder, or "
                "delete this one."
            )
        _log.info("continuing the run in %s", folder)
    elif any((folder / name).exists() for name in ("phase1", "pipeline.joblib", "cache")):
        raise RunError(f"{folder} holds results of an unknown run. Choose another --out folder.")
    else:
        write_json(head, content | {"versions": library_versions(), "hardware": hardware()})
    return open_run(folder, pipeline)


def _settings(pipeline: GBADPipeline) -> dict[str, Any]:
    """Parameters as JSON holds them: a detector or gate of the user's own as text."""
    params = pipeline.get_params(deep=False)
    return params | {name: None if params[name] is None else repr(params[name]) for name in ("detector", "gate")}


def open_run(folder: str | Path, pipeline: GBADPipeline | None = None) -> Run:
    """Open a run folder that `start_run` made: read its list and its split.

    Parameters
    ----------
    folder : path-like
        The run folder.
    pipeline : GBADPipeline, optional
        With the settings of the run. Needed only if they hold a detector or a gate of the user's own.

    Raises
    ------
    RunError
        If it is no run folder, or its list has changed since.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists():
        raise RunError(f"{folder} is no run folder. Make one with `gbad train DATA --out {folder}`.")
    content = read_json(folder / "run.json")
    if pipeline is None:
        own = [name for name in ("detector", "gate") if content["settings"][name] is not None]
        if own:
            raise RunError(
                f"{folder}: the run has its own {' and '.join(own)}; continue it from Python with start_run."
            )
        pipeline = GBADPipeline(**content["settings"])
    labels = read_sixray(content["data"], content["subset"], "train")
    paths = locate(content["data"], labels.names)
    split = folder / "split.csv"
    if not split.exists():
        validation = validation_rows(
            labels.names, labels.labels, paths, pipeline.validation_fraction, pipeline.random_state
        )
        with atomic_path(split) as temporary:
            part = np.where(validation, "validation", "train")
            pd.DataFrame({"name": labels.names, "part": part}).to_csv(temporary, index=False)
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    if tuple(table["name"]) != labels.names:
        path = list_path(content["data"], content["subset"], "train")
        raise RunError(f"{path} has changed since the run in {folder} began. Restore it, or start in another folder.")
    source = source_from_paths(paths, pipeline.size)
    data = TrainingSet(source, labels.labels, labels.classes, (table["part"] == "validation").to_numpy())
    bad = BadImages(len(source), content["max_bad"], strict=content["strict"], report=folder / "bad_images.csv")
    return Run(folder, data, pipeline, bad)


def finish(run: Run, *, last: int = 3, show_progress: bool = False) -> dict[str, Any]:
    """Run the phases up to `last` that are not done yet; after phase 3 save ``pipeline.joblib``.

    Returns
    -------
    dict
        Per finished phase, what its ``done.json`` says.
    """
    run.pipeline.fit_phases(run.data, run.folder, run.bad, last=last, show_progress=show_progress)
    if not PartialState().is_main_process:
        return {}
    if run.bad.errors:
        run.bad.write(run.folder / "bad_images.csv")
        _log.warning("%d images were skipped, see %s", len(run.bad.errors), run.folder / "bad_images.csv")
    if last >= 3:
        run.pipeline.save(run.folder / "pipeline.joblib")
    done = {f"phase{phase}": run.folder / f"phase{phase}" / "done.json" for phase in (1, 2, 3)}
    return {phase: read_json(path) for phase, path in done.items() if path.exists()}
