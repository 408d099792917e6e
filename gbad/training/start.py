"""The pipeline that a training starts from, in the place of ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gbad.errors import GbadError, PipelineFileError
from gbad.models import pipeline_path
from gbad.storage.plain_data import read_pickle
from gbad.training.settings import Settings


def started_from(settings: Settings, *, regions: bool = False) -> Mapping[str, Any] | None:
    """Read the classifier to start from, as from `gbad.phase1_classifier.classifier_state`, with its ``classes``.

    Parameters
    ----------
    settings : Settings
    regions : bool
        The classifier of regions, in the place of the first look's.

    Returns
    -------
    mapping or None
        None if the settings name no pipeline, or it has no second look.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, or holds no fitted pipeline.
    """
    if settings.start is None:
        return None
    path = pipeline_path(settings.start)
    fitted = getattr(read_pickle(path), "fitted_", None)
    if fitted is None:
        raise PipelineFileError(f"{path}: holds no fitted pipeline to start from. Give a pipeline.joblib.")
    if regions and fitted.second is None:
        return None
    classifier = fitted.second.model.classifier if regions else fitted.classifier
    return {**classifier, "classes": fitted.classes}


def check_start(settings: Settings) -> None:
    """Check that training can go on from the pipeline that the settings name, before anything is written.

    Raises
    ------
    GbadError
        If there is no such pipeline, or its architecture or backbone is another.
    """
    start = started_from(settings)
    for name, wanted in (("architecture", settings.architecture), ("backbone_name", settings.backbone)):
        if start is not None and start["spec"][name] != wanted:
            what = name.removesuffix("_name")
            raise GbadError(
                f"{settings.start}: its {what} is {start['spec'][name]}, not {wanted}. Choose the same {what}, or "
                "another pipeline.", settings=(what,),
            )  # fmt: skip
