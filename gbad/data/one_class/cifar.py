"""CIFAR-10 from the folder of its Python batches. A hostile pickle cannot run code."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gbad.data.arrays import Pixels, Rows
from gbad.data.one_class.class_data import ClassData, Part, part
from gbad.data.source import source_from_array
from gbad.errors import DataError
from gbad.storage.unpickling import PlainUnpickler

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_SHAPE = (3, 32, 32)


class _Bytes:
    """Replaces an array while a pickle is read: keeps the bytes of uint8 data and does nothing else."""

    data = b""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        # NumPy's state of an array: version, shape, dtype, Fortran order, bytes.
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], bytes) and not state[3]:
            self.data = state[4]


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Bytes,
    ("numpy._core.multiarray", "_reconstruct"): _Bytes,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Bytes,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
}


class _BatchUnpickler(PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch of CIFAR-10 needs")
        return _STAND_INS[module, name]


def batches_folder(folder: Path) -> Path | None:
    """Find the folder of the batches: `folder` itself, or ``cifar-10-batches-py`` in it, or None."""
    for candidate in (folder, folder / "cifar-10-batches-py"):
        if (candidate / TRAIN[0]).is_file():
            return candidate
    return None


def read_cifar10(folder: Path, size: int) -> list[ClassData]:
    """Read CIFAR-10.

    Parameters
    ----------
    folder : Path
        Holds ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, or ``cifar-10-batches-py`` with them.
    size : int
        Side in pixels to which images are scaled.

    Raises
    ------
    DataError
        If a batch is missing, damaged, or names anything but plain arrays.
    """
    batches = batches_folder(folder)
    if batches is None:
        raise DataError(f"{folder / TRAIN[0]}: no such file. Unpack cifar-10-python.tar.gz and give its folder.")
    parts = {"train": TRAIN, "test": ("test_batch",)}
    train, test = (_part(kind, [batches / name for name in names], size) for kind, names in parts.items())
    files = tuple(batches / name for name in (*TRAIN, "test_batch"))
    return [ClassData("cifar-10", CIFAR10_CLASSES, train, test, files=files)]


def _part(kind: str, paths: list[Path], size: int) -> Part:
    images, labels = zip(*map(_read_batch, paths), strict=True)
    source = source_from_array(np.concatenate(images), size)
    return part(replace(source, names=[f"{kind} {row}" for row in range(len(source))]), np.concatenate(labels))


def _read_batch(path: Path) -> tuple[Pixels, Rows]:
    """Images, uint8 (n, 32, 32, 3), and labels, int64 (n,), of one batch."""
    try:
        with path.open("rb") as file:
            content = _BatchUnpickler(file, encoding="bytes").load()
        if not all(type(label) is int for label in content[b"labels"]):  # lists in lists may double at every level
            raise pickle.UnpicklingError("its labels are no whole numbers")
        labels = np.array(content[b"labels"], np.int64)
        images = np.frombuffer(content[b"data"].data, np.uint8).reshape(len(labels), *_SHAPE)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Unpack cifar-10-python.tar.gz again.") from error
    except Exception as error:  # damaged bytes make an unpickler raise almost anything
        raise DataError(f"{path}: no batch of CIFAR-10 ({error}). Unpack cifar-10-python.tar.gz again.") from error
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(CIFAR10_CLASSES):
        raise DataError(f"{path}: its labels reach from {labels.min()} to {labels.max()}, not 0 to 9. Copy it again.")
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels
