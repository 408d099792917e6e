"""What keeps others out of a run folder: ``run.json``, which says what the run is about, and a lock while it works."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gbad.errors import RunError
from gbad.runtime.device import training_processes
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import read_json, write_json

_log = logging.getLogger(__name__)


def claim(folder: Path, content: dict[str, Any], notes: dict[str, Any] | None = None) -> None:
    """Write what a run is about, or make sure that the folder's run is about the same.

    Parameters
    ----------
    folder : Path
        The run folder.
    content : dict
        JSON types: what a run must agree with to be continued. Differences below ``settings`` are named one by one.
    notes : dict, optional
        JSON types: what else to keep; the newest values count.

    Raises
    ------
    RunError
        If the folder holds another run, the message names what differs; if ``run.json`` is damaged.
    """
    head = folder / "run.json"
    content, notes = json.loads(json.dumps(content)), notes or {}
    if head.exists():
        known = read_head(folder)
        different = [key for key in content if key != "settings" and known.get(key) != content[key]]
        was, now = known["settings"], content["settings"]
        different += [key for key in now | was if was.get(key) != now.get(key)]
        if different:
            raise RunError(
                f"{folder} holds a run with another {', '.join(different)}. Choose another run folder, or delete "
                "this one."
            )
        _log.info("continuing the run in %s", folder)
        if any(known.get(key) != value for key, value in notes.items()):
            write_json(head, known | notes)
    elif any((folder / name).exists() for name in ("phase1", "pipeline.joblib", "cache")):
        raise RunError(f"{folder} holds results of an unknown run. Choose another run folder.")
    else:
        write_json(head, content | notes | {"versions": library_versions(), "hardware": hardware()})


def read_head(folder: Path) -> dict[str, Any]:
    """What `claim` wrote, with at least ``settings``; RunError if it is damaged."""
    head = folder / "run.json"
    content = read_json(head)
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise RunError(f"{head}: damaged, it holds no settings. Restore it, or choose another run folder.")
    return content


@contextmanager
def locked(folder: Path, device: str) -> Iterator[None]:
    """Keep other trainings out of a run folder until the block ends, or the process however it does.

    Two that write to one folder delete each other's half-written files. Of several processes of one training, the main
    one holds the lock. Systems and disks without locks do without.

    Parameters
    ----------
    folder : Path
        The run folder; it is there already.
    device : {"auto", "cpu"}
        Of the training, as in `gbad.GBADPipeline`.

    Raises
    ------
    RunError
        If another process holds the lock.
    """
    file = _lock(folder) if training_processes(device).is_main_process else None
    try:
        yield
    finally:
        if file is not None:
            file.close()


def _lock(folder: Path) -> IO[str] | None:
    try:
        import fcntl  # Windows has none
    except ImportError:
        return None
    file = None
    try:
        file = (folder / "lock").open("a")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if file is not None:
            file.close()
        if isinstance(error, BlockingIOError):
            raise RunError(
                f"{folder}: another process is working in this run folder. Wait until it has ended, or choose another "
                "run folder."
            ) from error
        return None  # the disk has no locks
    return file
