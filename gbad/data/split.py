"""Choose the validation part of a training list. Images of one bag or of one given group stay together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gbad.data.arrays import Labels, Mask, Rows
from gbad.data.duplicates import find_duplicates
from gbad.errors import DataError
from gbad.runtime.text import counted

_MAX_DIGITS = 18  # of a number that int64 holds
_DIGITS = "0123456789"
_MIN_DRAWS, _MAX_DRAWS = 8, 256
_FEW = 20  # so few groups have few divisions: the best of many draws would be the same for every seed
_MAX_DRAWN = 4_000_000  # groups in all draws together: bounds the time for a million groups


def group_neighbours(
    names: Sequence[str],
    paths: Sequence[str | Path] | None = None,
    neighbours: int = 40,
    groups: Sequence[str | None] | None = None,
) -> Rows:
    """Group images that are likely to show the same bag.

    A scanner numbers its images, so consecutive numbers often show one bag. A name is a prefix and a number at its end.
    A name without number is a group of its own. Where the group of an image is given, its number does not count.

    Parameters
    ----------
    names : sequence of str
        Image names.
    paths : sequence of path-like or None
        File of each image: files with the same bytes come into one group. None: files are not compared.
    neighbours : int
        Largest number of consecutive images in a group. A missing number also ends a group.
    groups : sequence of str or None, optional
        Group of each image, None where it is not known. A given group is never divided.

    Returns
    -------
    ndarray of shape (n_images,), int64
        Group of each image, 0 … n_groups − 1.

    Raises
    ------
    DataError
        If `neighbours` is less than 1.

    Examples
    --------
    >>> group_neighbours(["P1", "P2", "P4", "N5", "bag"]).tolist()
    [0, 0, 1, 2, 3]
    >>> group_neighbours(["P1", "P2", "P3", "P4"], groups=["a", "b", None, None]).tolist()
    [0, 1, 2, 2]
    """
    if neighbours < 1:
        raise DataError(f"neighbours is {neighbours}. Give a whole number from 1, for example 40.")
    given: Sequence[str | None] = [None] * len(names) if groups is None else groups
    numbers = {group: number for number, group in enumerate(dict.fromkeys(g for g in given if g is not None))}
    found = np.array([-1 if group is None else numbers[group] for group in given], np.int64)
    free = np.flatnonzero(found < 0)
    found[free] = len(numbers) + _group_runs([names[row] for row in free.tolist()], neighbours)
    if paths is None:
        return found
    links = [(found[same[0]], found[other]) for same in find_duplicates(paths) for other in same[1:]]
    if not links:
        return found
    left, right = np.array(links).T
    n_groups = int(found.max()) + 1
    graph = coo_array((np.ones(len(links), np.int8), (left, right)), shape=(n_groups, n_groups))
    joined: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return joined[found]


def split_validation(
    names: Sequence[str],
    labels: Labels,
    paths: Sequence[str | Path] | None = None,
    fraction: float = 0.2,
    neighbours: int = 40,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
) -> Mask:
    """Choose the validation rows of a training list. Each group of `group_neighbours` stays on one side.

    Groups are drawn at random several times. The best draw is taken: first, the fewest classes may lack a positive on
    one side; then, the share of each class and of the threat-free images should be closest to `fraction`.

    Parameters
    ----------
    names : sequence of str
        Image names of the training list.
    labels : ndarray of shape (n_images, n_classes), uint8
        1 = present, 0 = absent.
    paths : sequence of path-like or None
        File of each image, to keep files with the same bytes together.
    fraction : float
        Share of the images for the validation part, in (0, 1).
    neighbours : int
        As in `group_neighbours`.
    seed : int
        Seed of the draws.
    groups : sequence of str or None, optional
        As in `group_neighbours`.

    Returns
    -------
    ndarray of shape (n_images,), bool
        True for validation rows. At least one row is True and at least one is False.

    Raises
    ------
    DataError
        If all images form one group, `fraction` is not between 0 and 1, or `neighbours` is less than 1.
    """
    if not 0 < fraction < 1:
        raise DataError(f"validation_fraction is {fraction}. Give a number between 0 and 1, for example 0.2.")
    found = group_neighbours(names, paths, neighbours, groups)
    n_groups = int(found.max()) + 1 if len(found) else 0
    if n_groups < 2:
        remedy = "name groups of images that belong together" if groups is None else "divide the group that is given"
        raise DataError(
            f"the training list has {counted(len(names), 'image')} in {counted(n_groups, 'group')}: no validation part "
            f"can be taken from it. Add images of other bags, or {remedy}."
        )
    columns = [*labels.T, ~labels.any(axis=1)]  # the last counts threat-free images
    sums = [np.bincount(found, weights=column, minlength=n_groups) for column in columns]
    counts = np.stack(sums, axis=1).astype(np.float64)
    return _best_draw(np.bincount(found), counts, fraction, np.random.default_rng(seed))[found]


def _group_runs(names: Sequence[str], neighbours: int) -> Rows:
    prefixes: dict[str, int] = {}
    prefix = np.empty(len(names), np.int64)
    number = np.zeros(len(names), np.int64)
    for row, name in enumerate(names):
        head = name.rstrip(_DIGITS)
        digits = name[max(len(head), len(name) - _MAX_DIGITS) :]
        # A name without number is a prefix of its own. The mark sets it apart from the prefix of "bag1".
        key = name[: len(name) - len(digits)] if digits else f"\0{name}"
        prefix[row] = prefixes.setdefault(key, len(prefixes))
        number[row] = int(digits) if digits else 0
    order = np.lexsort((number, prefix))
    gap = (np.diff(number[order]) > 1) | (np.diff(prefix[order]) != 0)
    starts = np.flatnonzero(np.concatenate([[True], gap])) if len(names) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(names)))
    position = np.arange(len(names)) - np.repeat(starts, lengths)
    groups = np.empty(len(names), np.int64)
    groups[order] = np.cumsum(position % neighbours == 0) - 1
    return groups


def _best_draw(sizes: Rows, counts: npt.NDArray[np.float64], fraction: float, rng: np.random.Generator) -> Mask:
    """Choose the groups for validation.

    Parameters
    ----------
    sizes : ndarray of shape (n_groups,)
        Images of each group.
    counts : ndarray of shape (n_groups, n_columns)
        How many images of each group show each class, or no threat (last column).
    fraction : float
        Wanted share of each column in the validation part.
    rng : numpy Generator
        Source of the draws.

    Returns
    -------
    ndarray of shape (n_groups,), bool
    """
    occurrences = (counts > 0).sum(axis=0)
    totals = counts.sum(axis=0)
    stratum = np.where(counts > 0, occurrences, len(sizes) + 1).argmin(axis=1)  # the rarest column that a group has
    best, best_score = np.zeros(len(sizes), bool), (True, np.inf, np.inf)
    most = _MAX_DRAWS if len(sizes) > _FEW else _MIN_DRAWS
    for _ in range(int(np.clip(_MAX_DRAWN // len(sizes), _MIN_DRAWS, most))):
        taken = _draw(sizes, stratum, fraction, rng)
        inside = counts[taken].sum(axis=0)
        one_sided = ((occurrences > 1) & ((inside == 0) | (inside == totals))).sum()
        deviation = float(np.square(inside[totals > 0] / totals[totals > 0] - fraction).sum())
        score = (bool(taken.all() or not taken.any()), float(one_sided), deviation)
        if score < best_score:
            best, best_score = taken, score
    if best.all() or not best.any():
        best = np.arange(len(sizes)) == sizes.argmin()
    return best


def _draw(sizes: Rows, stratum: Rows, fraction: float, rng: np.random.Generator) -> Mask:
    """Draw groups at random, so that they hold `fraction` of the images of each stratum."""
    order = np.lexsort((rng.random(len(sizes)), stratum))
    ordered = stratum[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right") - 1
    after = np.cumsum(sizes[order])
    before = after - sizes[order]
    # A random offset rounds without bias: the only group of a stratum is taken with probability `fraction`.
    offset = rng.random(stratum.max() + 1)[ordered] * sizes[order]
    taken = before - before[first] + offset <= fraction * (after[last] - before[first])
    position = np.arange(len(sizes))
    several = first < last
    taken = np.where(several & (position == first), True, taken & ~(several & (position == last)))
    chosen = np.zeros(len(sizes), bool)
    chosen[order] = taken
    return chosen
