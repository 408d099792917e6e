"""The architectures that phase 1 can train: build a classifier, describe it as plain data, rebuild it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gbad.errors import GbadError, PipelineFileError
from gbad.phase1_classifier.backbones import load_imagenet_weights, normalisation
from gbad.phase1_classifier.chr import CHRClassifier
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.efficientnet_lite import EfficientNetLite
from gbad.phase1_classifier.fine_tuning import fold_norms, freeze_stages
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.runtime.randomness import derived_seed, forked_rng

ARCHITECTURES: dict[str, type[Classifier]] = {
    kind.architecture: kind for kind in (ThreatClassifier, PlainClassifier, CHRClassifier)
}
"""By name: ``"fpn"``, GBAD's feature pyramid; ``"plain"``; ``"chr"``."""


def build_classifier(
    backbone_name: str,
    n_classes: int,
    *,
    architecture: str,
    pretrained: bool,
    weights: str | Path | None,
    frozen_stages: int,
    frozen_norm: bool,
    seed: int,
    start: Mapping[str, Any] | None = None,
    same_classes: bool = True,
    **options: Any,
) -> tuple[Classifier, str]:
    """Build a classifier that is ready to be trained.

    Parameters
    ----------
    backbone_name, n_classes, **options
        Arguments of the architecture's class.
    architecture : {"fpn", "plain", "chr"}
        `ThreatClassifier` (GBAD), `PlainClassifier` or `CHRClassifier`.
    pretrained : bool
        Start from ImageNet weights. If they cannot be loaded, a warning says why, and weights are random.
    weights : path-like or None
        Local file of backbone weights, instead of the published ones.
    frozen_stages : int
        Number of backbone stages, counted from the input, that are not trained. Random weights are never frozen.
    frozen_norm : bool
        Fold batch normalisation into the pretrained convolutions (EfficientNet-Lite only).
    seed : int
        Random weights depend on the seed alone.
    start : mapping, optional
        A trained classifier of the same architecture and backbone, from `classifier_state`, with the ``name`` of its
        pipeline: its weights are taken where their shapes fit, in the place of ImageNet weights.
    same_classes : bool
        Whether it has these classes in this order. If not, the layers that tell classes apart start anew.

    Returns
    -------
    model : Classifier
    origin : str
        Where the backbone's weights came from; ``"random"`` for random weights.

    Raises
    ------
    GbadError
        If the architecture is unknown, weights cannot be read, or do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise GbadError(f"unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
    with forked_rng(derived_seed(seed, "phase 1 weights")):
        model = ARCHITECTURES[architecture](backbone_name, n_classes, **options)
    origin = None
    if start is not None:
        _take_over(model, start, same_classes)
        origin = f"pipeline {start['name']}"
    elif pretrained or weights is not None:
        origin = load_imagenet_weights(model.backbone, backbone_name, weights)
    if origin is not None:
        freeze_stages(model.backbone, backbone_name, frozen_stages)
        if frozen_norm:
            _fold(model)
    return model, origin or "random"


_WITHOUT_CLASSES = ("backbone.", "fpn.", "heads.")  # parts of any architecture that know no class


def _take_over(model: Classifier, start: Mapping[str, Any], same_classes: bool) -> None:
    """Put the weights of a trained classifier into a new one, where their shapes fit."""
    for name in ("architecture", "backbone_name"):
        if start["spec"][name] != model.spec[name]:
            raise GbadError(f"{name}: a classifier of {start['spec'][name]} cannot go on as one of {model.spec[name]}")
    if start["spec"].get("folded_norms"):
        _fold(model)
    weights = model.state_dict()
    for name, values in start["arrays"].items():
        if not same_classes and not name.startswith(_WITHOUT_CLASSES):
            continue
        if name in weights and weights[name].shape == values.shape:
            weights[name] = torch.from_numpy(np.array(values))
    model.load_state_dict(weights)


def _fold(model: Classifier) -> None:
    """Fold batch normalisation into the backbone's convolutions, unless that is done, and note it in the spec."""
    if not model.spec.get("folded_norms"):
        fold_norms(model.backbone)
        model.spec["folded_norms"] = True


def classifier_state(model: Classifier) -> dict[str, Any]:
    """Describe a classifier as plain data, on the CPU.

    Returns
    -------
    dict
        ``spec``: arguments that build it; ``arrays``: its weights by name; ``normalisation``: mean and standard
        deviation of the images that it was trained on.
    """
    arrays = {key: value.detach().cpu().numpy().copy() for key, value in model.state_dict().items()}
    return {"spec": dict(model.spec), "arrays": arrays, "normalisation": normalisation(model.spec["backbone_name"])}


def in_half_precision(state: Mapping[str, Any]) -> dict[str, Any]:
    """Round the weights of a classifier to float16: half as many bytes.

    Scores are computed in float32 from the rounded weights. A tensor with a value that float16 cannot hold stays as it
    is.

    Parameters
    ----------
    state : mapping
        As from `classifier_state`.
    """
    return {**state, "arrays": {name: _rounded(value) for name, value in state["arrays"].items()}}


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype != np.float32 or np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        return values
    return values.astype(np.float16)


def classifier_from_state(state: Mapping[str, Any]) -> Classifier:
    """Rebuild a classifier in evaluation mode, channels-last; the inverse of `classifier_state`.

    Raises
    ------
    PipelineFileError
        If the classifier was trained on images that were normalised differently from this version's.
    """
    options = dict(state["spec"])
    if state["normalisation"] != normalisation(options["backbone_name"]):
        raise PipelineFileError(
            f"the classifier, {options['backbone_name']}, was trained on images of another normalisation than this "
            "version of gbad gives it. Install the version that wrote it, or train again."
        )
    kind = ARCHITECTURES[options.pop("architecture")]
    with torch.random.fork_rng(devices=[]):
        model = kind(**options)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state["arrays"].items()})
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def scoring_network(state: Mapping[str, Any], device: str) -> Classifier:
    """Rebuild a classifier as `classifier_from_state` does, to score on a device.

    Batch normalisation of EfficientNet-Lite is folded into its convolutions: the same function up to rounding, with a
    third fewer layers.
    """
    model = classifier_from_state(state)
    if isinstance(model.backbone, EfficientNetLite):
        _fold(model)
    return model.to(device).to(memory_format=torch.channels_last)  # the folded layers are new
