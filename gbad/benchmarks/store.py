"""The store of both benchmarks: results that cost hours, continued after a kill and never mistaken for another.

A result is an entry, a folder. Its name says what the result is and ends with a digest of everything that decides it:
settings, data and version. Other settings give another folder, so an old result never passes for a new one. The folder
holds::

    done.json      the result and what it is about, written last: an entry with this file is whole
    work/          what a killed computation needs to continue; removed when the entry is whole
    <other>        files that belong to the result
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gbad.errors import GbadError
from gbad.runtime.signals import interrupts_held
from gbad.storage.digests import json_digest
from gbad.storage.files import atomic_path, read_json, remove_folder
from gbad.storage.ledger import kept

Arrays = Mapping[str, npt.NDArray[Any]]

_DIGITS = 10  # of the digest, in the name of a folder


@dataclass(frozen=True)
class Entry:
    """Place of one result.

    Attributes
    ----------
    folder : Path
    about : mapping
        JSON types: all that decides the result.
    """

    folder: Path
    about: Mapping[str, Any]

    @classmethod
    def of(cls, root: Path, name: str, about: Mapping[str, Any]) -> Entry:
        """Name an entry below `root`; nothing is read or written.

        Raises
        ------
        GbadError
            If `about` holds anything but JSON types.
        """
        try:
            return cls(root / f"{name}-{json_digest(about)[:_DIGITS]}", about)
        except TypeError as error:
            raise GbadError(f"{name}: a setting of a benchmark must be a number, a text or None ({error}).") from error

    @property
    def work(self) -> Path:
        """Folder for what a killed computation needs to continue."""
        return self.folder / "work"

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self._done.exists()

    @property
    def result(self) -> Any:
        """What `complete` has computed, JSON types; the entry must be done."""
        return read_json(self._done)["result"]

    @property
    def _done(self) -> Path:
        return self.folder / "done.json"

    def complete(self, compute: Callable[[], Mapping[str, Any]]) -> bool:
        """Compute the result unless it is there; say whether it was computed."""
        if self.is_done:
            return False
        kept(self._done, dict(self.about), compute)
        remove_folder(self.work)
        return True

    def in_parts(
        self, count: int, size: int, compute: Callable[[int, int], Arrays | None]
    ) -> tuple[list[Arrays], float]:
        """Compute arrays about `count` rows part by part, and keep each part: a kill costs one part.

        Parameters
        ----------
        count : int
            Rows of all parts together.
        size : int
            Rows of a part.
        compute : callable
            ``compute(start, stop)`` gives the arrays of a part, or None if there is nothing about its rows.

        Returns
        -------
        parts : list of mapping of str to ndarray
            Parts with arrays, in order.
        seconds : float
            Time that all parts took, earlier calls included.
        """
        parts: list[Arrays] = []
        seconds = 0.0
        for start in range(0, count, size):
            stop = min(start + size, count)
            path = self.work / f"{start:08d}.npz"

            def part(start: int = start, stop: int = stop, path: Path = path) -> dict[str, Any]:
                begun = time.monotonic()
                arrays = compute(start, stop)
                if arrays is not None:
                    save_arrays(path, arrays)
                return {"seconds": time.monotonic() - begun, "is_empty": arrays is None}

            found = kept(path.with_suffix(".json"), {"rows": [start, stop]}, part)
            seconds += found["seconds"]
            if not found["is_empty"]:
                parts.append(load_arrays(path))
        return parts, seconds


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays as one ``.npz`` file, whole or not at all."""
    with interrupts_held(), atomic_path(path) as temporary:  # NumPy makes another error of an interrupt
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a file of `save_arrays`; GbadError if it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, TypeError, BadZipFile, zlib.error) as error:
        raise GbadError(f"{path}: missing or damaged ({error}). Delete its folder and run again.") from error
