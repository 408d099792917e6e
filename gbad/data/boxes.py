"""Boxes around the threats of a training list, relative to the size of their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gbad.data.annotations import find_annotations, read_voc_boxes
from gbad.data.arrays import Labels, Rows
from gbad.data.images import image_size
from gbad.errors import DataError, ImageError

Boxes = dict[int, npt.NDArray[np.float32]]
"""Boxes by row of the list, float32 (k, 5): column of the class, left, top, right, bottom. Other rows have no box.

The four sides are shares of the image's width and height, in [0, 1]. So they also hold after the image is warped.
"""

GivenBox = tuple[str | int, float, float, float, float]
"""Class (its name or its column), left, top, right, bottom. The sides are in pixels of the original image."""


def given_boxes(
    boxes: Sequence[Sequence[GivenBox]],
    labels: Labels,
    classes: Sequence[str],
    size_of: Callable[[int], tuple[int, int]],
) -> Boxes:
    """Convert boxes from a caller, one list per image, to `Boxes`.

    Parameters
    ----------
    boxes : sequence of n sequences of (class, left, top, right, bottom)
        In pixels of the original image. Empty for an image without threats, or if its boxes are unknown.
    labels : uint8 array (n, C)
        Image-level labels.
    classes : sequence of C str
    size_of : callable
        ``size_of(row) -> (width, height)`` of the original image. Rows for which it raises ImageError are left out.

    Raises
    ------
    DataError
        If there is no box at all, or a box has an unknown class, has a class that its image is not labelled with, or
        is not inside its image.
    """
    if len(boxes) != len(labels):
        raise DataError(
            f"boxes must hold one list per image: {len(labels)} lists, not {len(boxes)}. An image without boxes needs "
            "an empty list."
        )
    found: Boxes = {}
    for row in (row for row, own in enumerate(boxes) if len(own)):
        try:
            size = size_of(row)
        except ImageError:
            continue  # the code that reads the image counts it as bad
        found[row] = np.stack([_given_box(row, box, labels, classes, size) for box in boxes[row]])
    if not found:
        raise DataError("boxes holds no box. Give the boxes of the images with threats, or set position_weight to 0.")
    return found


def _given_box(
    row: int, box: GivenBox, labels: Labels, classes: Sequence[str], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    if len(box) != 5:
        raise DataError(f"image {row}: {box!r} is not a box (class, left, top, right, bottom). Correct it.")
    label, left, top, right, bottom = box
    column = {name: number for number, name in enumerate(classes)}.get(str(label), label)
    if isinstance(column, str) or column not in range(len(classes)):
        raise DataError(f"image {row}: a box has the class {label!r}. Use one of {', '.join(classes)}.")
    if not labels[row, column]:
        raise DataError(
            f"image {row} has a box of the class {classes[column]!r}, but not this label. Correct the box or the label."
        )
    width, height = size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            f"image {row}: the box {(left, top, right, bottom)} is empty or not inside the image of {width} × {height} "
            "pixels. Give left, top, right, bottom in pixels of the original image."
        )
    return np.array([column, left / width, top / height, right / width, bottom / height], np.float32)


def read_boxes(
    data: str | Path,
    names: Sequence[str],
    paths: Sequence[str | Path],
    labels: Labels,
    classes: Sequence[str],
    *,
    required: bool = True,
) -> Boxes:
    """Read the boxes of a list's images from ``data/Annotation/<name>.xml`` (Pascal VOC).

    Boxes are clipped to the image. Those that are empty then, of a class that the list lacks, or of one that the image
    is not labelled with, are left out (`gbad check` reports them).

    Parameters
    ----------
    data : path-like
        Folder in SIXray's layout.
    names, paths : sequences of n str, n path-like
        Names and files of the images. Rows whose image cannot be read are left out.
    labels : uint8 array (n, C)
    classes : sequence of C str
    required : bool
        Whether at least one box must be there.

    Raises
    ------
    DataError
        If an annotation is damaged, or `required` and no image with a threat has a box.
    """
    folder = Path(data) / "Annotation"
    annotations = find_annotations(folder)
    column_of = {name: column for column, name in enumerate(classes)}
    found: Boxes = {}
    for row in np.flatnonzero(labels.any(1)).tolist():
        if names[row] not in annotations:
            continue
        objects = [(column_of.get(name, -1), box) for name, box in read_voc_boxes(annotations[names[row]])]
        known = [(column, *box) for column, box in objects if column >= 0 and labels[row, column]]
        if not known:
            continue
        try:
            width, height = image_size(paths[row])
        except ImageError:
            continue  # the code that reads the image counts it as bad
        boxes = np.array(known, np.float32)
        boxes[:, 1:] = (boxes[:, 1:] / [width, height, width, height]).clip(0, 1)
        boxes = boxes[(boxes[:, 1] < boxes[:, 3]) & (boxes[:, 2] < boxes[:, 4])]
        if len(boxes):
            found[row] = boxes
    if required and not found:
        raise DataError(
            f"{folder}: no box for any image with threats of the list. Put <name>.xml (Pascal VOC) there, or set "
            "position_weight to 0."
        )
    return found


def padded_boxes(boxes: Boxes, rows: Rows) -> npt.NDArray[np.float32]:
    """Boxes of some rows as one array, float32 (len(rows), K, 5): K is the largest number of boxes, at least 1.

    Lines without a box have class -1.
    """
    own = [boxes.get(int(row), np.empty((0, 5), np.float32)) for row in rows]
    padded = np.full((len(rows), max([1, *map(len, own)]), 5), -1.0, np.float32)
    for line, found in zip(padded, own, strict=True):
        line[: len(found)] = found
    return padded
