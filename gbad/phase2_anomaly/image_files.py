"""Files that hold a fitted image-level detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gbad.errors import PipelineFileError
from gbad.persistence import load_plain, save_plain
from gbad.phase2_anomaly.image_parameters import plain_params
from gbad.phase2_anomaly.learnt import learnt_arrays, set_learnt_arrays

FORMAT = 1
"""Of the files of `ImageAnomalyDetector.save`."""


class DetectorFiles:
    """Mixin of detectors that are dataclasses of plain hyperparameters and learn arrays."""

    def save(self, path: str | Path) -> None:
        """Save the fitted detector as one file of plain numbers, for :meth:`load`."""
        content = {"format": FORMAT, "detector": type(self).__name__, "params": plain_params(self)}
        save_plain(content | {"arrays": self.get_arrays()}, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a file of :meth:`save`; scores are equal bit for bit.

        Raises
        ------
        PipelineFileError
            If the file is missing, damaged, from a newer format, or holds another detector.
        """
        content = read_detector_file(path, cls.__name__)
        return cls.from_arrays(content["params"], content["arrays"])

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return learnt_arrays(self)

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Rebuild a fitted detector from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit."""
        detector = cls(**params)
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
    if content["format"] != FORMAT:
        raise PipelineFileError(f"{path}: format {content['format']!r}; this version reads {FORMAT}. Update gbad.")
    return dict(content)
