"""Tasks of a protocol: what a detector is trained on and tested on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.detectors.protocols import REST, TEST_SHARE, Protocol, protocol_of
from gbad.data.arrays import Mask, Rows
from gbad.data.one_class import ClassData, chosen, joined
from gbad.data.source import ImageSource, rows_of
from gbad.errors import DataError

Counts = Sequence[int | Literal["rest"]]
"""Numbers of images to train on, and of normal and of abnormal ones to test; ``"rest"`` takes all that are left."""


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
        Image that a unit is from, any numbers; units of one image are not independent. Of frames, their clip.
    kinds : tuple of str
        Class of each unit.
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
    kinds: tuple[str, ...]
    mask: Callable[[int], Mask] | None


def make_tasks(
    data: Sequence[ClassData],
    protocol: str,
    *,
    classes: Sequence[str] | None = None,
    normal: Sequence[str] | None = None,
    counts: Counts | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
) -> list[Task]:
    """Turn a data set into the tasks of a protocol.

    Parameters
    ----------
    data : sequence of ClassData
        As from `read_classes`.
    protocol : str
        One of `gbad.benchmarks.detectors.protocols.PROTOCOLS`.
    classes : sequence of str, optional
        Tasks to keep: classes, or categories under ``normal-vs-abnormal``. Default: all.
    normal : sequence of str, optional
        Normal classes under ``normal-vs-abnormal`` and the like, where the data set does not say which are.
    counts : sequence, optional
        Numbers of a protocol that draws its lists by numbers, in the place of the printed ones.
    max_train, max_test : int, optional
        Keep so many training images (with all their patches) and test units, drawn once for all seeds and detectors.

    Raises
    ------
    DataError
        If protocol and data set do not fit, a name is unknown, or a part of a task would be empty.
    """
    wanted = _wanted(data, protocol, normal)
    how = protocol_of(protocol)
    if counts and how.split != "counted":
        raise DataError(f"{protocol} says itself which images are for training and for testing. Leave out --split.")
    known = [name for name, _, _ in wanted]
    if unknown := [name for name in classes or () if name not in known]:
        raise DataError(f"no class or category {', '.join(map(repr, unknown))}. There are: {', '.join(known)}.")
    return [
        make_task(name, _split(one, of_normal, how, counts), of_normal, max_train=max_train, max_test=max_test)
        for name, one, of_normal in wanted
        if not classes or name in classes
    ]


def _wanted(
    data: Sequence[ClassData], protocol: str, normal: Sequence[str] | None
) -> list[tuple[str, ClassData, frozenset[str]]]:
    """Name, data and normal classes of each task."""
    how = protocol_of(protocol).normal
    if normal and how in ("class", "others"):
        raise DataError(f"{protocol} says itself which classes are normal. Leave out the list of normal classes.")
    return [
        (name, one, of_normal)
        for one in data
        for name, of_normal in _normal_classes(one, how, frozenset(normal or ())).items()
    ]


def make_task(
    name: str, data: ClassData, normal: frozenset[str], *, max_train: int | None = None, max_test: int | None = None
) -> Task:
    """Task in which the classes `normal` are normal and all others abnormal; parameters as in `make_tasks`."""
    is_normal = np.array([one in normal for one in data.classes])
    train_image = data.train.unit if data.train.image is None else data.train.image
    train_rows = _subsample(train_image, np.flatnonzero(is_normal[data.train.labels]), max_train)
    test_rows = _subsample(data.test.unit, np.arange(len(data.test)), max_test)
    # Normal rows first: the unshuffled order in which the published code tests. Clean scores do not depend on it.
    test_rows = test_rows[np.argsort(~is_normal[data.test.labels[test_rows]], kind="stable")]
    unit = numbered(data.test.unit[test_rows])
    abnormal = np.zeros(unit.max(initial=-1) + 1, bool)
    abnormal[unit] = ~is_normal[data.test.labels[test_rows]]
    image = np.zeros(len(abnormal), np.int64)
    image[unit] = (data.test.unit if data.test.image is None else data.test.image)[test_rows]
    label = np.zeros(len(abnormal), np.int64)
    label[unit] = data.test.labels[test_rows]
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
        tuple(data.classes[one] for one in label.tolist()),
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


def _split(data: ClassData, normal: frozenset[str], how: Protocol, counts: Counts | None) -> ClassData:
    """Move rows between the parts, or draw both anew, as a protocol has it."""
    if how.split == "parts":
        return data
    is_normal = np.array([one in normal for one in data.classes])
    if how.split == "abnormal of both":
        # Before the others, as in the published code.
        abnormal = chosen(data.train, np.flatnonzero(~is_normal[data.train.labels]))
        return replace(data, test=joined(abnormal, data.test), masks=None)
    pool = joined(data.train, data.test)
    if pool.unit[-1] < len(pool) - 1:
        raise DataError(f"{data.name}: this protocol draws whole images, not patches of them. Take a grid of 1.")
    shuffled = np.random.default_rng(0).permutation(len(pool))
    of_normal = is_normal[pool.labels[shuffled]]
    if how.split == "pooled":
        # By class, and not by what is normal: all tasks test the same images.
        of_class = [shuffled[pool.labels[shuffled] == label] for label in range(len(data.classes))]
        tested = np.concatenate([rows[: round(TEST_SHARE * len(rows))] for rows in of_class])
        trained = np.setdiff1d(np.arange(len(pool)), tested)
    else:
        n_train, n_normal, n_abnormal = counts or how.counts
        trained, tested = _drawn(data, shuffled[of_normal], [n_train, n_normal], "normal")
        (abnormal_rows,) = _drawn(data, shuffled[~of_normal], [n_abnormal], "abnormal")
        tested = np.concatenate([tested, abnormal_rows])
    return replace(data, train=chosen(pool, np.sort(trained)), test=chosen(pool, np.sort(tested)), masks=None)


def _drawn(data: ClassData, rows: Rows, counts: Counts, what: str) -> list[Rows]:
    """Deal out rows in order: so many to each list; ``"rest"`` takes what no number asks for."""
    asked = sum(count for count in counts if count != REST)
    if asked > len(rows):
        raise DataError(
            f"{data.name}: {len(rows):,} {what} images, and the lists ask for {asked:,}. Give numbers that it has by "
            "--split TRAIN NORMAL ABNORMAL: normal images to train on, and normal and abnormal ones to test. 'rest' "
            "takes all that are left."
        )
    lists, start = [], 0
    for count in counts:
        stop = start + (len(rows) - asked if count == REST else count)
        lists.append(rows[start:stop])
        start = stop
    return lists


_HEALTHY = re.compile(r"(?:^|[^a-z])healthy$", re.IGNORECASE)  # not "unhealthy"


def _normal_classes(data: ClassData, how: str, normal: frozenset[str]) -> dict[str, frozenset[str]]:
    """Normal classes of each task of a data set, by the task's name; `how` as in `Protocol.normal`."""
    if how == "class":
        return {name: frozenset({name}) for name in data.classes}
    if how == "others":
        return {name: frozenset(data.classes) - {name} for name in data.classes}
    if how == "healthy" and not normal:
        normal = frozenset(name for name in data.classes if _HEALTHY.search(name))
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
    """Keep the rows of at most `most` units, or images, in order; always the same ones."""
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
