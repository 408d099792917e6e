"""Digests (BLAKE2b, 16 bytes) of texts, arrays and files: equal digests mean equal content.

Long lists of files are compared by the bytes of their digests (`bytes_digest`, `file_digest`), which take half the
memory; all other digests are texts of 32 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gbad.storage.reading import open_regular

if TYPE_CHECKING:
    import numpy.typing as npt

_READ_WHOLE = 4 * 2**30  # bytes of all files together: some seconds
_HEAD = 16 * 1024
_AHEAD = 64  # files that are open at a time; macOS allows 256
_SIZE = 16


def relative_name(path: str | Path, folder: Path) -> str:
    """Name of a file below a folder, which does not depend on where the folder lies or how its path is spelt.

    Examples
    --------
    >>> relative_name("data/bags/a.png", Path("data"))
    'bags/a.png'
    """
    # As texts: there may be millions of names, and a Path takes many times as long.
    return str(path).removeprefix(f"{folder}{os.sep}").replace(os.sep, "/")


def digest(*parts: Sequence[str] | npt.NDArray[Any]) -> str:
    """Digest of lists of texts and of arrays; arrays of another shape or dtype have another digest."""
    import numpy as np  # here, because ``gbad --help`` needs this module and no array

    total = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str} {part.shape}".encode())
            for row in part:  # never a copy of a large array as a whole
                total.update(np.ascontiguousarray(row).data)
        else:
            total.update(json.dumps(list(part)).encode())
    return total.hexdigest()


def json_digest(content: Mapping[str, Any]) -> str:
    """Digest of JSON types, whatever the order of keys; TypeError if there is anything else."""
    return bytes_digest(json.dumps(content, sort_keys=True).encode()).hex()


def tree_digest(value: Any) -> str:
    """Digest of numbers, texts and bytes in dicts, lists and tuples, in their order; TypeError for anything else."""
    total = hashlib.blake2b(digest_size=_SIZE)
    _add(value, total.update)
    return total.hexdigest()


def _add(value: Any, update: Callable[[bytes], None]) -> None:
    """Describe a value so that no two values have one description: its kind, its length, its content."""
    if isinstance(value, (dict, list, tuple)):
        update(f"{type(value).__name__} {len(value)};".encode())
        for item in (part for pair in value.items() for part in pair) if isinstance(value, dict) else value:
            _add(item, update)
        return
    if isinstance(value, bytes):
        content = value
    elif isinstance(value, str):
        content = value.encode("utf-8", "surrogatepass")
    elif value is None or isinstance(value, (bool, int)):
        content = repr(value).encode()
    elif isinstance(value, float):
        content = struct.pack("<d", value)
    else:
        raise TypeError(f"a {type(value).__name__} has no digest")
    update(f"{type(value).__name__} {len(content)};".encode())
    update(content)


def bytes_digest(data: bytes) -> bytes:
    """Digest of a file's content that is in memory, 16 bytes."""
    return hashlib.blake2b(data, digest_size=_SIZE).digest()


def file_size(path: str | Path) -> int | None:
    """Size of a file in bytes; None if it is missing or empty."""
    try:
        return os.stat(path).st_size or None
    except (OSError, ValueError):
        return None


def file_digest(path: str | Path) -> bytes | None:
    """Digest of a file, in bounded memory; None if it cannot be read."""
    total = hashlib.blake2b(digest_size=_SIZE)
    try:
        with open_regular(path) as file:
            while block := file.read(2**20):
                total.update(block)
    except OSError:
        return None
    return total.digest()


def head_digests(paths: Iterable[str | Path], size: int) -> Iterator[bytes | None]:
    """Digests of the first `size` bytes of files, in their order; None for one that cannot be read.

    A disk answers many requests at once sooner than one after another, so the files to come are asked for ahead.
    """
    opened: deque[BinaryIO | None] = deque()
    try:
        for path in paths:
            opened.append(_open_ahead(path, size))
            if len(opened) > _AHEAD:
                yield _head_digest(opened.popleft(), size)
        while opened:
            yield _head_digest(opened.popleft(), size)
    finally:
        for file in opened:
            if file is not None:
                file.close()


def _open_ahead(path: str | Path, size: int) -> BinaryIO | None:
    """Open a file, and let the system read its head in the meantime; None if it cannot be opened."""
    try:
        file = open_regular(path)
    except OSError:
        return None
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # a hint, no more: some file systems take none
            os.posix_fadvise(file.fileno(), 0, size, os.POSIX_FADV_WILLNEED)
    return file


def _head_digest(file: BinaryIO | None, size: int) -> bytes | None:
    if file is None:
        return None
    with file:
        try:
            return bytes_digest(file.read(size))
        except OSError:
            return None


def files_digest(files: Sequence[Path], folder: Path) -> str:
    """Digest of names, sizes and content of files.

    Parameters
    ----------
    files : sequence of Path
        In an order that is always the same. A missing file counts as missing.
    folder : Path
        Names are relative to it: a folder that has moved has the same digest.

    Returns
    -------
    str
        32 hexadecimal digits. If all files together have more than 4 GiB, only the first 16 KiB of each are read: a
        change behind them is noticed only if it changes the size of the file.
    """
    sizes = [file_size(path) for path in files]
    whole = sum(size or 0 for size in sizes) <= _READ_WHOLE
    total = hashlib.blake2b(digest_size=_SIZE)
    contents = map(file_digest, files) if whole else head_digests(files, _HEAD)
    for path, size, content in zip(files, sizes, contents, strict=True):
        total.update(json.dumps([relative_name(path, folder), size, content and content.hex()]).encode())
    return total.hexdigest()
