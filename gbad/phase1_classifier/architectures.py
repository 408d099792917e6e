"""The architectures that phase 1 can train: build a classifier, describe it as plain data, rebuild it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.errors import GbadError, PipelineFileError
from gbad.phase1_classifier.backbones import load_imagenet_weights, normalisation
from gbad.phase1_classifier.chr import CHRClassifier
from gbad.phase1_classifier.classifier import Classifier
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

    Returns
    -------
    model : Classifier
    origin : str
        Where the backbone's weights came from; ``"random"`` for random weights.
    """
    if architecture not in ARCHITECTURES:
        raise GbadError(f"unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
    with forked_rng(derived_seed(seed, "phase 1 weights")):
        model = ARCHITECTURES[architecture](backbone_name, n_classes, **options)
    origin = None
    if pretrained or weights is not None:
        origin = load_imagenet_weights(model.backbone, backbone_name, weights)
    if origin is not None:
        freeze_stages(model.backbone, backbone_name, frozen_stages)
        if frozen_norm:
            fold_norms(model.backbone)
            model.spec["folded_norms"] = True
    return model, origin or "random"


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
