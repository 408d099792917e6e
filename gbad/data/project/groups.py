"""Source groups of a list: what the images of one group are made of is in no image of another group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gbad.data.arrays import Rows
from gbad.data.project.sides import Side
from gbad.data.split import group_neighbours

_MOST = 10


def divide(side: Side, rng: np.random.Generator) -> tuple[Side, ...]:
    """Divide the sources of a list into groups, as many as possible up to 10.

    Each group has bags, and cut-outs of each class: about an equal share of the images that they come from. Cut-outs of
    one image stay together, and so do files with the same bytes.

    Parameters
    ----------
    side : Side
        Sources of the list.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of Side
        The groups, at least one. They all have the shares of the classes of the list.
    """
    cutouts = [cutout for of_class in side.cutouts.values() for cutout in of_class]
    bag_units = _units([str(path) for path in side.bags], side.bags)
    units = _units([c.image for c in cutouts], [c.path for c in cutouts])
    labels: list[set[str]] = [set() for _ in range(_count(units))]
    for cutout, unit in zip(cutouts, units, strict=True):
        labels[unit].add(cutout.label)
    images = Counter(label for own in labels for label in own)
    for count in range(min([_MOST, _count(bag_units), *images.values()]), 1, -1):
        dealt = _deal(labels, count, rng)
        held = {(group, label) for group, own in zip(dealt, labels, strict=True) for label in own}
        if len(held) == count * len(images):  # images with several classes may leave a group without one of them
            break
    else:
        return (side,)
    of_bag = rng.permutation(_count(bag_units))[bag_units] % count
    of_cutout = {cutout: dealt[unit] for cutout, unit in zip(cutouts, units, strict=True)}
    return tuple(
        replace(
            side,
            bags=tuple(bag for bag, own in zip(side.bags, of_bag, strict=True) if own == group),
            cutouts={label: [c for c in of if of_cutout[c] == group] for label, of in side.cutouts.items()},
        )
        for group in range(count)
    )


def _units(names: Sequence[str], paths: Sequence[Path]) -> Rows:
    """Number of the unit of each file, int64 (n,): files of one name or with the same bytes are never divided."""
    return group_neighbours(names, paths, groups=names)


def _count(units: Rows) -> int:
    return int(units.max()) + 1 if len(units) else 0


def _deal(labels: Sequence[Collection[str]], count: int, rng: np.random.Generator) -> list[int]:
    """Deal units out to groups, the rarest class first.

    Parameters
    ----------
    labels : sequence of n collections of str
        Classes of each unit.
    count : int
        Number of groups.
    rng : numpy.random.Generator

    Returns
    -------
    list of n int
        Group of each unit. Each goes where its class is rarest so far.
    """
    dealt = [-1] * len(labels)
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    order = rng.permutation(len(labels)).tolist()
    frequency = Counter(label for own in labels for label in own)
    for label in sorted(frequency, key=lambda label: (frequency[label], label)):
        for unit in order:
            own = labels[unit]
            if label in own and dealt[unit] < 0:
                sizes = [(of[label], sum(of[other] for other in own), of.total()) for of in held]
                dealt[unit] = sizes.index(min(sizes))
                held[dealt[unit]].update(own)
    return dealt
