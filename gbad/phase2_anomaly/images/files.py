"""Files that hold one fitted image-level detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gbad.errors import PipelineFileError
from gbad.phase2_anomaly.contract import AnomalyDetector
from gbad.storage.plain_data import load_plain, save_plain

FORMAT = 1
"""Format of the files of `save_detector`."""

Detector = TypeVar("Detector", bound=AnomalyDetector)


def save_detector(detector: AnomalyDetector, params: Mapping[str, Any], path: str | Path) -> None:
    """Write a fitted detector, with plain hyperparameters, as one file of plain numbers."""
    content = {"format": FORMAT, "detector": type(detector).__name__, "params": params}
    save_plain(content | {"arrays": detector.get_arrays()}, path)


def load_detector(path: str | Path, cls: type[Detector], check: Callable[[Detector], None]) -> Detector:
    """Read a file of `save_detector`.

    Parameters
    ----------
    path : path
    cls : type
        Class of the detector that the file must hold.
    check : callable
        Raises any error if the detector cannot score.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, incomplete, from another format, or holds another detector.
    """
    content = load_plain(path)
    found = content.get("detector") if isinstance(content, dict) else None
    if found != cls.__name__:
        raise PipelineFileError(f"{path}: holds {found or 'no image detector'}, not a {cls.__name__}.")
    if content.get("format") != FORMAT:
        raise PipelineFileError(f"{path}: format {content.get('format')!r}; this version reads {FORMAT}. Update gbad.")
    try:
        detector = cls.from_arrays(content["params"], content["arrays"])
        check(detector)
    except Exception as error:  # missing or surplus content makes Python and PyTorch raise almost anything
        raise PipelineFileError(
            f"{path}: not a complete {cls.__name__} ({type(error).__name__}: {error}). Copy the file again."
        ) from error
    return detector
