"""Files that hold a fitted image-level detector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gbad.errors import PipelineFileError
from gbad.phase2_anomaly.images.parameters import plain_params
from gbad.phase2_anomaly.learnt import learnt_arrays, set_learnt_arrays
from gbad.runtime.device import device_or_cpu
from gbad.storage.plain_data import load_plain, save_plain

FORMAT = 1
"""Of the files of `ImageAnomalyDetector.save`."""


class DetectorFiles(ABC):
    """Mixin of detectors that are dataclasses of plain hyperparameters and learn arrays."""

    @abstractmethod
    def _check_learnt(self) -> None:
        """Raise anything if hyperparameters and what was learnt do not make a detector that scores."""

    def save(self, path: str | Path) -> None:
        """Save the fitted detector as one file of plain numbers, for :meth:`load`."""
        content = {"format": FORMAT, "detector": type(self).__name__, "params": plain_params(self)}
        save_plain(content | {"arrays": self.get_arrays()}, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a file of :meth:`save`; scores are equal bit for bit where the device is the same.

        Raises
        ------
        PipelineFileError
            If the file is missing, damaged, from a newer format, or holds another detector.
        """
        content = read_detector_file(path, cls.__name__)
        try:
            detector = cls.from_arrays(content["params"], content["arrays"])
            detector._check_learnt()
        except Exception as error:  # what a file lacks or has too much makes Python and PyTorch raise almost anything
            raise PipelineFileError(
                f"{path}: no complete {cls.__name__} ({type(error).__name__}: {error}). Copy the file again."
            ) from error
        return detector

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return learnt_arrays(self)

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Rebuild a fitted detector from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit.

        It scores on the CPU where this machine lacks the device that it was trained on.
        """
        detector = cls(**params | {"device": device_or_cpu(params["device"])})
        set_learnt_arrays(detector, arrays)
        return detector


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
    if content.get("format") != FORMAT:
        raise PipelineFileError(f"{path}: format {content.get('format')!r}; this version reads {FORMAT}. Update gbad.")
    return dict(content)
