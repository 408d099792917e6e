"""The pipeline that a training starts from, in the place of ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gbad.errors import PipelineFileError
from gbad.models import pipeline_path
from gbad.storage.plain_data import read_pickle
from gbad.training.settings import Settings


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
    if not regions:
        return dict(fitted.classifier)
    return None if fitted.second is None else dict(fitted.second.model.classifier)
