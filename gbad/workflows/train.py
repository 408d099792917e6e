"""``gbad train`` and ``gbad refit``: from a run folder to ``pipeline.joblib``."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from gbad.data.bad_images import COLUMNS
from gbad.errors import GbadError, RunError
from gbad.pipeline import GBADPipeline
from gbad.runtime.device import training_processes
from gbad.runtime.text import counted
from gbad.storage.files import atomic_path, read_sealed, remove_leftovers
from gbad.storage.ledger import locked
from gbad.storage.tables import read_table
from gbad.training.checks import check_parts, check_settings
from gbad.training.fitted import FittedGBAD
from gbad.training.phases import fit_phases
from gbad.training.run_folder import Run, claim_run, open_run, read_run_head
from gbad.training.settings import of_group

_log = logging.getLogger(__name__)


def train(run: Run, *, last: int = 3, show_progress: bool = False) -> dict[str, Any]:
    """Run the phases up to `last` that are not done yet; after phase 3 save ``pipeline.joblib``.

    ``bad_images.csv`` lists the images that were skipped, by earlier calls too, and also if this one fails.

    Parameters
    ----------
    run : Run
        From `gbad.training.run_folder.start_run` or `open_run`.
    last : {1, 2, 3}
    show_progress : bool
        Show progress bars.

    Returns
    -------
    dict
        Per finished phase, what its ``done.json`` says. Empty in a process that is not the main one.

    Raises
    ------
    RunError
        If another process works in the run folder, or something in it is damaged.
    """
    with locked(run.folder, run.settings.device):
        path = run.folder / "bad_images.csv"
        listed = read_table(path, COLUMNS, "Delete it and run the same command again.") if path.exists() else None
        is_main = training_processes(run.settings.device).is_main_process
        try:
            fit_phases(run.data, run.settings, run.folder, run.bad, last=last, show_progress=show_progress)
        finally:
            if is_main and run.bad.errors:
                run.bad.write(path, before=listed)
        if not is_main:
            return {}
        if run.bad.errors:
            _log.warning("%s skipped, see %s", counted(len(run.bad.errors), "image"), path)
        if last >= 3:
            fitted = FittedGBAD.from_run(run.folder, run.data, run.settings)
            GBADPipeline.from_fitted(run.settings, fitted).save(run.folder / "pipeline.joblib")
        done = {name: run.folder / name / "done.json" for name in ("phase1", "phase2", "second_look", "phase3")}
        return {phase: read_sealed(path) for phase, path in done.items() if path.exists()}


def refit(run: str | Path, out: str | Path, **changes: Any) -> Run:
    """Make a run folder with phases 1 and 2 of another run, in which phase 3 is still to be run with other settings.

    Both folders share the files of phases 1 and 2 (hard links, copies where the disk has none). Each folder can be
    deleted without the other. If `out` is there already, it goes on.

    Parameters
    ----------
    run : path-like
        A run folder in which phase 2 is done.
    out : path-like
        The new run folder.
    **changes
        Settings of phase 3; all others stay.

    Returns
    -------
    Run
        For `train`.

    Raises
    ------
    RunError
        If phase 2 of `run` is not done, or `out` holds another run.
    GbadError
        If a setting is not one of phase 3, or cannot work.
    """
    run, out = Path(run), Path(out)
    if other := sorted(changes.keys() - set(of_group("gate"))):
        raise GbadError(f"{', '.join(other)}: phases 1 and 2 depend on it. Train another run with `gbad train`.")
    before = open_run(run)  # refuses a list that has changed since
    if out.resolve() == run.resolve():
        raise RunError(f"{out}: the run itself cannot be refitted. Give another folder; both share phases 1 and 2.")
    trained = ["phase2", *(["second_look"] if before.settings.second_look else [])]
    if not all((run / name / "done.json").exists() for name in trained):
        raise RunError(
            f"{run}: phase 2 or the second look is not done yet. Finish the run first, with the command that began it."
        )
    settings = before.settings.changed(**changes)
    check_settings(settings, trained=True)
    check_parts(before.data.positive, before.data.validation, settings.gate_fit)
    claim_run(out, replace(read_run_head(run), settings=settings), run / "split.csv")
    with locked(out, settings.device):
        remove_leftovers(out)
        for name in ("split.csv", "bad_images.csv", "phase1", "phase2", "second_look"):
            if (run / name).exists() and not (out / name).exists():
                _share(run / name, out / name)
    before.bad.report = out / "bad_images.csv"
    return replace(before, folder=out, settings=settings)


def _share(source: Path, target: Path) -> None:
    """Link or copy a file or folder, whole or not at all."""
    with atomic_path(target) as temporary:
        if source.is_file():
            _link(source, temporary)
        else:  # checkpoints and cut regions are of no use to a phase that is done
            unused = shutil.ignore_patterns(".*", "checkpoint-*", "cache")
            shutil.copytree(source, temporary, copy_function=_link, ignore=unused)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)
