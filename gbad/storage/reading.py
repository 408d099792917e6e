"""Open files that somebody else has named: a pipe would wait for ever, and a device never ends."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, TextIO

LARGEST_TEXT = 2**30
"""Bytes of lists, annotations and tables that are read; a list of a million images has some 50 million."""


def open_regular(path: str | Path, most: int | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Parameters
    ----------
    path : path-like
    most : int, optional
        Largest size in bytes.

    Raises
    ------
    OSError
        If it cannot be opened, is a pipe or a device, or is larger.
    """
    file = open(path, "rb", opener=_without_waiting)
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most is not None and status.st_size > most:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, more than {most:,}", str(path))
    except OSError:
        file.close()
        raise
    return file


def open_text(path: str | Path) -> TextIO:
    """Open a regular text file in UTF-8, with or without byte-order mark, line ends as they are; errors as above."""
    return io.TextIOWrapper(open_regular(path, LARGEST_TEXT), "utf-8-sig", newline="")


def read_regular(path: str | Path, most: int = LARGEST_TEXT) -> bytes:
    """Read a regular file; OSError as in `open_regular`."""
    with open_regular(path, most) as file:
        return file.read()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
