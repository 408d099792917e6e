"""The settings of a pipeline: refuse what cannot work before time is spent on it, and turn them into plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.data.transforms import AUGMENTATIONS
from gbad.errors import DataError, GbadError
from gbad.phase1_classifier import ARCHITECTURES, BACKBONES, VIEWS
from gbad.phase1_classifier.chr import MASKS, PREDICTIONS
from gbad.phase1_classifier.model import FUSIONS, POOLINGS
from gbad.phase1_classifier.sampling import NEGATIVES
from gbad.phase1_classifier.training import OPTIMISERS
from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS
from gbad.phase2_anomaly.catalogue import name_of
from gbad.phase3_gate import ThreatGate
from gbad.storage.plain_data import pack

IMAGE_LOSS = "image_anomaly"
"""Name of what an image-level detector adds to the losses."""

SCORE_COLUMNS = (
    *(name for detector in FEATURE_DETECTORS.values() for name in detector.loss_names), IMAGE_LOSS, "gate_score",
    "anomalous", "any_threat",
)  # fmt: skip
"""Columns that ``scores.csv`` may have behind those of the classes."""

_DETECTORS: dict[str, Mapping[str, type[Any]]] = {"detector": FEATURE_DETECTORS, "image_detector": IMAGE_DETECTORS}

_CHOICES: dict[str, tuple[str, ...]] = {
    "backbone": tuple(BACKBONES),
    "architecture": tuple(ARCHITECTURES),
    "pooling": POOLINGS,
    "fusion": FUSIONS,
    "chr_mask": MASKS,
    "chr_prediction": PREDICTIONS,
    "negatives": NEGATIVES,
    "augmentation": tuple(AUGMENTATIONS),
    "optimiser": OPTIMISERS,
    "precision": ("auto", "no", "bf16", "fp16"),
    "device": ("auto", "cpu"),
    "gate_fit": ("held-out", "paper"),
    "suppression": ("hard", "soft"),
}
# Lowest value, highest value, and whether those two are allowed themselves.
_RANGES: dict[str, tuple[float, float, bool, bool]] = {
    "epochs": (1, math.inf, True, False),
    "batch_size": (2, math.inf, True, False),
    "fpn_width": (1, math.inf, True, False),
    "head_width": (1, math.inf, True, False),
    "max_negatives": (2, math.inf, True, False),
    "random_state": (0, math.inf, True, False),
    "learning_rate": (0, math.inf, False, False),
    "weight_decay": (0, math.inf, True, False),
    "ema_decay": (0, 1, True, False),
    "epsilon": (0, 1, False, True),
    "alpha": (0, math.inf, True, False),
    "position_weight": (0, math.inf, True, False),
    "chr_threshold": (-math.inf, math.inf, False, False),
    "validation_fraction": (0, 1, False, False),
    "prevalence": (0, 1, False, False),
}
LATER: dict[str, Any] = {"image_detector": None, "augmentation": "standard", "prevalence": None}
"""Settings that `plain_settings` leaves out at these values: there was no choice once."""
# None: chosen by the backbone, on the validation part, or by the mask.
_OPTIONAL = {"optimiser", "learning_rate", "alpha", "chr_threshold", "prevalence"}
_WHOLE = {"epochs", "batch_size", "fpn_width", "head_width", "max_negatives", "random_state"}


def check_settings(params: Mapping[str, Any]) -> None:
    """Check the parameters of a `GBADPipeline`.

    Raises
    ------
    GbadError
        Names the parameter, its value and what it may be.
    """
    for name, known in _CHOICES.items():
        value = params[name]
        if value not in known and not (value is None and name in _OPTIONAL):
            raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
    for name, (low, high, with_low, with_high) in _RANGES.items():
        value = params[name]
        if value is None and name in _OPTIONAL:
            continue
        kinds = (int, np.integer) if name in _WHOLE else (int, float, np.integer, np.floating)
        inside = isinstance(value, kinds) and (low <= value if with_low else low < value)
        if not inside or not (value <= high if with_high else value < high):
            what = "whole number" if name in _WHOLE else "number"
            bounds = f"{'from' if with_low else 'above'} {low}"
            bounds += "" if high == math.inf else f" {'to' if with_high else 'and below'} {high}"
            raise GbadError(f"{name} must be a {what} {bounds}, not {value!r}")
    if params["precision"] == "fp16" and (params["device"] == "cpu" or not torch.accelerator.is_available()):
        raise GbadError("precision fp16 needs an accelerator; choose auto, bf16 or no")
    if params["position_weight"] and params["architecture"] != "fpn":
        raise GbadError(
            f"position_weight {params['position_weight']} needs the architecture fpn, on whose levels positions are "
            f"learnt, not {params['architecture']}; choose fpn, or set it to 0"
        )
    facts = BACKBONES[params["backbone"]]
    if params["size"] < facts.min_size:
        raise GbadError(f"{params['backbone']} needs images of at least {facts.min_size} px, not {params['size']}")
    if params["views"] not in VIEWS:
        raise GbadError(f"views must be one of {', '.join(map(str, VIEWS))}, not {params['views']!r}")
    if params["weights"] is not None and not Path(params["weights"]).is_file():
        raise GbadError(f"{params['weights']}: no such file. Give the path of a file of backbone weights.")
    if params["gate"] is not None and not isinstance(params["gate"], ThreatGate):
        raise GbadError(f"gate must be a ThreatGate or None, not a {type(params['gate']).__name__}")
    for name, known_detectors in _DETECTORS.items():
        _check_detector(name, params[name], known_detectors)
    plain_settings(params)  # what cannot be saved is found now, not after the training


def _check_detector(name: str, value: Any, known: Mapping[str, type]) -> None:
    if value is None:
        return
    if isinstance(value, str):
        if value not in known:
            raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
        return
    if name_of(value) not in known:
        kinds = ", ".join(kind.__name__ for kind in known.values())
        raise GbadError(f"{name} must be None, one of {', '.join(known)}, or one of {kinds}, not {value!r}")
    if hasattr(value, "offset_"):
        raise GbadError(f"{name} is fitted already, but the pipeline fits a fresh one: give sklearn.base.clone of it")
    # What fit would refuse, hours later, in a run folder that then takes no other settings.
    try:
        value.check_parameters()
    except (TypeError, ValueError) as error:
        raise GbadError(f"{name} {name_of(value)}: {error}") from error


def check_labels(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Check that labels (n, C) can be learnt from, and that classes can head columns of ``scores.csv``, ``split.csv``.

    Raises
    ------
    DataError
        If all images have threats or none has, if two classes have the same name, or one that of another column.
    """
    others = {"name", "part", "path", "status", *SCORE_COLUMNS, *(f"ungated_{name}" for name in classes)}
    for name in classes:
        if not isinstance(name, str) or not name:
            raise DataError(f"{name!r} is no class name. Give each class a text of its own.")
        if name in others:
            file = "split.csv" if name == "part" else "scores.csv"
            raise DataError(f"no class may be called {name!r}: {file} has a column of that name. Rename the class.")
    if len(set(classes)) < len(classes):
        raise DataError(f"two classes have the same name in {', '.join(classes)}. Give each class its own.")
    check_kinds(np.asarray(labels.any(1)), "training list")


def check_kinds(positive: np.ndarray, part: str) -> None:
    """Check that a part of the training list has images with and without threats; DataError if not."""
    with_threats, without = int(positive.sum()), int((~positive).sum())
    if not with_threats or not without:
        raise DataError(
            f"the {part} has {with_threats:,} images with threats and {without:,} without, but both are needed. Use "
            "more images, another --validation-fraction, or --gate-fit paper."
        )


def check_parts(positive: np.ndarray, validation: np.ndarray, gate_fit: str) -> None:
    """Check that both parts of a training list have the kinds of images that are learnt from there; DataError if not.

    Parameters
    ----------
    positive, validation : bool arrays (n,)
        Which images show a threat, and which are kept for validation.
    gate_fit : {"held-out", "paper"}
        The latter needs nothing of the validation part.
    """
    check_kinds(positive[~validation], "training part")
    if gate_fit == "held-out":
        check_kinds(positive[validation], "validation part")


def plain_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `GBADPipeline` as plain data: detectors and gate by their own parameters.

    An image-level detector that is not there, the standard augmentation and the list's own prevalence are left out, and
    a BiGAN has no kind, so that runs, cells and files from before there was a choice still agree.
    """
    plain = {name: value for name, value in params.items() if name not in LATER or value != LATER[name]}
    for name in (*_DETECTORS, "gate"):
        value = plain.get(name)
        if value is None or isinstance(value, str):
            continue
        own = value.get_params()
        plain[name] = own if name == "gate" or name_of(value) == "bigan" else {"kind": name_of(value), "params": own}
    packed: dict[str, Any] = pack(plain)
    return packed


def params_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `GBADPipeline`; the inverse of `plain_settings`."""
    params = dict(settings)
    if params.get("gate") is not None:
        params["gate"] = ThreatGate(**params["gate"])
    for name, known in _DETECTORS.items():
        value = params.get(name)
        if value is None or isinstance(value, str):
            continue
        has_kind = value.keys() == {"kind", "params"}
        params[name] = known[value["kind"]](**value["params"]) if has_kind else known["bigan"](**value)
    return params
