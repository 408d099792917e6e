"""Bad images: skipped, listed, and too many of them stop the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gbad.data.arrays import Labels
from gbad.errors import ImageError, TooManyBadImagesError
from gbad.runtime.text import counted
from gbad.storage.tables import text_table, write_table

COLUMNS = ("path", "status", "reason")
"""Columns of the list of bad images."""

Shown = tuple[Sequence[str | Path], Labels, Sequence[str]]
"""Paths of n images, their labels (n, C) of 0 and 1, and the names of the C classes."""


class BadImages:
    """Images that a run had to skip.

    Threats are rare: all images with threats may be missing from a download, and still be less than 1 % of all images.
    So the limit holds three times: for all images, for all images with threats, and for the images of each class.
    Such a group is small, so it may always lose one image, unless it has only one.

    Parameters
    ----------
    total : int
        Number of images that the run asks for.
    limit : float
        Largest share of bad images, in [0, 1]. The run stops above it.
    strict : bool
        Stop at the first bad image.
    report : path-like or None
        CSV file for the list of bad images, written when the run stops.
    shown : (paths, labels, classes), optional
        Paths, labels and classes of the images. By default the limit holds for all images together only.
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
        """Count one bad image. The same image counts once.

        Raises
        ------
        ImageError
            The error itself, if `strict`.
        TooManyBadImagesError
            If too many images are bad now: of all images, of the images with threats, or of a class.
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
            listed = f" Those found so far are listed in {self.report}."
        raise TooManyBadImagesError(
            f"{lost:,} of {counted(size, 'image')}{group} cannot be used, more than the {self.limit:.1%} tolerated; "
            f"the last one is {str(error).rstrip('.')}.{listed} Run `gbad check` on the data, or raise max_bad.",
            settings=("max_bad",),
        )

    def table(self) -> pd.DataFrame:
        """Bad images as a table with the columns `COLUMNS`."""
        rows = [(path, error.status, error.reason) for path, error in self.errors.items()]
        return text_table(rows, COLUMNS)

    def write(self, path: str | Path, before: pd.DataFrame | None = None) -> None:
        """Write the table as CSV, after the images of an older table `before`."""
        table = pd.concat([before, self.table()])[list(COLUMNS)]
        rows = {
            row[0]: row for row in table.itertuples(index=False)
        }  # an image keeps its first place and its newest row
        write_table(text_table(rows.values(), COLUMNS), path)


def _groups(paths: Sequence[str | Path], labels: Labels, classes: Sequence[str]) -> dict[str, list[str]]:
    """Groups of each image with a threat, by its path. Threat-free images are in no group."""
    groups: dict[str, list[str]] = {}
    for row in np.flatnonzero(labels.any(axis=1)).tolist():
        found = [
            "with threats",
            *(f"with the class {classes[column]}" for column in np.flatnonzero(labels[row]).tolist()),
        ]
        path = str(Path(paths[row]))  # as in ImageError
        groups[path] = list(dict.fromkeys([*groups.get(path, []), *found]))  # an image may be listed twice
    return groups
