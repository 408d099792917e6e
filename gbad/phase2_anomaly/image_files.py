"""A fitted image-level detector as named arrays, and the check of a file that holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gbad.errors import PipelineFileError
from gbad.persistence import load_plain

FORMAT = 1
"""Of the files of `ImageAnomalyDetector.save`."""


def learnt_arrays(detector: object) -> dict[str, np.ndarray]:
    """All attributes that end in ``_``; an entry of a dict is named ``attribute.entry``."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in vars(detector).items():
        if name.endswith("_"):
            inner = value if isinstance(value, dict) else None
            arrays |= {f"{name}.{key}": item for key, item in inner.items()} if inner else {name: np.asarray(value)}
    return arrays


def set_learnt_arrays(detector: object, arrays: dict[str, np.ndarray]) -> None:
    """Set the attributes that `learnt_arrays` gave; arrays without dimensions become Python's numbers."""
    for key, values in arrays.items():
        name, _, inner = key.partition(".")
        if inner:
            vars(detector).setdefault(name, {})[inner] = np.asarray(values)
        else:
            setattr(detector, name, np.asarray(values) if np.ndim(values) else np.asarray(values).item())


def read_detector_file(path: str | Path, name: str) -> dict[str, Any]:
    """Read a file of `ImageAnomalyDetector.save`.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, from another format, or holds another detector than `name`.
    """
    content = load_plain(path)
    found = content.get("detector") if isinstance(content, dict) else None
    if found != name:
        raise PipelineFileError(f"{path}: holds {found or 'no image detector'}, not a {name}.")
    if content["format"] != FORMAT:
        raise PipelineFileError(f"{path}: format {content['format']!r}; this version reads {FORMAT}. Update gbad.")
    return dict(content)
