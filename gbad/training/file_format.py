"""Formats of pipeline files: a file gets the oldest that holds it, so that older versions read what they can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gbad.errors import PipelineFileError
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase3_gate import ClassHeads

NEWEST = 2
"""1 knows the BiGAN only; 2 has kinds of detectors of features, an image-level detector, views and class heads."""


def format_of(params: Mapping[str, Any], heads: ClassHeads | None) -> int:
    """Format of a file with these parameters of a `GBADPipeline` and these fitted class heads."""
    other = params["detector"] is not None and type(params["detector"]) is not BiGANDetector
    return 2 if other or params["image_detector"] is not None or params["views"] > 1 or heads is not None else 1


def check_format(state: Any) -> None:
    """Raise PipelineFileError unless this version of gbad reads the format that a pipeline's state names."""
    version = state.get("format_version") if isinstance(state, dict) else None
    if version not in range(1, NEWEST + 1):
        raise PipelineFileError(
            f"the file has format {version!r}, this version of gbad reads formats 1 to {NEWEST}. "
            "Install the version of gbad that wrote it, or train again."
        )
