"""What a training starts from: ImageNet weights, or the classifiers of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gbad.errors import GbadError, PipelineFileError
from gbad.models import DEFAULT, SHIPPED, pipeline_path
from gbad.storage.plain_data import read_pickle
from gbad.training.settings import Settings

IMAGENET = "imagenet"
"""Setting ``start`` of a training that starts from ImageNet weights."""


def start_of(settings: Settings) -> str | None:
    """Name the pipeline that a training starts from; None for ImageNet or random weights.

    What is left open is the model that comes with gbad, if it has the same architecture and backbone: on real threats
    it was a much better start than ImageNet (``studies/starts.py``).
    """
    if settings.start is not None:
        return None if settings.start == IMAGENET else settings.start
    model = SHIPPED[DEFAULT]
    suits = (settings.architecture, settings.backbone) == (model.architecture, model.backbone)
    return DEFAULT if suits and settings.pretrained and settings.weights is None else None


def started_from(settings: Settings, *, regions: bool = False) -> Mapping[str, Any] | None:
    """Read the classifier to start from, as from `gbad.phase1_classifier.classifier_state`.

    Parameters
    ----------
    settings : Settings
    regions : bool
        The classifier of regions, in the place of the first look's.

    Returns
    -------
    mapping or None
        With its ``classes`` and the ``name`` of the pipeline. None if training starts from no pipeline, or that one has
        no second look.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, or holds no fitted pipeline.
    """
    start = start_of(settings)
    if start is None:
        return None
    path = pipeline_path(start)
    fitted = getattr(read_pickle(path), "fitted_", None)
    if fitted is None:
        raise PipelineFileError(f"{path}: holds no fitted pipeline to start from. Give a pipeline.joblib.")
    if regions and fitted.second is None:
        return None
    classifier = fitted.second.model.classifier if regions else fitted.classifier
    return {**classifier, "classes": fitted.classes, "name": Path(start).name}


def check_start(settings: Settings) -> None:
    """Check that training can go on from the pipeline that the settings name, before anything is written.

    Raises
    ------
    GbadError
        If there is no such pipeline, its architecture or backbone is another, or weights are given as well.
    """
    if settings.start in (None, IMAGENET):
        return
    if settings.weights is not None:
        raise GbadError("give start or weights, not both", settings=("start", "weights"))
    if not pipeline_path(settings.start).is_file():
        named = ", ".join([*SHIPPED, IMAGENET])
        raise GbadError(
            f"start {settings.start}: no such file. Give a pipeline.joblib, or one of {named}.",
            settings=("start",),
        )
    start = started_from(settings)
    for name, wanted in (("architecture", settings.architecture), ("backbone_name", settings.backbone)):
        if start is not None and start["spec"][name] != wanted:
            what = name.removesuffix("_name")
            raise GbadError(
                f"{settings.start}: its {what} is {start['spec'][name]}, not {wanted}. Choose the same {what}, or "
                "another pipeline.", settings=(what,),
            )  # fmt: skip
