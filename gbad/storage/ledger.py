"""Whether what lies on disk is about the same thing: run folders, their lock, and JSON results of a computation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gbad.errors import RunError
from gbad.runtime.device import training_processes
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.claims import read_claim
from gbad.storage.files import read_json, write_json
from gbad.storage.locks import held

_log = logging.getLogger(__name__)


def claim(folder: Path, content: dict[str, Any], notes: dict[str, Any] | None = None) -> None:
    """Write what a run is about into ``run.json``, or make sure that the run in the folder is about the same.

    Parameters
    ----------
    folder : Path
        The run folder.
    content : dict
        JSON types: what must be equal for the run to continue. Under ``settings``, each setting is compared by itself.
    notes : dict, optional
        JSON types: what to keep besides; new values replace old ones.

    Raises
    ------
    RunError
        If the folder holds another run (the message names the differences), or ``run.json`` is damaged.
    """
    head, notes = folder / "run.json", notes or {}
    known = read_claim(head, content, "run", ("phase1", "pipeline.joblib", "cache"))
    if known is None:
        write_json(head, content | notes | {"versions": library_versions(), "hardware": hardware()})
        return
    if any(known.get(key) != value for key, value in notes.items()):
        write_json(head, known | notes)
    else:  # a run that has just begun notes more: that is no continuation
        _log.info("continuing the run in %s", folder)


def read_head(folder: Path) -> dict[str, Any]:
    """What `claim` wrote, with at least ``settings``; RunError if it is damaged."""
    head = folder / "run.json"
    content = read_json(head)
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise RunError(f"{head}: damaged, it holds no settings. Restore it, or choose another run folder.")
    return content


def kept(path: Path, about: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """Result of a computation that is done once: the file at `path` holds it, with what it is about.

    Parameters
    ----------
    path : Path
        JSON. A file that is about anything else is written anew.
    about : dict
        JSON types: all that decides the result.
    compute : callable
        Gives the result, JSON types.
    """
    about = json.loads(json.dumps(about))
    if path.exists() and (found := read_json(path))["about"] == about:
        return found["result"]
    result = compute()
    write_json(path, {"about": about, "result": result})
    return result


@contextmanager
def locked(folder: Path, device: str) -> Iterator[None]:
    """Keep other trainings out of a run folder until the block ends or the process dies.

    Two trainings in one folder would delete each other's half-written files. If one training has several processes,
    the main process holds the lock. On systems and disks without locks nothing is locked.

    Parameters
    ----------
    folder : Path
        The run folder, which exists.
    device : {"auto", "cpu"}
        Device of the training, as in `gbad.GBADPipeline`.

    Raises
    ------
    RunError
        If another process holds the lock.
    """
    if not training_processes(device).is_main_process:
        yield
        return
    busy = (
        f"{folder}: another process is working in this run folder ({{holder}}). Wait until it has ended, or choose "
        "another run folder."
    )
    with held(folder / "lock", busy):
        yield
