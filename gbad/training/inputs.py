"""The arguments of `GBADPipeline.fit` and `predict_proba`: paths or pixels, labels, names; refuse what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gbad.data.boxes import Boxes, GivenBox, given_boxes
from gbad.data.images import image_size
from gbad.data.source import ImageSource, source_from_array, source_from_paths
from gbad.errors import DataError
from gbad.storage.digests import digest
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet, validation_rows

Images = Sequence[str | Path] | np.ndarray
"""Paths of images, or their pixels: uint8 (n, H, W, 3)."""


def are_pixels(images: Images) -> bool:
    """Whether images are given as pixels, not as paths (of which an array may consist as well)."""
    return isinstance(images, np.ndarray) and images.dtype.kind not in "UO"


def image_source(images: Images, size: int) -> ImageSource:
    """Source of images, warped to ``(size, size)``; DataError if they are neither paths nor pixels."""
    if isinstance(images, (str, Path)):
        raise DataError(f"images must be a list of paths or an array, not one path: [{str(images)!r}]")
    if are_pixels(images):
        return source_from_array(np.asarray(images), size)
    if wrong := {type(item).__name__ for item in images if not isinstance(item, (str, Path))}:
        raise DataError(f"images must be paths, or one uint8 array (n, H, W, 3); the list holds {', '.join(wrong)}")
    return source_from_paths(list(images), size)


def original_size(images: Images, row: int) -> tuple[int, int]:
    """Width and height in pixels of one of the images as it was given; ImageError if its file cannot be read."""
    if are_pixels(images):
        height, width = np.asarray(images).shape[1:3]
        return width, height
    return image_size(images[row])


def training_list(
    images: Images,
    labels: np.ndarray,
    settings: Settings,
    *,
    classes: Sequence[str] | None,
    names: Sequence[str] | None,
    groups: Sequence[str | None] | None,
    boxes: Sequence[Sequence[GivenBox]] | None,
) -> tuple[TrainingSet, Sequence[str]]:
    """Make what is trained on from the arguments of `GBADPipeline.fit` and its settings.

    Returns
    -------
    data : TrainingSet
    names : sequence of n str
        Of the images: the stems of the paths if not given.

    Raises
    ------
    DataError
        If something does not fit.
    """
    source = image_source(images, settings.size)
    labels, classes = _check_labels(labels, len(images), classes)
    paths = None if are_pixels(images) else [Path(path) for path in images]
    if names is None:
        # Names that do not end in a number have no neighbours: nothing is known about the order of an array.
        names = [path.stem for path in paths] if paths else [f"row {row} of array" for row in range(len(labels))]
    elif len(names) != len(images):
        raise DataError(f"{len(names)} names for {len(images)} images")
    _check_groups(groups, len(images))
    validation = validation_rows(names, labels, paths, settings.validation_fraction, settings.random_state, groups)
    places = _check_boxes(boxes, images, labels, classes, settings.position_weight)
    return TrainingSet(source, labels, classes, validation, places), names


def content_of(
    images: Images, data: TrainingSet, names: Sequence[str], groups: Sequence[str | None] | None
) -> dict[str, str | None]:
    """What a run folder must agree with to be continued with these images, labels, groups and boxes."""
    content = np.asarray(images) if are_pixels(images) else data.source.names
    found: dict[str, str | None] = {
        "images": digest(content),
        "labels": digest(names, data.labels, data.classes),
        "groups": None if groups is None else digest([group or "" for group in groups]),
    }
    if data.boxes is not None:
        found["boxes"] = digest(np.array(list(data.boxes)), *data.boxes.values())
    return found


def _check_labels(labels: np.ndarray, count: int, classes: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    labels = np.asarray(labels)
    if labels.ndim != 2 or len(labels) != count or not np.isin(labels, (0, 1)).all():
        raise DataError(f"labels must be 0 or 1, one row per image: (n, C) with n = {count}, not {labels.shape}")
    classes = tuple(f"class_{c}" for c in range(labels.shape[1])) if classes is None else tuple(classes)
    if len(classes) != labels.shape[1]:
        raise DataError(f"{len(classes)} class names for {labels.shape[1]} columns of labels")
    return labels.astype(np.uint8), classes


def _check_groups(groups: Sequence[str | None] | None, count: int) -> None:
    if groups is None:
        return
    if len(groups) != count:
        raise DataError(f"{len(groups)} groups for {count} images")
    for row, group in enumerate(groups):
        if not (group is None or (isinstance(group, str) and group)):
            raise DataError(f"groups must be texts, or None where not known; that of image {row} is {group!r}")


def _check_boxes(
    boxes: Sequence[Sequence[GivenBox]] | None,
    images: Images,
    labels: np.ndarray,
    classes: Sequence[str],
    position_weight: float,
) -> Boxes | None:
    """Bring boxes into the form that phase 1 takes; DataError if they do not fit, are missing, or of no use."""
    if boxes is None and not position_weight:
        return None
    if boxes is None:
        raise DataError(f"position_weight {position_weight} needs boxes: give fit one list per image, or set it to 0")
    if not position_weight:
        raise DataError("boxes are given, but position_weight is 0, so that they would not be used: set it to 1, say")
    return given_boxes(boxes, labels, classes, lambda row: original_size(images, row))
