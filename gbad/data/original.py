"""An image at the resolution of its file, and square regions that are cut from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gbad.data.arrays import Pixels
from gbad.data.images import MAX_PIXELS, DecodedImage, check_file, decoded, header_size, read_file
from gbad.data.room import LARGE_FILE, room_for

# Of an image that waits for a second look. Some hundred images may wait at a time.
KEPT_PIXELS = 2_000_000
_KEPT_BYTES = 1_000_000


class Original(ABC):
    """One image: small for the first look, at its own resolution for the second."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    @abstractmethod
    def warped(self, size: int) -> Pixels:
        """The image warped to uint8 (size, size, 3); ImageError if it cannot be used."""

    @abstractmethod
    def pixels(self) -> Pixels:
        """The image at its own resolution, uint8 (height, width, 3); ImageError if it cannot be used."""


class FileImage(Original):
    """An image file, which is read at once and decoded when that is needed.

    If the first look needed the whole resolution of the file, the second look takes what was decoded then. A JPEG much
    larger than the first look was decoded at a reduced scale, which is faster than decoding it whole: most images get
    no second look. Large files are read and decoded again.

    Parameters
    ----------
    path : Path
    max_pixels : int
        As in `gbad.data.images.read_image`.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        self._path, self._max_pixels = path, max_pixels
        self._bytes = check_file(path, max_pixels)
        self._data: bytes | None = read_file(path, max_pixels) if self._bytes <= LARGE_FILE else None
        self._whole: Pixels | None = None

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header."""
        if self._whole is not None:
            return self._whole.shape[1], self._whole.shape[0]
        return header_size(self._path, self._content, self._max_pixels)

    def warped(self, size: int) -> Pixels:
        """The image warped to uint8 (size, size, 3)."""
        with room_for(size=self._bytes), self._decoded(size) as image:
            if image.is_whole and image.image.width * image.image.height <= KEPT_PIXELS:
                self._whole = image.warped(None)
            if self._whole is not None or self._bytes > _KEPT_BYTES:
                self._data = None
            return image.warped(size)

    def pixels(self) -> Pixels:
        """The image at its own resolution, uint8 (height, width, 3)."""
        if self._whole is not None:
            return self._whole
        with room_for(size=self._bytes), self._decoded(None) as image:
            return image.warped(None)

    def _decoded(self, size: int | None) -> AbstractContextManager[DecodedImage]:
        # 16-bit grey is one energy of a scan: no pipeline learns from it as it is, see `gbad.data.pictures`.
        return decoded(self._path, self._content, size, self._max_pixels, raw=False)

    @property
    def _content(self) -> bytes:
        return read_file(self._path, self._max_pixels) if self._data is None else self._data


class ArrayImage(Original):
    """An image in memory, uint8 (height, width, 3)."""

    def __init__(self, image: Pixels) -> None:
        self._image = np.ascontiguousarray(image)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self._image.shape[:2]
        return width, height

    def warped(self, size: int) -> Pixels:
        """The image warped to uint8 (size, size, 3)."""
        return warp(self._image, size)

    def pixels(self) -> Pixels:
        """The image itself."""
        return self._image


def warp(image: Pixels, size: int) -> Pixels:
    """Warp an image to uint8 (size, size, 3); one that has this size is returned itself."""
    if image.shape[:2] == (size, size):
        return image
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def cut_region(image: Pixels, centre: npt.ArrayLike, side: float, size: int) -> Pixels:
    """Cut a square out of an image. Beyond the border of the image it is white, like the empty belt.

    Parameters
    ----------
    image : uint8 array (height, width, 3)
        RGB, at its own resolution.
    centre : (float, float)
        x and y as shares of the width and height, in [0, 1].
    side : float
        Side of the square in pixels of the image.
    size : int
        Side of the result in pixels. Where it is the side, no pixel is interpolated.

    Returns
    -------
    uint8 array (size, size, 3)

    Examples
    --------
    >>> cut_region(np.zeros((4, 4, 3), np.uint8), (0.0, 0.5), 2, 2)[:, :, 0].tolist()
    [[255, 0], [255, 0]]
    """
    height, width = image.shape[:2]
    x, y = np.asarray(centre, np.float64) * (width, height)
    whole = max(1, round(side))
    left, top = round(x - whole / 2), round(y - whole / 2)
    square = np.full((whole, whole, 3), 255, np.uint8)
    inside = image[max(0, top) : max(0, top + whole), max(0, left) : max(0, left + whole)]
    at_y, at_x = max(0, -top), max(0, -left)
    square[at_y : at_y + inside.shape[0], at_x : at_x + inside.shape[1]] = inside
    return warp(square, size)
