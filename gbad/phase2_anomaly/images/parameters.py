"""Hyperparameters of image-level detectors: their ranges, and what files hold of them."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import numpy as np
from sklearn.utils import check_scalar

from gbad.phase2_anomaly.images.rows import ImageRows


def check_common_parameters(detector: Any) -> None:
    """Check what `ImageAnomalyDetector` documents, and the kind of every other hyperparameter.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    TypeError
        If one is of another kind than its dataclass declares.
    """
    for field in dataclasses.fields(detector):
        _check_kind(field.name, field.type, getattr(detector, field.name))
    if detector.image_size not in (32, 64, 128, 256):
        raise ValueError(f"image_size must be 32, 64, 128 or 256, got {detector.image_size!r}.")
    if detector.channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1, 3 or None (as the training images), got {detector.channels!r}.")
    for name, least in (("epochs", 1), ("batch_size", 2), ("calibration_images", 1)):
        check_scalar(getattr(detector, name), name, numbers.Integral, min_val=least)
    check_scalar(detector.learning_rate, "learning_rate", numbers.Real, min_val=0.0, include_boundaries="neither")
    check_scalar(detector.beta1, "beta1", numbers.Real, min_val=0.0, max_val=1.0, include_boundaries="left")
    check_scalar(
        detector.contamination, "contamination", numbers.Real, min_val=0.0, max_val=0.5, include_boundaries="right"
    )


def _check_kind(name: str, kind: Any, value: Any) -> None:
    """Check a value against its annotation; whole numbers are all counts, widths or sizes, so 1 or more."""
    if kind == "int":
        check_scalar(value, name, numbers.Integral, min_val=1)
    elif kind == "float":
        check_scalar(value, name, numbers.Real)
        if not math.isfinite(value):
            raise ValueError(f"{name} == {value}, must be finite.")
    elif kind == "bool" and not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be true or false, got {value!r}.")
    elif kind == "tuple[int, ...]":
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"{name} must be whole numbers in a list, got {value!r}.")
        for one in value:
            check_scalar(one, f"each of {name}", numbers.Integral, min_val=1)


def plain_params(detector: Any) -> dict[str, Any]:
    """Give the hyperparameters of a detector that is being fitted, or is, as plain values."""
    params: dict[str, Any] = detector.get_params(deep=False) | {"device": str(detector.device)}
    if not isinstance(detector.random_state, numbers.Integral):
        params["random_state"] = detector.seed_  # a generator is no plain number, and has moved on since
    return params


def training_identity(detector: Any, images: ImageRows) -> dict[str, Any]:
    """All that decides the trained weights, for the checkpoint."""
    others = ("device", "calibration_images", "scale_parts", "contamination")
    params = {name: value for name, value in plain_params(detector).items() if name not in others}
    return params | {"detector": type(detector).__name__, "sha256 of X": images.fingerprint()}
