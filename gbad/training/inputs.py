"""The arguments of `GBADPipeline.fit` and `predict_proba`: paths or pixels, labels, names; refuse what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from gbad.data.boxes import Boxes, GivenBox, given_boxes
from gbad.data.images import image_size, pixels_of
from gbad.data.original import ArrayImage, Original
from gbad.data.pictures import open_picture
from gbad.data.source import ImageSource, source_from_array, source_from_paths
from gbad.errors import DataError
from gbad.runtime.text import counted
from gbad.storage.digests import digest
from gbad.training.settings import Settings
from gbad.training.start import check_kept_classes
from gbad.training.training_set import TrainingSet, validation_rows

Images = Sequence[str | Path] | np.ndarray
"""Paths of images, or their pixels: uint8 (n, H, W, 3)."""

OneImage = str | Path | Image.Image | np.ndarray
"""A path, a PIL image, or pixels: uint8 (H, W, 3), or grey (H, W)."""

ScoredImages = Images | OneImage | Sequence[OneImage]
"""What is scored: one image or many."""


def are_pixels(images: Any) -> bool:
    """Whether images are given as pixels, not as paths (of which an array may consist as well)."""
    return isinstance(images, np.ndarray) and images.dtype.kind not in "UO"


def image_source(images: ScoredImages, size: int) -> ImageSource:
    """Source of images, warped to ``(size, size)``: one or many, as paths, PIL images or pixels.

    Raises
    ------
    DataError
        If one is nothing of these. What is wrong with a file is said when it is read.
    """
    if are_pixels(images) and np.asarray(images).ndim not in (2, 3):
        return source_from_array(np.asarray(images), size)
    is_one = isinstance(images, (str, Path, Image.Image)) or are_pixels(images)
    if not is_one and (not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and not images.ndim)):
        raise DataError(f"images is a {type(images).__name__}. Give paths, PIL images, or uint8 arrays (H, W, 3).")
    items: list[Any] = [images] if is_one else list(cast(Iterable[Any], images))
    if all(isinstance(item, (str, Path)) for item in items):
        return source_from_paths(items, size)
    for row, item in enumerate(items):
        _check_one(row, item)
    names = [str(item) if isinstance(item, (str, Path)) else f"image {row}" for row, item in enumerate(items)]

    def opened(row: int) -> Original:
        item = items[row]
        if isinstance(item, (str, Path)):
            return open_picture(item)
        picture = item if isinstance(item, Image.Image) else Image.fromarray(item)
        return ArrayImage(pixels_of(picture, names[row]))

    return ImageSource(names, size, lambda row: opened(row).warped(size), opened)


def _check_one(row: int, item: Any) -> None:
    """Check what one image is given as; DataError if it can be none."""
    if isinstance(item, (str, Path, Image.Image)):
        return
    if not isinstance(item, np.ndarray):
        raise DataError(f"image {row} is a {type(item).__name__}. Give paths, PIL images, or uint8 arrays (H, W, 3).")
    if item.dtype != np.uint8 or not (item.ndim == 2 or (item.ndim == 3 and item.shape[2] == 3)):
        raise DataError(
            f"image {row} must be a uint8 array of shape (H, W, 3), or (H, W) for grey, not {item.dtype} {item.shape}. "
            "Convert it."
        )
    if not item.size:
        raise DataError(f"image {row} has no pixel: its shape is {item.shape}. Give an image that has some.")


def _check_learnable(images: Any) -> None:
    """Check that images are what `fit` learns from: paths, or pixels of one size; DataError if they are not."""
    if isinstance(images, (str, Path)):
        raise DataError(f"images must be a list of paths or an array, not one path: [{str(images)!r}]")
    if are_pixels(images):
        if images.ndim in (2, 3):
            raise DataError(f"to learn from, images must be an array of shape (n, H, W, 3), not {images.shape}.")
    elif wrong := {type(item).__name__ for item in images if not isinstance(item, (str, Path))}:
        raise DataError(
            "to learn from, images must be paths, or one uint8 array (n, H, W, 3); the list holds "
            f"{', '.join(sorted(wrong))}"
        )


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
    _check_learnable(images)
    source = image_source(images, settings.size)
    labels, classes = _check_labels(labels, len(images), classes)
    check_kept_classes(settings, classes)
    paths = None if are_pixels(images) else [Path(path) for path in images]
    if names is None:
        # Names that do not end in a number have no neighbours: nothing is known about the order of an array.
        names = [path.stem for path in paths] if paths else [f"row {row} of array" for row in range(len(labels))]
    elif len(names) != len(images):
        raise DataError(f"{counted(len(names), 'name')} for {counted(len(images), 'image')}")
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
        raise DataError(f"{counted(len(groups), 'group')} for {counted(count, 'image')}")
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
