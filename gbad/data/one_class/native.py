"""Square windows of images at the resolution of their files: patches of a grid, and regions around objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gbad.data.annotations import Box
from gbad.data.arrays import Mask, Pixels
from gbad.data.images import image_size, read_image
from gbad.data.one_class.patches import HALF, LEAST_SHARE
from gbad.data.original import warp
from gbad.data.source import ImageSource
from gbad.errors import DataError

Value = TypeVar("Value", bound=np.generic)

_KEPT = 32  # images: windows of one image are mostly read in sequence


@dataclass(frozen=True)
class Window:
    """A square of an image: pixels from `left` and `top`, `side` of them each way. It may reach beyond the image."""

    path: Path
    left: int
    top: int
    side: int


def grid_of(path: Path, side: int, *, padded: bool) -> list[Window]:
    """Cut an image into patches that do not overlap, row by row, without scaling it.

    As many patches as fit, in the middle: what is left over at the borders is less than a patch in width and height.

    Parameters
    ----------
    path : Path
    side : int
        Of a patch, in pixels of the file.
    padded : bool
        Whether an image that is narrower or lower than a patch is padded.

    Raises
    ------
    DataError
        If the image is smaller than a patch, and not padded.
    ImageError
        If it cannot be read.
    """
    width, height = image_size(path)
    if min(width, height) < side and not padded:
        raise DataError(
            f"{path}: {width} × {height} pixels, smaller than a patch of {side}. Lower --size, or test whole images."
        )
    columns, rows = max(1, width // side), max(1, height // side)
    left, top = (width - columns * side) // 2, (height - rows * side) // 2
    return [Window(path, left + x * side, top + y * side, side) for y in range(rows) for x in range(columns)]


def window_of(path: Path, box: Box, side: int) -> Window:
    """Put a window of `side` around a box, moved into the image where it fits; a larger box gets a larger window.

    Raises
    ------
    ImageError
        If the image cannot be read.
    """
    width, height = image_size(path)
    own = max(side, int(np.ceil(max(box[2] - box[0], box[3] - box[1]))))
    left, top = (
        round(float(np.clip((low + high - own) / 2, 0, length - own))) if own <= length else (length - own) // 2
        for low, high, length in ((box[0], box[2], width), (box[1], box[3], height))
    )
    return Window(path, left, top, own)


def source_of_windows(windows: Sequence[Window], side: int) -> ImageSource:
    """Source whose rows are windows; larger ones are warped to `side`. Beyond an image it is white, as in X-rays."""
    read = lru_cache(_KEPT)(read_image)

    def load(row: int) -> Pixels:
        one = windows[row]
        return warp(cut(read(one.path), one, 255), side)

    return ImageSource([f"{one.path}#{one.left},{one.top},{one.side}" for one in windows], side, load)


def cut(pixels: npt.NDArray[Value], window: Window, beyond: int = 0) -> npt.NDArray[Value]:
    """Pixels of a window of an image, or of its mask: (height, width, ...) -> (side, side, ...).

    Examples
    --------
    >>> cut(np.array([[1, 2], [3, 4]]), Window(Path("a"), -1, 1, 2), 9).tolist()
    [[9, 3], [9, 9]]
    """
    found = np.full((window.side, window.side, *pixels.shape[2:]), beyond, pixels.dtype)
    (top, bottom), (left, right) = (
        (max(start, 0), min(start + window.side, length))
        for start, length in zip((window.top, window.left), pixels.shape, strict=False)
    )
    inside = pixels[top:bottom, left:right]
    found[top - window.top : bottom - window.top, left - window.left : right - window.left] = inside
    return found


def windows_with_defect(windows: Sequence[Window], mask: Mask) -> list[Window]:
    """Choose the patches that show a defect: it covers a tenth of the patch, or half of it lies in the patch.

    If no patch fulfils this, the patch with the largest part of the defect is chosen; none if all of it lies at the
    borders, beyond the patches.

    Parameters
    ----------
    windows : sequence of Window
        Patches of one image.
    mask : bool ndarray of shape (height, width)
        Of the image, True where it is defective.
    """
    inside = np.array([int(cut(mask, one).sum()) for one in windows])
    shows = (inside >= LEAST_SHARE * windows[0].side ** 2) | (inside >= HALF * max(int(mask.sum()), 1))
    shows[inside.argmax()] |= inside.any()
    return [one for one, take in zip(windows, shows.tolist(), strict=True) if take]
