"""Files that hold one fitted image-level detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbad.errors import PipelineFileError
from gbad.phase2_anomaly.contract import Array
from gbad.storage.plain_data import load_plain, save_plain

FORMAT = 1
"""Format of the files of `save_fitted`."""


@dataclass(frozen=True)
class Fitted:
    """What a file holds of a detector: the name of its class, its hyperparameters, and what it learnt."""

    name: str
    params: dict[str, Any]
    arrays: Mapping[str, Array]


def save_fitted(fitted: Fitted, path: str | Path) -> None:
    """Write one file of plain numbers."""
    content = {"format": FORMAT, "detector": fitted.name, "params": fitted.params, "arrays": fitted.arrays}
    save_plain(content, path)


def load_fitted(path: str | Path, name: str) -> Fitted:
    """Read a file of `save_fitted`.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, incomplete, from another format, or holds another detector than `name`.
    """
    content = load_plain(path)
    found = content.get("detector") if isinstance(content, dict) else None
    if found != name:
        raise PipelineFileError(f"{path}: holds {found or 'no image detector'}, not a {name}.")
    if content.get("format") != FORMAT:
        raise PipelineFileError(f"{path}: format {content.get('format')!r}; this version reads {FORMAT}. Update gbad.")
    return Fitted(name, content.get("params", {}), content.get("arrays", {}))
