"""Images for the image-level detectors: an array or a list of files, read batch by batch at one size and colour."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gbad.data.images import read_image
from gbad.errors import DataError

_WANTED = "Give a uint8 array of shape (n, height, width) or (n, height, width, 1 or 3), or a list of image files"


class ImageRows:
    """Images by row number, resized and brought to one number of channels when they are read.

    Parameters
    ----------
    X : ndarray of uint8, shape (n, height, width) or (n, height, width, 1 or 3), or sequence of paths
        The images. Files are decoded whenever a batch asks for them, so a data set need not fit in memory.
    size : int
        Side in pixels to which images are warped (antialiased bilinear), where they differ.
    channels : int, optional
        1 (luminance) or 3. None keeps what `X` has: 3 for files.

    Raises
    ------
    DataError
        If `X` is of another kind, shape or dtype, or empty.
    """

    def __init__(self, X: Any, size: int, channels: int | None = None) -> None:
        self.size = size
        self._pixels: np.ndarray | None = None
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

    def read(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Read some rows: (b, channels, size, size) float32 in [-1, 1], as mean and deviation 0.5 give."""
        pixels = np.stack([self._read_one(int(row)) for row in rows])  # (b, size, size, channels)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()

    def fingerprint(self) -> str:
        """Hash that changes when the images do: of all pixels, or of each file's path, length and time of change."""
        digest = hashlib.sha256()
        if self._pixels is not None:
            digest.update(repr(self._pixels.shape).encode())
            for image in self._pixels:
                digest.update(np.ascontiguousarray(image).data)
        for path in self._paths:
            status = path.stat() if path.exists() else None
            digest.update(repr((str(path), status and (status.st_size, status.st_mtime_ns))).encode())
        return digest.hexdigest()

    def _read_one(self, row: int) -> np.ndarray:
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


def fixed_chunks(rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut `rows` into chunks of `size`, the last one filled up with its last row; with the number of real rows."""
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        yield np.pad(chunk, (0, size - len(chunk)), mode="edge"), len(chunk)


def even_batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut `rows` into equal batches of `size` at most, but two rows at least, so that no row is left out.

    Examples
    --------
    >>> [len(batch) for batch in even_batches(np.arange(9), 4)]
    [3, 3, 3]
    >>> [len(batch) for batch in even_batches(np.arange(3), 2)]
    [3]
    """
    return np.array_split(rows, max(1, min(math.ceil(len(rows) / size), len(rows) // 2)))


def _checked(X: np.ndarray) -> np.ndarray:
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
