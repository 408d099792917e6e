"""What may be written to: files that exist as files or not at all, and standard output; never what is read."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from gbad.errors import GbadError
from gbad.storage.reading import open_regular

_STANDARD_OUTPUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
_BEGINNING = 8192  # bytes: the longest path and more


def is_stream(path: str | Path) -> bool:
    """Whether a path stands for standard output: ``-`` or ``/dev/stdout``."""
    return str(path) in _STANDARD_OUTPUT


def output_path(path: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """Where something that is written to `path` belongs, which need not exist yet; links are followed.

    Parameters
    ----------
    path : path-like
        File or folder to be written.
    inputs : iterable of path-like
        Files that are read, and that must not be written.

    Returns
    -------
    Path
        Without links.

    Raises
    ------
    GbadError
        If `path` is a device, a pipe or a socket, one of `inputs` by whatever name, or cannot be looked at.
    """
    target = Path(path)
    try:
        target = Path(os.path.realpath(path))
        there = os.stat(target)
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GbadError(f"{path}: cannot be written ({reason}). Give another path.") from error
    if not (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)):
        raise GbadError(f"{path}: cannot be written, it is a device or a pipe. Give the path of a file, or - .")
    for source in inputs:
        with suppress(OSError, ValueError):
            if os.path.samestat(os.stat(source), there):
                raise GbadError(f"{path}: cannot be written, since it is read as {source}. Give another path.")
    return target


class Kind(NamedTuple):
    """A kind of file that gbad writes.

    Attributes
    ----------
    name : str
        For messages: ``"list of scores"``.
    marks : tuple of bytes
        Each file of this kind has one of them near its beginning.
    """

    name: str
    marks: tuple[bytes, ...]


def output_file(path: str | Path, inputs: Iterable[str | Path] = (), kind: Kind | None = None) -> Path:
    """The same as `output_path`; a folder is refused, too, and for a `kind` a file that is of another one."""
    target = output_path(path, inputs)
    if target.is_dir():
        raise GbadError(f"{path}: cannot be written, it is a folder. Give the path of a file.")
    if kind is not None and (begin := _beginning(target)) and not any(mark in begin for mark in kind.marks):
        raise GbadError(f"{path}: will not be replaced, since it is no {kind.name} of gbad. Give another path.")
    return target


def _beginning(path: Path) -> bytes:
    """The first bytes of a file; nothing if it is not there, or empty."""
    try:
        with open_regular(path) as file:
            return file.read(_BEGINNING)
    except OSError:
        return b""


def check_apart(folder: str | Path, data: str | Path) -> None:
    """GbadError if results with plots would go into a folder of images: they would count as images the next time."""
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(data)):
        raise GbadError(
            f"{folder}: results cannot go there, since images are searched in {data}, and plots would count as such. "
            "Give a folder apart from the data."
        )


def close_standard_output() -> None:
    """Let what is left of standard output go nowhere: Python flushes it once more when it ends, and fails again."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output as UTF-8 text in which file names of any bytes can stand."""
    sys.stdout.flush()
    stream = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "surrogateescape", newline="", write_through=True)
    try:
        yield stream
        stream.flush()
    except OSError:  # a closed pipe, a full disk
        close_standard_output()
        raise
    finally:
        with suppress(OSError):
            stream.detach()
