"""Images for the image-level detectors: an array or a list of files, read batch by batch at one size and colour."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from gbad.data.images import read_image
from gbad.errors import DataError
from gbad.storage.digests import digest

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

_WANTED = "Give a uint8 array of shape (n, height, width) or (n, height, width, 1 or 3), or a list of image files"


class ImageRows:
    """Images by row number, resized and brought to one number of channels when they are read.

    Parameters
    ----------
    X : ndarray of uint8, shape (n, height, width) or (n, height, width, 1 or 3), or sequence of paths
        The images. Files are decoded for each batch anew, so a data set need not fit in memory.
    size : int
        Side in pixels to which images are warped (antialiased bilinear), where they differ.
    channels : int, optional
        1 (luminance) or 3; by default the number that `X` has, 3 for files.

    Raises
    ------
    DataError
        If `X` has another type, shape or dtype, or is empty.
    """

    def __init__(self, X: Any, size: int, channels: int | None = None) -> None:
        self.size = size
        self._pixels: Pixels | None = None
        self._paths: list[Path] = []
        if isinstance(X, np.ndarray) and X.dtype.kind not in "OU":
            self._pixels = _checked(X)
            self.channels = channels or self._pixels.shape[3]
        else:
            self._paths = _as_paths(X)
            self.channels = channels or 3
        if not len(self):
            raise DataError(f"There are no images. {_WANTED}.")

    def __len__(self) -> int:
        return len(self._paths) if self._pixels is None else len(self._pixels)

    def read(self, rows: Sequence[int] | Rows) -> Tensor:
        """Read some rows: (b, channels, size, size) float32 in [-1, 1]."""
        pixels = np.stack([self._read_one(int(row)) for row in rows])  # (b, size, size, channels)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()

    def digest(self) -> str:
        """Digest of all pixels, or of each file's path, length and time of change."""
        if self._pixels is not None:
            return digest(self._pixels)
        found = [path.stat() if path.exists() else None for path in self._paths]
        states = [None if one is None else (one.st_size, one.st_mtime_ns) for one in found]
        return digest([repr(file) for file in zip(map(str, self._paths), states, strict=True)])

    def _read_one(self, row: int) -> Pixels:
        if self._pixels is None:
            image = read_image(self._paths[row], self.size)
        else:
            image = self._pixels[row]
            if image.shape[:2] != (self.size, self.size):
                whole = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
                image = np.array(whole.resize((self.size, self.size), Image.Resampling.BILINEAR))
                image = image.reshape(self.size, self.size, -1)
        if image.shape[2] > self.channels:
            return np.array(Image.fromarray(image).convert("L"))[..., None]
        return np.repeat(image, self.channels // image.shape[2], axis=2)


def fixed_chunks(rows: Rows, size: int) -> Iterator[tuple[Rows, int]]:
    """Cut `rows` into chunks of `size`, each with its number of rows; the last chunk is filled up with its last row."""
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        yield np.pad(chunk, (0, size - len(chunk)), mode="edge"), len(chunk)


def even_batches(rows: Rows, size: int) -> list[Rows]:
    """Cut all `rows` into equal batches of at most `size` rows, but at least two.

    Examples
    --------
    >>> [len(batch) for batch in even_batches(np.arange(9), 4)]
    [3, 3, 3]
    >>> [len(batch) for batch in even_batches(np.arange(3), 2)]
    [3]
    """
    return np.array_split(rows, max(1, min(math.ceil(len(rows) / size), len(rows) // 2)))


def _checked(X: npt.NDArray[Any]) -> Pixels:
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in (1, 3)) or 0 in X.shape[1:]:
        raise DataError(f"An array of shape {X.shape} does not hold images. {_WANTED}.")
    if X.dtype != np.uint8:
        raise DataError(f"Pixels of type {X.dtype} have no agreed range. {_WANTED}: scale the pixels to 0...255 first.")
    return X[..., None] if X.ndim == 3 else X


def _as_paths(X: Any) -> list[Path]:
    if isinstance(X, (str, os.PathLike)):
        raise DataError(f"{X}: one path instead of a list. {_WANTED}, such as [{str(X)!r}].")
    try:
        paths = list(X)
    except TypeError:
        raise DataError(f"Images cannot be read from a {type(X).__name__}. {_WANTED}.") from None
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise DataError(f"Images cannot be read from a list of {type(path).__name__}. {_WANTED}.")
    return [Path(path) for path in paths]
