"""Skip images that cannot be used, list them, and stop when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gbad.data.arrays import Labels
from gbad.errors import ImageError, TooManyBadImagesError
from gbad.storage.files import atomic_path

COLUMNS = ("path", "status", "reason")
"""Of the list of bad images."""

Shown = tuple[Sequence[str | Path], Labels, Sequence[str]]
"""Paths of n images, their labels (n, C) of 0 and 1, and the names of the C classes."""


class BadImages:
    """Images that a run had to skip.

    Threats are so rare that all of their images may be missing from a download and still be below any share of all
    images. So the limit holds for the images with threats as well, and for those of each class. These are few: one of
    them may be lost whatever its share, unless it is the only one.

    Parameters
    ----------
    total : int
        Number of images that the run asks for.
    limit : float
        Share in [0, 1] of all images, of those with threats and of those of each class, above which the run stops.
    strict : bool
        Stop at the first bad image.
    report : path-like or None
        CSV that lists the bad images when the run stops.
    shown : (paths, labels, classes), optional
        What the images show. Without, the limit holds for all images together.
    """

    def __init__(
        self, total: int, limit: float = 0.01, *, strict: bool = False, report: str | Path | None = None,
        shown: Shown | None = None,
    ) -> None:  # fmt: skip
        self.total = total
        self.limit = limit
        self.strict = strict
        self.report = report
        self.errors: dict[str, ImageError] = {}
        self._groups = {} if shown is None else _groups(*shown)
        self._sizes = Counter(group for groups in self._groups.values() for group in groups)
        self._lost: Counter[str] = Counter()

    def add(self, error: ImageError) -> None:
        """Count one bad image, once however often it is met.

        Raises
        ------
        ImageError
            The error itself, if `strict`.
        TooManyBadImagesError
            If too many images are bad by now: of all, of those with threats, or of a class.
        """
        path = str(error.path)
        groups = [] if path in self.errors else self._groups.get(path, [])
        # A copy: the traceback of the original would keep the file's bytes in memory.
        self.errors[path] = ImageError(error.path, error.status, error.reason)
        self._lost.update(groups)
        if self.strict:
            raise error
        if len(self.errors) > self.limit * self.total:
            self._stop(len(self.errors), self.total, "", error)
        for group in groups:
            lost, size = self._lost[group], self._sizes[group]
            if lost > self.limit * size and (lost > 1 or size == 1):
                self._stop(lost, size, f" {group}", error)

    def _stop(self, lost: int, size: int, group: str, error: ImageError) -> None:
        listed = ""
        if self.report is not None:
            self.write(self.report)
            listed = f" All that were met are listed in {self.report}."
        raise TooManyBadImagesError(
            f"{lost:,} of {size:,} images{group} cannot be used, more than the {self.limit:.1%} tolerated; the last "
            f"one is {str(error).rstrip('.')}.{listed} Run `gbad check` on the data, or raise --max-bad."
        )

    def table(self) -> pd.DataFrame:
        """Bad images as a table with the columns `COLUMNS`."""
        rows = [(path, error.status, error.reason) for path, error in self.errors.items()]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def write(self, path: str | Path, before: pd.DataFrame | None = None) -> None:
        """Write the table as CSV, behind the images of a table that was written before."""
        table = pd.concat([before, self.table()])[list(COLUMNS)]
        rows = {row[0]: row for row in table.itertuples(index=False)}  # the newest of an image, where it stood first
        with atomic_path(path) as temporary:
            table = pd.DataFrame(rows.values(), columns=table.columns)
            table.to_csv(temporary, index=False, errors="surrogateescape")  # paths need not be UTF-8


def _groups(paths: Sequence[str | Path], labels: Labels, classes: Sequence[str]) -> dict[str, list[str]]:
    """Groups that each image with a threat belongs to, by its path; threat-free images are left out."""
    groups: dict[str, list[str]] = {}
    for row in np.flatnonzero(labels.any(axis=1)).tolist():
        found = [
            "with threats",
            *(f"with the class {classes[column]}" for column in np.flatnonzero(labels[row]).tolist()),
        ]
        path = str(Path(paths[row]))  # as errors spell it
        groups[path] = list(dict.fromkeys([*groups.get(path, []), *found]))  # an image may be listed twice
    return groups
