"""MNIST and similar data sets from a folder of idx files (``*-idx3-ubyte.gz``)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from gbad.data.arrays import Pixels
from gbad.data.one_class.class_data import ClassData, Part, part
from gbad.data.source import ImageSource
from gbad.errors import DataError

FASHION_CLASSES = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_PARTS = {"train": "train", "test": "t10k"}
_DIMENSIONS = 3
_LARGEST = 2**31  # bytes: ten times the largest of these data sets


def find_idx(folder: Path) -> dict[str, Path]:
    """Find the four files of a folder: ``train-images``, ``train-labels``, ``test-images`` and ``test-labels``."""
    found: dict[str, Path] = {}
    for name, prefix in _PARTS.items():
        for kind, number in (("images", 3), ("labels", 1)):
            for joint in "-.":
                for suffix in (".gz", ""):
                    path = folder / f"{prefix}-{kind}{joint}idx{number}-ubyte{suffix}"
                    if path.is_file():
                        found.setdefault(f"{name}-{kind}", path)
    return found


def read_idx(path: Path) -> Pixels:
    """Read an idx file of bytes, with or without gzip.

    Returns
    -------
    ndarray, uint8
        Of the shape that the header gives.

    Raises
    ------
    DataError
        If the file cannot be read, is no idx file of bytes, or has another length than its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08":
                raise DataError(f"{path}: begins with {head!r}, so it is no idx file of bytes. Copy it again.")
            if head[3] > _DIMENSIONS:
                raise DataError(
                    f"{path}: its header gives {head[3]} dimensions, not at most {_DIMENSIONS}. Copy it again."
                )
            shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
            length = math.prod(shape)
            if max(length, *shape, 0) > _LARGEST:  # a 0 among them must not hide the others
                asked = " x ".join(map(str, shape))
                raise DataError(f"{path}: its header asks for {asked} bytes, more than {_LARGEST:,}. Copy it again.")
            data = file.read(length + 1)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Copy the file again.") from error
    if len(data) != length:
        raise DataError(f"{path}: holds {len(data):,} bytes or more where its header says {length:,}. Copy it again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_idx_folder(folder: Path, size: int) -> list[ClassData]:
    """Read MNIST or a similar data set.

    Parameters
    ----------
    folder : Path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the same two files of ``t10k``, with or
        without ``.gz``. If its path contains "fashion", classes get Fashion-MNIST's names, else digits.
    size : int
        Side in pixels to which images are scaled.

    Raises
    ------
    DataError
        If a file is missing or damaged, or images and labels differ in number.
    """
    files = find_idx(folder)
    wanted = [f"{name}-{kind}" for name in _PARTS for kind in ("images", "labels")]
    if missing := [name for name in wanted if name not in files]:
        raise DataError(
            f"{folder}: no {', '.join(missing)} (t10k is the test part). Put the four files *-ubyte.gz of MNIST or "
            "Fashion-MNIST there."
        )
    labels = {name: read_idx(files[f"{name}-labels"]) for name in _PARTS}
    n_classes = 1 + max(int(values.max(initial=0)) for values in labels.values())
    fashion = "fashion" in str(folder.resolve()).lower() and n_classes <= len(FASHION_CLASSES)
    classes = FASHION_CLASSES[:n_classes] if fashion else tuple(map(str, range(n_classes)))
    parts = {name: _part(files[f"{name}-images"], labels[name], name, size) for name in _PARTS}
    images = tuple(files[f"{name}-images"] for name in _PARTS)  # labels have a digest of their own
    return [ClassData(folder.resolve().name, classes, parts["train"], parts["test"], files=images)]


def _part(path: Path, labels: Pixels, name: str, size: int) -> Part:
    images = read_idx(path)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{path}: images of shape {images.shape} and labels of shape {labels.shape} do not belong together. "
            "Copy both files again."
        )

    def load(row: int) -> Pixels:
        image = Image.fromarray(images[row])
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image.convert("RGB"))

    return part(ImageSource([f"{name} {row}" for row in range(len(images))], size, load), labels.astype(np.int64))
