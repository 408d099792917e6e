"""Files with the same bytes."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

_HEAD = 16 * 1024


def content_digest(data: bytes) -> bytes:
    """Give a 16-byte hash (BLAKE2b) of a file's content; equal digests mean equal content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def group_equal(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Group the positions of equal keys.

    Parameters
    ----------
    keys : iterable of hashable or None
        None belongs to no group.

    Returns
    -------
    list of list of int
        Positions of each key that occurs at least twice, ascending; groups in the order of their first position.

    Examples
    --------
    >>> group_equal(["a", "b", None, "a", None])
    [[0, 3]]
    """
    positions: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key is not None:
            positions[key].append(position)
    return [group for group in positions.values() if len(group) > 1]


def find_duplicates(paths: Sequence[str | Path]) -> list[list[int]]:
    """Find files with the same bytes, whatever their names.

    Sizes are compared first, then hashes of the first 16 KiB, and only what is still equal is read whole.

    Parameters
    ----------
    paths : sequence of path-like
        Files; missing, unreadable and empty ones belong to no group.

    Returns
    -------
    list of list of int
        Positions in `paths` of each content that occurs at least twice, as from `group_equal`.
    """
    sizes = [file_size(path) for path in paths]
    heads: list[bytes | None] = [None] * len(paths)
    for group in group_equal(sizes):
        for position in group:
            heads[position] = file_digest(paths[position], _HEAD)
    keys = list(heads)
    for group in group_equal(heads):
        for position in group:
            if (sizes[position] or 0) > _HEAD:
                keys[position] = file_digest(paths[position])
    return group_equal(keys)


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
