"""What a training starts from: ImageNet weights, or the classifiers of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def kept_networks(settings: Settings) -> list[str]:
    """Name the settings, ``epochs`` and ``region_epochs``, that keep a classifier of the start as it is."""
    looks = ["epochs", *(["region_epochs"] if settings.second_look else [])]
    return [name for name in looks if getattr(settings, name) == 0]


def check_start(settings: Settings) -> None:
    """Check that training can go on from the pipeline that the settings name, before anything is written.

    Raises
    ------
    GbadError
        If there is no such pipeline, its architecture or backbone is another, weights are given as well, or a
        classifier is to be kept that there is not.
    """
    keeps = kept_networks(settings)
    name = start_of(settings)
    if keeps and name is None:
        raise GbadError(
            f"{keeps[0]} 0 keeps the classifier of a pipeline, but there is none to start from. Give {keeps[0]} from "
            "1, or start as a pipeline.joblib.", settings=(keeps[0], "start"),
        )  # fmt: skip
    if name is None or (settings.start is None and not keeps):  # the model that comes with gbad suits
        return
    if settings.weights is not None:
        raise GbadError("give start or weights, not both", settings=("start", "weights"))
    if not pipeline_path(name).is_file():
        named = ", ".join([*SHIPPED, IMAGENET])
        raise GbadError(f"start {name}: no such file. Give a pipeline.joblib, or one of {named}.", settings=("start",))
    start = started_from(settings)
    assert start is not None  # it has a name
    spec = {"fpn_form": "full"} | start["spec"]  # older pipelines knew no other
    for what, wanted in (("architecture", settings.architecture), ("backbone", settings.backbone)):
        has = spec["backbone_name" if what == "backbone" else what]
        if has != wanted:
            raise GbadError(
                f"{name}: its {what} is {has}, not {wanted}. Choose the same {what}, or another pipeline.",
                settings=(what,),
            )
    for what in ("fpn_width", "fpn_form", "head_width", "pooling", "fusion") if "epochs" in keeps else ():
        wanted, has = getattr(settings, what), spec.get(what)
        if has is not None and wanted not in (None, has):
            raise GbadError(
                f"{name}: its {what} is {has}, not {wanted}. With epochs 0, choose the same.",
                settings=(what, "epochs"),
            )
    if "region_epochs" in keeps and started_from(settings, regions=True) is None:
        raise GbadError(
            f"{name}: has no second look whose classifier could be kept. Give region_epochs from 1, or second_look "
            "false.", settings=("region_epochs", "second_look"),
        )  # fmt: skip


def check_kept_classes(settings: Settings, classes: Sequence[str]) -> None:
    """Check that a classifier that is kept tells the classes of the training list apart; GbadError if not."""
    keeps = kept_networks(settings)
    start = started_from(settings) if keeps else None
    if start is not None and tuple(start["classes"]) != tuple(classes):
        raise GbadError(
            f"the classifier of {start['name']} knows {', '.join(start['classes'])}, and the training list has "
            f"{', '.join(classes)}. With {keeps[0]} 0 they must be the same, in the same order. Train it, or bring "
            "the list into this form with gbad labels.", settings=tuple(keeps),
        )  # fmt: skip
