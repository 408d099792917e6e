"""Refuse what cannot work before time is spent on it: settings, labels, and parts of a training list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError, GbadError
from gbad.explanation import IMAGE_COLUMNS
from gbad.phase1_classifier import BACKBONES
from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS
from gbad.phase2_anomaly.catalogue import name_of
from gbad.phase2_anomaly.detectors import IMAGE_LOSS
from gbad.phase3_gate import ThreatGate
from gbad.runtime.device import chosen_device
from gbad.runtime.text import counted
from gbad.training.plain_settings import to_plain
from gbad.training.settings import Settings, gate_strength
from gbad.training.start import check_start

DECISION_COLUMNS = ("alarm", "classes", "threat_probability", "boxes")
"""Columns of ``scores.csv`` that say what is decided about an image."""

SCORE_COLUMNS = (
    *DECISION_COLUMNS,
    *(name for detector in FEATURE_DETECTORS.values() for name in detector.loss_names), IMAGE_LOSS, *IMAGE_COLUMNS,
)  # fmt: skip
"""Columns that ``scores.csv`` may have behind the columns of the classes."""


def check_settings(settings: Settings, *, trained: bool = False) -> None:
    """Check that settings can work, alone and together.

    Parameters
    ----------
    settings : Settings
    trained : bool
        Whether the classifiers are trained already: the files that they started from may then be gone.

    Raises
    ------
    GbadError
        Names the setting, its value and what it may be.
    """
    settings.check_values()
    if settings.precision == "fp16" and chosen_device(settings.device) == "cpu":
        raise GbadError("precision fp16 needs an accelerator; choose auto, bf16 or no", settings=("precision",))
    if settings.position_weight and settings.architecture != "fpn":
        raise GbadError(
            f"position_weight {settings.position_weight} needs the architecture fpn, on whose levels positions are "
            f"learnt, not {settings.architecture}; choose fpn, or set it to 0",
            settings=("position_weight", "architecture"),
        )
    _check_held_out(settings)
    least = BACKBONES[settings.backbone].min_size
    if settings.size < least:
        raise GbadError(
            f"size must be at least {least} px for {settings.backbone}, not {settings.size}", settings=("size",)
        )
    if settings.second_look and (settings.region_size < least or settings.region_size % 2):
        raise GbadError(
            f"region_size must be an even number from {least} px for {settings.backbone}, not {settings.region_size}",
            settings=("region_size",),
        )
    if not trained:
        if settings.weights is not None and not Path(settings.weights).is_file():
            raise GbadError(f"{settings.weights}: no such file. Give the path of a file of backbone weights.")
        check_start(settings)
    if settings.gate is not None and not isinstance(settings.gate, ThreatGate):
        raise GbadError(f"gate must be a ThreatGate or None, not a {type(settings.gate).__name__}")
    _check_detector("detector", settings.detector, FEATURE_DETECTORS)
    _check_detector("image_detector", settings.image_detector, IMAGE_DETECTORS)
    to_plain(settings)  # what cannot be saved is found now, not after the training


def _check_held_out(settings: Settings) -> None:
    """Check that nothing is to be chosen on held-out images where none are held out."""
    if settings.validation_fraction:
        return
    chosen = {
        "second_look": settings.second_look, "class_heads": settings.class_heads,
        "gate_fit": settings.gate_fit == "held-out", "alpha": gate_strength(settings) is None,
    }  # fmt: skip
    if names := [name for name, needed in chosen.items() if needed]:
        raise GbadError(
            f"validation_fraction 0 holds no image out, but {', '.join(names)} must be chosen or judged on held-out "
            "images. Give a share such as 0.2, or leave these out as preset paper does.",
            settings=("validation_fraction", "preset", *names),
        )


def _check_detector(name: str, value: Any, known: Mapping[str, type]) -> None:
    if value is None or isinstance(value, str):  # names are checked with the other choices
        return
    if name_of(value) not in known:
        classes = ", ".join(kind.__name__ for kind in known.values())
        raise GbadError(
            f"{name} must be one of {', '.join(known)}, or one of {classes}, not {value!r}", settings=(name,)
        )
    if hasattr(value, "offset_"):
        raise GbadError(f"{name} is fitted already, but the pipeline fits a fresh one: give sklearn.base.clone of it")
    # What fit would refuse, hours later, in a run folder that then takes no other settings.
    try:
        value.check_parameters()
    except (TypeError, ValueError) as error:
        raise GbadError(f"{name} {name_of(value)}: {error}") from error


def check_labels(labels: npt.NDArray[np.uint8], classes: Sequence[str]) -> None:
    """Check that labels (n, C) can be learnt from, and that classes can head columns of ``scores.csv``, ``split.csv``.

    Raises
    ------
    DataError
        If all images have threats or none has, if two classes have the same name, or one that of another column.
    """
    check_class_names(classes)
    check_both_kinds(np.asarray(labels.any(1)), "training list")


def check_class_names(classes: Sequence[str]) -> None:
    """Check that class names can head columns of ``scores.csv`` and ``split.csv``; DataError if not."""
    others = {"name", "part", "path", "status", "reason", *SCORE_COLUMNS, *(f"ungated_{name}" for name in classes)}
    for name in classes:
        if not isinstance(name, str) or not name:
            raise DataError(f"{name!r} is no class name. Give each class a text of its own.")
        if "; " in name:
            raise DataError(f"no class may be called {name!r}: '; ' stands between classes in scores.csv. Rename it.")
        if name in others:
            file = "split.csv" if name == "part" else "scores.csv"
            raise DataError(f"no class may be called {name!r}: {file} has a column of that name. Rename the class.")
    if len(set(classes)) < len(classes):
        raise DataError(f"two classes have the same name in {', '.join(classes)}. Give each class its own.")


def check_both_kinds(positive: npt.NDArray[np.bool_], part: str) -> None:
    """Check that a part of the training list has images with and without threats; DataError if not."""
    with_threats, without = int(positive.sum()), int((~positive).sum())
    if not with_threats or not without:
        raise DataError(
            f"the {part} has {counted(with_threats, 'image')} with threats and {without:,} without, but both are "
            "needed. Use more images, another validation_fraction, or gate_fit paper.",
            settings=("validation_fraction", "gate_fit"),
        )


def check_parts(positive: npt.NDArray[np.bool_], validation: npt.NDArray[np.bool_], gate_fit: str) -> None:
    """Check that both parts of a training list have the images that are learnt from there; DataError if not.

    Parameters
    ----------
    positive, validation : bool arrays (n,)
        Which images show a threat, and which belong to the validation part.
    gate_fit : {"held-out", "paper"}
        The latter needs nothing of the validation part.
    """
    check_both_kinds(positive[~validation], "training part")
    if gate_fit == "held-out":
        check_both_kinds(positive[validation], "validation part")
