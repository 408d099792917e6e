"""Files with the same bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from gbad.storage.digests import file_digest, file_size

_HEAD = 16 * 1024
_READERS = 8  # threads
_PART = 500  # files


def group_equal(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Group the positions of equal keys.

    Parameters
    ----------
    keys : iterable of hashable or None
        None is in no group.

    Returns
    -------
    list of list of int
        Positions of each key that occurs at least twice, ascending; groups in the order of their first position.

    Examples
    --------
    >>> group_equal(["a", "b", None, "a", None])
    [[0, 3]]
    """
    firsts: dict[Hashable, int] = {}
    groups: dict[int, list[int]] = {}  # a list for each of a million keys would take longer than all else
    for position, key in enumerate(keys):
        if key is not None and (first := firsts.setdefault(key, position)) != position:
            groups.setdefault(first, [first]).append(position)
    return [groups[first] for first in sorted(groups)]


def find_duplicates(paths: Sequence[str | Path]) -> list[list[int]]:
    """Find files with the same bytes, whatever their names.

    Sizes are compared first, then digests of the first 16 KiB. Only files that are still equal are read whole.

    Parameters
    ----------
    paths : sequence of path-like
        Files. A missing, unreadable or empty file belongs to no group.

    Returns
    -------
    list of list of int
        Positions in `paths` of each content that occurs at least twice, as from `group_equal`.
    """
    sizes = [file_size(path) for path in paths]
    heads: list[bytes | None] = [None] * len(paths)
    same_size = [position for group in group_equal(sizes) for position in group]
    with ThreadPoolExecutor(_READERS) as pool:  # most of the time is spent waiting for the disk
        digests = pool.map(lambda some: [file_digest(paths[position], _HEAD) for position in some], _parts(same_size))
        for position, digest in zip(same_size, chain.from_iterable(digests), strict=True):
            heads[position] = digest
    keys = list(heads)
    for group in group_equal(heads):
        for position in group:
            if (sizes[position] or 0) > _HEAD:
                keys[position] = file_digest(paths[position])
    return group_equal(keys)


def _parts(positions: list[int]) -> list[list[int]]:
    """Cut positions into parts that are worth a thread's while."""
    return [positions[start : start + _PART] for start in range(0, len(positions), _PART)]
