"""Trained pipelines that come with gbad, by name. docs/models.md says what each was trained on and what it can do.

A file is known by its SHA-256: another file in its place is not loaded.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from gbad.errors import PipelineFileError

FOLDER = Path(__file__).parent


class Shipped(NamedTuple):
    """What is known of a model without its file: the file's SHA-256, and which training can start from it."""

    sha256: str
    architecture: str
    backbone: str


SHIPPED = {
    "simulated-bags": Shipped(
        "284421b9e457a05738f3e0d5a517da67545e4c3db7f676f8cfbca84530588f96", "fpn", "efficientnet_lite0"
    )
}
"""By the name of the model."""

DEFAULT = "simulated-bags"
"""What ``gbad predict`` takes where no pipeline is named, and what a training that it suits starts from."""


def pipeline_path(pipeline: str | Path) -> Path:
    """Give the path of a pipeline: that of a model that comes with gbad, if it is named and no file has its name.

    Raises
    ------
    PipelineFileError
        If the file of a named model is missing, or is not the one that was released.
    """
    name = str(pipeline)
    return Path(pipeline) if name not in SHIPPED or os.path.isfile(name) else shipped(name)


def shipped(name: str) -> Path:
    """Give the path of a model that comes with gbad; raises as `pipeline_path` does."""
    path = FOLDER / f"{name}.joblib"
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PipelineFileError(
            f"{path}: the model {name} cannot be read ({error.strerror}). Install gbad again."
        ) from error
    if found != SHIPPED[name].sha256:
        raise PipelineFileError(f"{path}: not the model {name} that was released. Install gbad again.")
    return path
