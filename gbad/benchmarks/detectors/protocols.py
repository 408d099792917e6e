"""The protocols of the literature: which classes are normal, and which images are for training and for testing.

"One class against the rest" is used for two opposite tasks. Here each has one name:

- ``one-vs-rest``: the class is *normal*, all others are abnormal.
- ``leave-one-class-out``: the class is *abnormal*, all others are normal.
- ``normal-vs-abnormal``: the data set, or the user, says which classes are normal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.data.arrays import Mask, Rows
from gbad.data.one_class import ClassData
from gbad.data.source import ImageSource, rows_of
from gbad.errors import DataError

PROTOCOLS = ("one-vs-rest", "leave-one-class-out", "normal-vs-abnormal")


@dataclass(frozen=True, eq=False)
class Task:
    """What a detector is trained on and tested on.

    Attributes
    ----------
    name : str
        The class, or the data set's or category's name under ``normal-vs-abnormal``.
    train : ImageSource
        Normal images only.
    train_unit : ndarray of int64
        Unit of each training row, 0 … units − 1.
    test : ImageSource
        The rows of normal units, then those of abnormal ones. None of them is in `train`.
    unit : ndarray of int64
        Unit of each test row, 0 … units − 1: a unit's score is the highest of its rows.
    abnormal : ndarray of shape (units,), bool
        What the test is about.
    image : ndarray of shape (units,), int64
        Image that a unit is from, any numbers; units of one image are not independent.
    mask : callable or None
        From a test row to its mask, bool (size, size), True where the image is abnormal.
    """

    name: str
    train: ImageSource
    train_unit: Rows
    test: ImageSource
    unit: Rows
    abnormal: Mask
    image: Rows
    mask: Callable[[int], Mask] | None


def make_tasks(
    data: Sequence[ClassData],
    protocol: str,
    *,
    classes: Sequence[str] | None = None,
    normal: Sequence[str] | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
) -> list[Task]:
    """Turn a data set into the tasks of a protocol.

    Parameters
    ----------
    data : sequence of ClassData
        As from `read_classes`.
    protocol : str
        One of `PROTOCOLS`.
    classes : sequence of str, optional
        Tasks to keep: classes, or categories under ``normal-vs-abnormal``. Default: all.
    normal : sequence of str, optional
        Normal classes under ``normal-vs-abnormal``, where the data set does not say which are.
    max_train, max_test : int, optional
        Keep so many units of each part, drawn once for all seeds and detectors.

    Raises
    ------
    DataError
        If protocol and data set do not fit, a name is unknown, or a part of a task would be empty.
    """
    wanted = _wanted(data, protocol, normal)
    known = [name for name, _, _ in wanted]
    if unknown := [name for name in classes or () if name not in known]:
        raise DataError(f"no class or category {', '.join(map(repr, unknown))}. There are: {', '.join(known)}.")
    return [
        make_task(name, one, chosen, max_train=max_train, max_test=max_test)
        for name, one, chosen in wanted
        if not classes or name in classes
    ]


def _wanted(
    data: Sequence[ClassData], protocol: str, normal: Sequence[str] | None
) -> list[tuple[str, ClassData, frozenset[str]]]:
    """Name, data and normal classes of each task."""
    if protocol not in PROTOCOLS:
        raise DataError(f"protocol {protocol!r} is unknown. Choose one of {', '.join(PROTOCOLS)}.")
    if normal and protocol != "normal-vs-abnormal":
        raise DataError(f"{protocol} says itself which classes are normal. Leave out the list of normal classes.")
    return [
        (name, one, chosen)
        for one in data
        for name, chosen in _normal_classes(one, protocol, frozenset(normal or ())).items()
    ]


def make_task(
    name: str, data: ClassData, normal: frozenset[str], *, max_train: int | None = None, max_test: int | None = None
) -> Task:
    """Task in which the classes `normal` are normal and all others abnormal; parameters as in `make_tasks`."""
    is_normal = np.array([one in normal for one in data.classes])
    train_rows = _subsample(data.train.unit, np.flatnonzero(is_normal[data.train.labels]), max_train)
    test_rows = _subsample(data.test.unit, np.arange(len(data.test)), max_test)
    # Normal rows first: the unshuffled order in which the published code tests. Clean scores do not depend on it.
    test_rows = test_rows[np.argsort(~is_normal[data.test.labels[test_rows]], kind="stable")]
    unit = numbered(data.test.unit[test_rows])
    abnormal = np.zeros(unit.max(initial=-1) + 1, bool)
    abnormal[unit] = ~is_normal[data.test.labels[test_rows]]
    image = np.zeros(len(abnormal), np.int64)
    image[unit] = (data.test.unit if data.test.image is None else data.test.image)[test_rows]
    counts = {"training": len(train_rows), "normal test": int((~abnormal).sum()), "abnormal test": int(abnormal.sum())}
    if empty := [kind for kind, count in counts.items() if not count]:
        raise DataError(
            f"{name} of {data.name}: no {' and no '.join(empty)} image. Check which classes are normal "
            f"({', '.join(sorted(normal))}), take more images, or name other classes."
        )
    of_row, masks = test_rows.tolist(), data.masks
    return Task(
        name,
        rows_of(data.train.images, train_rows),
        numbered(data.train.unit[train_rows]),
        rows_of(data.test.images, test_rows),
        unit,
        abnormal,
        image,
        None if masks is None else lambda row: masks(of_row[row]),
    )


def unit_scores(scores: Floats, unit: Rows) -> Floats:
    """Highest score of each unit: (rows,) and (rows,) -> (units,).

    Examples
    --------
    >>> unit_scores(np.array([0.1, 0.7, 0.3]), np.array([0, 0, 1])).tolist()
    [0.7, 0.3]
    """
    highest = np.full(unit.max() + 1, -np.inf)
    np.maximum.at(highest, unit, scores)
    return highest


def _normal_classes(data: ClassData, protocol: str, normal: frozenset[str]) -> dict[str, frozenset[str]]:
    """Normal classes of each task of a data set, by the task's name."""
    if protocol == "one-vs-rest":
        return {name: frozenset({name}) for name in data.classes}
    if protocol == "leave-one-class-out":
        return {name: frozenset(data.classes) - {name} for name in data.classes}
    if unknown := sorted(normal - set(data.classes)):
        raise DataError(
            f"{data.name} has no class {', '.join(map(repr, unknown))}. Its classes: {', '.join(data.classes)}."
        )
    if not normal and not data.normal:
        raise DataError(
            f"{data.name} does not say which classes are normal. Name them, out of {', '.join(data.classes)}, or "
            "choose another protocol."
        )
    return {data.name: normal or data.normal}


def _subsample(unit: Rows, rows: Rows, most: int | None) -> Rows:
    """Keep the rows of at most `most` units, in order; always the same ones."""
    units = np.unique(unit[rows])
    if most is None or most >= len(units):
        return rows
    kept = np.random.default_rng(0).permutation(units)[:most]
    return rows[np.isin(unit[rows], kept)]


def numbered(unit: Rows) -> Rows:
    """Number units, or images, in the order in which they appear: (n,) -> (n,) int64, 0, 1, ..."""
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse]
