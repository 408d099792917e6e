"""The check of a file that holds a fitted image-level detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gbad.errors import PipelineFileError
from gbad.persistence import load_plain

FORMAT = 1
"""Of the files of `ImageAnomalyDetector.save`."""


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
