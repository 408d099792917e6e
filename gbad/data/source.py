"""Numbered images from files or an array, read in order, ahead of the consumer, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from gbad.data.arrays import Pixels, Rows
from gbad.data.images import MAX_PIXELS
from gbad.data.original import ArrayImage, Original, warp
from gbad.data.pictures import open_picture, read_picture
from gbad.errors import DataError, ImageError

T = TypeVar("T")

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
    open : callable, optional
        ``open(row) -> Original``, of which regions can be cut; raises ImageError.
    """

    names: Sequence[str]
    size: int
    load: Callable[[int], Pixels]
    open: Callable[[int], Original] | None = None

    def __len__(self) -> int:
        return len(self.names)


def source_from_paths(paths: Sequence[str | Path], size: int, *, max_pixels: int = MAX_PIXELS) -> ImageSource:
    """Read pictures, see `gbad.data.pictures.read_picture`, warped to ``(size, size)``."""
    return ImageSource(
        [str(path) for path in paths], size, lambda row: read_picture(paths[row], size, max_pixels),
        lambda row: open_picture(paths[row], max_pixels),
    )  # fmt: skip


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
        If the array has another shape or dtype, or its images have no pixel.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise DataError(
            f"images must be a uint8 array of shape (n, H, W, 3), not {images.dtype} {images.shape}. Convert it."
        )
    if len(images) and not images.size:
        raise DataError(f"the images have no pixel: their shape is {images.shape}. Give images that have some.")

    names = [str(row) for row in range(len(images))]
    return ImageSource(
        names, size, lambda row: warp(np.ascontiguousarray(images[row]), size), lambda row: ArrayImage(images[row])
    )


def opened(source: ImageSource, row: int) -> Original:
    """Open an image of a source at its own resolution; DataError if the source has one size only."""
    if source.open is None:
        raise DataError("these images cannot be looked at twice: their source gives them at one size only")
    return source.open(row)


def rows_of(source: ImageSource, rows: Rows) -> ImageSource:
    """Give some rows of a source as a source, in the given order."""
    return ImageSource(
        [source.names[row] for row in rows.tolist()], source.size, lambda row: source.load(int(rows[row]))
    )


def warped(source: ImageSource, size: int) -> ImageSource:
    """Give the images of a source, warped to ``(size, size)``."""
    return ImageSource(source.names, size, lambda row: warp(source.load(row), size))


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
    for read, images, errors in _ahead(source.load, rows, batch_size, workers):
        yield read, _stacked(images, source.size), errors


def stream_originals(
    source: ImageSource, rows: Sequence[int] | Rows, batch_size: int = 64, workers: int = _WORKERS
) -> Iterator[tuple[Rows, Pixels, list[Original], dict[int, ImageError]]]:
    """Read images as `stream` does, and keep those of a few batches for a second look.

    Yields
    ------
    rows, images, errors
        As in `stream`.
    originals : list of b Original
    """

    def read(row: int) -> tuple[Pixels, Original]:
        original = opened(source, row)
        return original.warped(source.size), original

    for done, pairs, errors in _ahead(read, rows, batch_size, workers):
        yield done, _stacked([image for image, _ in pairs], source.size), [original for _, original in pairs], errors


def _ahead(
    read: Callable[[int], T], rows: Sequence[int] | Rows, batch_size: int, workers: int
) -> Iterator[tuple[Rows, list[T], dict[int, ImageError]]]:
    """Read rows in threads: per batch the rows that could be read, what they gave, and the errors of the others."""
    ahead = max(2, -(-4 * workers // batch_size))  # batches: enough to keep all threads busy
    pending: deque[tuple[Rows, list[Future[T]]]] = deque()
    chunks = iter([np.asarray(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)])
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(pending) < ahead and (chunk := next(chunks, None)) is not None:
                pending.append((chunk, [pool.submit(read, int(row)) for row in chunk]))
            if not pending:
                return
            chunk, futures = pending.popleft()
            kept: list[int] = []
            found: list[T] = []
            errors: dict[int, ImageError] = {}
            for row, future in zip(chunk, futures, strict=True):
                try:
                    found.append(future.result())
                    kept.append(int(row))
                except ImageError as error:
                    errors[int(row)] = error
            del futures  # they hold what they gave
            yield np.asarray(kept, dtype=np.int64), found, errors
    finally:
        pool.shutdown(cancel_futures=True)


def _stacked(images: Sequence[Pixels], size: int) -> Pixels:
    return np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
