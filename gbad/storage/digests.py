"""Digests (BLAKE2b, 16 bytes) of data: by them a run that goes on tells whether its data are still the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_READ_WHOLE = 4 * 2**30  # bytes of all files together: some seconds
_HEAD = 16 * 1024


def relative_name(path: str | Path, folder: Path) -> str:
    """Name of a file below a folder, which does not depend on where the folder lies or how its path is spelt.

    Examples
    --------
    >>> relative_name("data/bags/a.png", Path("data"))
    'bags/a.png'
    """
    # As texts: there may be millions of names, and a Path takes many times as long.
    return str(path).removeprefix(f"{folder}{os.sep}").replace(os.sep, "/")


def files_fingerprint(files: Sequence[Path], folder: Path) -> str:
    """Hash names, sizes and content of files.

    Parameters
    ----------
    files : sequence of Path
        In an order that is always the same. One that is missing counts as such.
    folder : Path
        Names are relative to it: a folder that has moved has the same fingerprint.

    Returns
    -------
    str
        Of 32 hexadecimal digits. If all files together have more than 4 GiB, only the first 16 KiB of each are read,
        so that a change further behind that leaves a file's size as it was goes unnoticed.
    """
    sizes = [file_size(path) for path in files]
    limit = None if sum(size or 0 for size in sizes) <= _READ_WHOLE else _HEAD
    total = hashlib.blake2b(digest_size=16)
    for path, size in zip(files, sizes, strict=True):
        content = file_digest(path, limit)
        total.update(json.dumps([relative_name(path, folder), size, content and content.hex()]).encode())
    return total.hexdigest()


def digest(*parts: Sequence[str] | np.ndarray) -> str:
    """Fingerprint of lists of texts and of arrays."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str} {part.shape}".encode())
            for row in part:  # never a copy of a large array as a whole
                total.update(np.ascontiguousarray(row).data)
        else:
            total.update(json.dumps(list(part)).encode())
    return total.hexdigest()


def content_digest(data: bytes) -> bytes:
    """Give a 16-byte hash (BLAKE2b) of a file's content; equal digests mean equal content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def file_size(path: str | Path) -> int | None:
    """Size of a file in bytes; None if it is missing or empty."""
    try:
        return os.stat(path).st_size or None
    except (OSError, ValueError):
        return None


def file_digest(path: str | Path, limit: int | None = None) -> bytes | None:
    """Hash the first `limit` bytes of a file, or all, in bounded memory; None if it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            if limit is not None:
                digest.update(file.read(limit))
            else:
                while block := file.read(2**20):
                    digest.update(block)
    except OSError:
        return None
    return digest.digest()
