"""The head of a run folder, ``run.json``: what the run is about, so that no other run continues in it by mistake."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gbad.errors import RunError
from gbad.files import read_json, write_json
from gbad.versions import hardware, library_versions

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
        If the folder holds another run; the message names what differs.
    """
    head = folder / "run.json"
    content, notes = json.loads(json.dumps(content)), notes or {}
    if head.exists():
        known = read_json(head)
        was, now = known | known.get("settings", {}), content | content["settings"]
        different = [key for key in now if key != "settings" and was.get(key) != now[key]]
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


def digest(*parts: Sequence[str] | np.ndarray) -> str:
    """Fingerprint of lists of texts and of arrays."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str} {part.shape}".encode())
            for row in part:  # never a copy of a large array as a whole
                total.update(np.ascontiguousarray(row).data)
        else:
            total.update(json.dumps(list(part)).encode())
    return total.hexdigest()
