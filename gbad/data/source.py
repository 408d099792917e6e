"""Numbered images from files or an array, read in order, ahead of the consumer, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gbad.data.arrays import Pixels, Rows
from gbad.data.images import MAX_PIXELS, read_image
from gbad.errors import DataError, ImageError

# Decoding releases the interpreter lock, so threads use all cores without copies between processes.
_WORKERS = max(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class ImageSource:
    """A numbered set of images, all brought to one size.

    Attributes
    ----------
    names : sequence of str
        One name (or path) per image.
    size : int
        Width and height of each image in pixels.
    load : callable
        ``load(row) -> uint8 (size, size, 3)``; raises ImageError.
    """

    names: Sequence[str]
    size: int
    load: Callable[[int], Pixels]

    def __len__(self) -> int:
        return len(self.names)


def source_from_paths(paths: Sequence[str | Path], size: int, *, max_pixels: int = MAX_PIXELS) -> ImageSource:
    """Read image files, warped to ``(size, size)``."""
    return ImageSource([str(path) for path in paths], size, lambda row: read_image(paths[row], size, max_pixels))


def source_from_array(images: Pixels, size: int) -> ImageSource:
    """Take images from memory.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
        RGB.
    size : int
        Images of another size are warped to ``(size, size)``.

    Raises
    ------
    DataError
        If the array has another shape or dtype.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise DataError(
            f"images must be a uint8 array of shape (n, H, W, 3), not {images.dtype} {images.shape}. Convert it."
        )

    names = [str(row) for row in range(len(images))]
    return ImageSource(names, size, lambda row: _warp(np.ascontiguousarray(images[row]), size))


def rows_of(source: ImageSource, rows: Rows) -> ImageSource:
    """Give some rows of a source as a source, in the given order."""
    return ImageSource(
        [source.names[row] for row in rows.tolist()], source.size, lambda row: source.load(int(rows[row]))
    )


def warped(source: ImageSource, size: int) -> ImageSource:
    """Give the images of a source, warped to ``(size, size)``."""
    return ImageSource(source.names, size, lambda row: _warp(source.load(row), size))


def _warp(image: Pixels, size: int) -> Pixels:
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def stream(
    source: ImageSource, rows: Sequence[int] | Rows, batch_size: int = 64, workers: int = _WORKERS
) -> Iterator[tuple[Rows, Pixels, dict[int, ImageError]]]:
    """Read images in the order of `rows`, a few batches ahead of the consumer.

    Yields
    ------
    rows : int array (b,)
        Rows of this batch that could be read, in order.
    images : uint8 array (b, size, size, 3)
        Their images.
    errors : dict of int to ImageError
        The rows of this batch that could not be read. They are missing from `rows` and `images`.
    """
    ahead = max(2, -(-4 * workers // batch_size))  # batches: enough to keep all threads busy
    pending: deque[tuple[Rows, list[Future[Pixels]]]] = deque()
    chunks = iter([np.asarray(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)])
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(pending) < ahead and (chunk := next(chunks, None)) is not None:
                pending.append((chunk, [pool.submit(source.load, int(row)) for row in chunk]))
            if not pending:
                return
            chunk, futures = pending.popleft()
            yield _collect(chunk, futures, source.size)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(chunk: Rows, futures: list[Future[Pixels]], size: int) -> tuple[Rows, Pixels, dict[int, ImageError]]:
    images = np.empty((len(chunk), size, size, 3), np.uint8)
    kept: list[int] = []
    errors: dict[int, ImageError] = {}
    for row, future in zip(chunk, futures, strict=True):
        try:
            images[len(kept)] = future.result()
            kept.append(int(row))
        except ImageError as error:
            errors[int(row)] = error
    return np.asarray(kept, dtype=np.int64), images[: len(kept)], errors
