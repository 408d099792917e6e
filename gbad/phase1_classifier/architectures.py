"""The kinds of classifiers that phase 1 can train: build one, describe it as plain data, rebuild it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.errors import GbadError, PipelineFileError
from gbad.phase1_classifier.backbones import fold_norms, freeze_stages, load_imagenet_weights, normalisation
from gbad.phase1_classifier.chr import CHRClassifier
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.runtime.randomness import derived_seed, forked_rng

Classifier = ThreatClassifier | PlainClassifier | CHRClassifier
"""All have ``spec``, ``n_features``, ``forward``, ``loss``, ``levels`` and ``classify_levels``."""

ARCHITECTURES: dict[str, type[Classifier]] = {
    "fpn": ThreatClassifier,
    "plain": PlainClassifier,
    "chr": CHRClassifier,
}


def build_classifier(
    backbone_name: str,
    n_classes: int,
    *,
    architecture: str = "fpn",
    pretrained: bool = True,
    weights: str | Path | None = None,
    frozen_stages: int = 0,
    frozen_norm: bool = False,
    seed: int = 0,
    **options: Any,
) -> tuple[Classifier, str]:
    """Build a classifier that is ready to be trained.

    Parameters
    ----------
    backbone_name, n_classes, **options
        Passed to the architecture's class.
    architecture : {"fpn", "plain", "chr"}
        `ThreatClassifier` (the letter), `PlainClassifier` or `CHRClassifier`.
    pretrained : bool
        Start from ImageNet weights if they can be had; otherwise a warning says why not.
    weights : path-like or None
        Local file of backbone weights, instead of the published ones.
    frozen_stages : int
        Number of backbone stages, from the input on, that stay as they are. Random weights are never frozen.
    frozen_norm : bool
        Fold batch normalisation into the pretrained convolutions (EfficientNet-Lite0 only).
    seed : int
        Random weights depend on it alone.

    Returns
    -------
    model : Classifier
    origin : str
        Where the backbone's weights came from, ``"random"`` if from nowhere.
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
    """Plain description of a classifier: ``{"spec": keyword arguments, "arrays": {name: ndarray}}``, on the CPU.

    ``normalisation`` is the mean and the deviation of the images that it was trained on, see `Normalise`.
    """
    arrays = {key: value.detach().cpu().numpy().copy() for key, value in model.state_dict().items()}
    return {"spec": dict(model.spec), "arrays": arrays, "normalisation": normalisation(model.spec["backbone_name"])}


def classifier_from_state(state: dict[str, Any]) -> Classifier:
    """Rebuild a classifier in evaluation mode, channels-last; the inverse of `classifier_state`.

    A description without ``architecture`` is of a time when there was the pyramid only, one without ``normalisation``
    of a time when Inception-v3 had that of the other backbones.

    Raises
    ------
    PipelineFileError
        If it was trained on images of another normalisation than this version gives it.
    """
    options = dict(state["spec"])
    given = normalisation(options["backbone_name"])
    if state.get("normalisation", None if options["backbone_name"] == "inception_v3" else given) != given:
        raise PipelineFileError(
            f"the classifier, {options['backbone_name']}, was trained on images of another normalisation than this "
            "version of gbad gives it. Install the version that wrote it, or train again."
        )
    kind = ARCHITECTURES[options.pop("architecture", "fpn")]
    with torch.random.fork_rng(devices=[]):
        model = kind(**options)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state["arrays"].items()})
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
