"""The settings of a pipeline: refuse what cannot work before time is spent on it, and turn them into plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.errors import DataError, GbadError
from gbad.persistence import pack
from gbad.phase1_classifier import ARCHITECTURES, BACKBONES
from gbad.phase1_classifier.chr import MASKS, PREDICTIONS
from gbad.phase1_classifier.model import FUSIONS, POOLINGS
from gbad.phase1_classifier.sampling import NEGATIVES
from gbad.phase1_classifier.training import OPTIMISERS
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase3_gate import ThreatGate

SCORE_COLUMNS = ("reconstruction_loss", "feature_matching_loss", "gate_score", "anomalous")
"""Columns of ``scores.csv`` behind those of the classes."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "backbone": tuple(BACKBONES),
    "architecture": tuple(ARCHITECTURES),
    "pooling": POOLINGS,
    "fusion": FUSIONS,
    "chr_mask": MASKS,
    "chr_prediction": PREDICTIONS,
    "negatives": NEGATIVES,
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
}
# None: chosen by the backbone, on the validation part, or by the mask.
_OPTIONAL = {"optimiser", "learning_rate", "alpha", "chr_threshold"}
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
    if params["weights"] is not None and not Path(params["weights"]).is_file():
        raise GbadError(f"{params['weights']}: no such file. Give the path of a file of backbone weights.")
    for name, estimator in (("detector", BiGANDetector), ("gate", ThreatGate)):
        if params[name] is not None and not isinstance(params[name], estimator):
            raise GbadError(f"{name} must be a {estimator.__name__} or None, not a {type(params[name]).__name__}")


def check_labels(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Check that labels (n, C) can be learnt from, and that the classes can head the columns of ``scores.csv``.

    Raises
    ------
    DataError
        If all images have threats or none has, if two classes have the same name, or one that of another column.
    """
    others = {"name", "path", "status", *SCORE_COLUMNS, *(f"ungated_{name}" for name in classes)}
    for name in classes:
        if not isinstance(name, str) or not name:
            raise DataError(f"{name!r} is no class name. Give each class a text of its own.")
        if name in others:
            raise DataError(f"no class may be called {name!r}: scores.csv has a column of that name. Rename the class.")
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


def plain_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `GBADPipeline` as plain data: detector and gate by their own parameters."""
    estimators = {name: params[name].get_params() for name in ("detector", "gate") if params[name] is not None}
    return pack({**params, **estimators})


def params_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a `GBADPipeline`; the inverse of `plain_settings`."""
    params = dict(settings)
    for name, estimator in (("detector", BiGANDetector), ("gate", ThreatGate)):
        if params.get(name) is not None:
            params[name] = estimator(**params[name])
    return params
