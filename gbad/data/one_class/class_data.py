"""Data sets for one-class detectors: images with one class each, in a training and a test part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import numpy as np

from gbad.data.arrays import Mask, Pixels, Rows
from gbad.data.duplicates import find_duplicates
from gbad.data.source import ImageSource, rows_of, stream
from gbad.errors import DataError, GbadError

Masks = Callable[[int], Mask]
"""``masks(row)``: mask of a test row, bool (size, size), True where the image is defective."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images of the training or the test part, and their classes.

    Attributes
    ----------
    images : ImageSource
        n images, or n patches of images.
    labels : ndarray of shape (n,), int64
        Class of each, an index into the classes of its `ClassData`.
    unit : ndarray of shape (n,), int64
        Unit of each row, 0 … units − 1, ascending. A unit is one row, or all patches of one image. Its score is the
        highest score of its rows.
    image : ndarray of shape (n,), int64, or None
        Image of each row, if an image has several units; of frames, their clip. None: each unit is an image.
    """

    images: ImageSource
    labels: Rows
    unit: Rows
    image: Rows | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class ClassData:
    """A data set, or one category of it. A protocol then chooses the normal classes.

    Attributes
    ----------
    name : str
        Name of the data set or the category.
    classes : tuple of str
        Class names; `Part.labels` are indices into them.
    train, test : Part
        The two parts share no image.
    normal : frozenset of str
        Classes that the data set itself calls normal; empty if it calls no class normal.
    masks : callable or None
        Masks of the test images, if the data set has masks.
    files : tuple of Path
        All files with pixels or masks, always in the same order.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    normal: frozenset[str] = frozenset()
    masks: Masks | None = None
    files: tuple[Path, ...] = ()


def part(images: ImageSource, labels: Sequence[int] | Rows) -> Part:
    """Make a part in which each row is a unit."""
    return Part(images, np.asarray(labels, np.int64), np.arange(len(images)))


def chosen(part: Part, rows: Rows) -> Part:
    """Take some rows of a part, in ascending order; units are numbered anew."""
    _, unit = np.unique(part.unit[rows], return_inverse=True)
    image = None if part.image is None else part.image[rows]
    return Part(rows_of(part.images, rows), part.labels[rows], unit, image)


def joined(first: Part, second: Part) -> Part:
    """Put the rows of one part behind those of another. Both have images of one size."""
    n_rows, n_units = len(first), int(first.unit.max(initial=-1)) + 1
    source = ImageSource(
        [*first.images.names, *second.images.names],
        first.images.size,
        lambda row: first.images.load(row) if row < n_rows else second.images.load(row - n_rows),
    )
    image = None
    if first.image is not None or second.image is not None:
        one, other = (part.unit if part.image is None else part.image for part in (first, second))
        image = np.concatenate([one, other + int(one.max(initial=-1)) + 1])
    return Part(
        source,
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.unit, second.unit + n_units]),
        image,
    )


def load_all(source: ImageSource, in_memory: int = 2**31) -> Pixels:
    """Read all images of a source.

    Parameters
    ----------
    source : ImageSource
        n images.
    in_memory : int
        Largest array in bytes that is kept in memory. A larger one goes into a temporary file that is mapped into
        memory and disappears with the array.

    Returns
    -------
    uint8 array (n, size, size, 3)

    Raises
    ------
    ImageError
        If an image cannot be used: results on fewer images could not be compared.
    GbadError
        If the disk of the temporary file is full.
    """
    shape = (len(source), source.size, source.size, 3)
    images = None if np.prod(shape, dtype=np.int64) > in_memory else np.empty(shape, np.uint8)
    with TemporaryFile(buffering=0) as file:
        for rows, batch, errors in stream(source, np.arange(len(source))):
            for error in errors.values():
                raise error
            if images is None:
                # Writing through a memory map would end the process on a full disk; write() raises an error.
                _write(file, batch)
            else:
                images[rows] = batch
        if images is None:
            images = np.memmap(file, np.uint8, "r", shape=shape)
    return images


def _write(file: IO[bytes], images: Pixels) -> None:
    try:
        if file.write(images.tobytes()) < images.nbytes:
            raise OSError("the disk took only part of the images")
    except OSError as error:
        raise GbadError(
            f"{gettempdir()}: the decoded images do not fit ({error.strerror or error}). Free some space there, "
            "or set TMPDIR to a folder with more, and run the same command again."
        ) from error


def choose_test_rows(paths: Sequence[str | Path], fraction: float = 0.2) -> Mask:
    """Choose the test rows of a class without official test part. Each run chooses the same rows.

    Files with the same bytes stay in one part.

    Parameters
    ----------
    paths : sequence of path-like
        The images of the class.
    fraction : float
        Share of the images for the test part, in (0, 1).

    Returns
    -------
    ndarray of shape (n,), bool
        True for test rows. At least one row is True and at least one is False.

    Raises
    ------
    DataError
        If there are fewer than two different images.
    """
    group = np.arange(len(paths))
    for same in find_duplicates(paths):
        group[same] = same[0]
    groups = np.unique(group)
    if len(groups) < 2:
        where = paths[0] if len(paths) else "a class folder"
        raise DataError(
            f"{where}: its folder has {len(groups)} different image(s), and a training and a test part need one each. "
            "Add images."
        )
    shuffled = np.random.default_rng(0).permutation(groups)
    tested = np.isin(group, shuffled[: int(np.clip(round(fraction * len(groups)), 1, len(groups) - 1))])
    return np.asarray(tested)
