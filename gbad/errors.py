"""Errors that a user can act on: each message names the file, the value and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class GbadError(Exception):
    """Base of all errors that gbad raises on purpose; the command line prints them without a traceback.

    Parameters
    ----------
    *args
        The message. It calls settings by their names in Python.
    settings : sequence of str
        Settings that the message names: the command line shows their options instead.
    """

    def __init__(self, *args: object, settings: Sequence[str] = ()) -> None:
        super().__init__(*args)
        self.settings = tuple(settings)


class DataError(GbadError, ValueError):
    """A label list, an annotation file or a folder does not hold what it should."""


class ImageError(DataError):
    """One image cannot be used.

    Parameters
    ----------
    path : path-like
        The image.
    status : str
        What is wrong, in one word: ``"missing"``, ``"unreadable"``, ``"too_large"`` or ``"unsupported"``.
        It becomes the ``status`` column of ``scores.csv``.
    reason : str
        The message without the path.
    """

    def __init__(self, path: str | Path, status: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Exceptions cross process borders by pickle, which would otherwise call __init__ with the message alone.
        return type(self), (str(self.path), self.status, self.reason)


class TooManyBadImagesError(DataError):
    """More images were unusable than the run tolerates."""


class RunError(GbadError):
    """A run folder lacks what the next step needs, or holds the results of other settings."""


class DivergedError(GbadError):
    """A training ran into losses that are not finite."""


class PipelineFileError(GbadError):
    """A pipeline file is damaged, from a format this version does not know, or holds something that is refused."""
