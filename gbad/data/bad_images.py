"""Skip images that cannot be used, list them, and stop when there are too many."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gbad.errors import ImageError, TooManyBadImagesError
from gbad.files import atomic_path


class BadImages:
    """Images that a run had to skip.

    Parameters
    ----------
    total : int
        Number of images that the run asks for.
    limit : float
        Share of `total`, in [0, 1], above which the run stops.
    strict : bool
        Stop at the first bad image.
    report : path-like or None
        CSV that lists the bad images when the run stops.
    """

    def __init__(
        self, total: int, limit: float = 0.01, *, strict: bool = False, report: str | Path | None = None
    ) -> None:
        self.total = total
        self.limit = limit
        self.strict = strict
        self.report = report
        self.errors: dict[str, ImageError] = {}

    def add(self, error: ImageError) -> None:
        """Count one bad image, once however often it is met.

        Raises
        ------
        ImageError
            The error itself, if `strict`.
        TooManyBadImagesError
            If more than ``limit * total`` images are bad by now.
        """
        # A copy: the traceback of the original would keep the file's bytes in memory.
        self.errors[str(error.path)] = ImageError(error.path, error.status, error.reason)
        if self.strict:
            raise error
        if len(self.errors) > self.limit * self.total:
            listed = ""
            if self.report is not None:
                self.write(self.report)
                listed = f" All that were met are listed in {self.report}."
            raise TooManyBadImagesError(
                f"{len(self.errors):,} of {self.total:,} images cannot be used, more than the {self.limit:.1%} "
                f"tolerated; the last one is {error}.{listed} Run `gbad check` on the data, or raise --max-bad."
            )

    def table(self) -> pd.DataFrame:
        """Bad images as a table with columns ``path``, ``status``, ``reason``."""
        rows = [(path, error.status, error.reason) for path, error in self.errors.items()]
        return pd.DataFrame(rows, columns=["path", "status", "reason"])

    def write(self, path: str | Path) -> None:
        """Write the table as CSV."""
        with atomic_path(path) as temporary:
            self.table().to_csv(temporary, index=False)
