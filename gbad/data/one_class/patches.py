"""Images cut into a grid of patches without overlap."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gbad.data.annotations import Box
from gbad.data.arrays import Mask, Pixels
from gbad.data.images import read_image
from gbad.data.source import ImageSource

_KEPT = 32  # images: patches of one image are mostly read in sequence
LEAST_SHARE, HALF = 0.1, 0.5
"""A patch shows an object that covers this share of the patch, or of which this share lies in the patch."""


def source_of_patches(paths: Sequence[Path], grid: int, size: int) -> ImageSource:
    """Source whose rows are patches of images: ``grid ** 2`` rows per image, from left to right, then downwards.

    Parameters
    ----------
    paths : sequence of n Path
        Images. Each is warped to ``grid * size`` pixels per side before it is cut.
    grid : int
        Patches per side; 1 gives whole images.
    size : int
        Side of a patch in pixels.
    """
    read = lru_cache(_KEPT)(lambda number: read_image(paths[number], grid * size))

    def load(row: int) -> Pixels:
        number, y, x = row // grid**2, row // grid % grid, row % grid
        return read(number)[y * size : (y + 1) * size, x * size : (x + 1) * size]

    names = [f"{path}#{patch}" if grid > 1 else str(path) for path in paths for patch in range(grid**2)]
    return ImageSource(names, size, load)


def patch_shares(
    box: Box, shape: tuple[int, int], grid: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Measure how a box and each patch overlap.

    Parameters
    ----------
    box : (xmin, ymin, xmax, ymax)
        In pixels of the image.
    shape : (height, width)
        Of the image.
    grid : int
        Patches per side.

    Returns
    -------
    of_patch, of_box : ndarray of shape (grid ** 2,), float64
        Overlap as a share of the patch's area and of the box's area, in [0, 1]. A box without area has no overlap.

    Examples
    --------
    >>> of_patch, of_box = patch_shares((0, 0, 50, 100), (100, 100), 2)
    >>> of_patch.tolist(), of_box.tolist()
    ([1.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.5, 0.0])
    """
    height, width = shape[0] / grid, shape[1] / grid
    steps = np.arange(grid)
    x = np.clip(np.minimum(box[2], (steps + 1) * width) - np.maximum(box[0], steps * width), 0, None)
    y = np.clip(np.minimum(box[3], (steps + 1) * height) - np.maximum(box[1], steps * height), 0, None)
    overlap = np.outer(y, x).ravel()
    area = (box[2] - box[0]) * (box[3] - box[1])
    return overlap / (height * width), overlap / area if area > 0 else np.zeros(grid**2)


def patches_of_boxes(boxes: Sequence[Box], shape: tuple[int, int], grid: int) -> Mask:
    """Choose the patches that show a threat: a box covers at least a tenth of the patch, or half of it is inside.

    If no patch fulfils this for a box, the patch with the largest part of the box is chosen.

    Returns
    -------
    ndarray of shape (grid ** 2,), bool
    """
    shows = np.zeros(grid**2, bool)
    for box in boxes:
        of_patch, of_box = patch_shares(box, shape, grid)
        shows |= (of_patch >= LEAST_SHARE) | (of_box >= HALF)
        shows[of_patch.argmax()] |= of_patch.any()
    return shows
