"""Files with the same bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from pathlib import Path

from gbad.storage.digests import file_digest, file_size, head_digests

_HEAD = 16 * 1024


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
    doubtful = _in_order(group_equal(sizes))
    for position, head in zip(doubtful, head_digests((paths[position] for position in doubtful), _HEAD), strict=True):
        heads[position] = head
    keys = list(heads)
    for position in _in_order(group_equal(heads)):
        if (sizes[position] or 0) > _HEAD:
            keys[position] = file_digest(paths[position])
    return group_equal(keys)


def _in_order(groups: Iterable[Sequence[int]]) -> list[int]:
    """All positions, ascending: files that were written one after another are read fastest one after another."""
    return sorted(chain.from_iterable(groups))
