"""Contradictions in a data set: equal images, equal names, labels that differ from the boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gbad.data.annotations import Box, find_annotations, read_voc_boxes
from gbad.data.duplicates import group_equal
from gbad.data.images import image_size
from gbad.data.labels import LabelList
from gbad.errors import DataError, ImageError

ANNOTATION_FOLDERS = ("Annotation", "Annotations")
"""Folders of the Pascal VOC files in SIXray's layout."""


_ROUNDING = 1.0  # pixels: some count them from 1


class Problem(NamedTuple):
    """One finding of a check. All fields are text; a field that does not apply is empty."""

    part: str
    name: str
    path: str
    problem: str
    detail: str


class Row(NamedTuple):
    """One row of a list, with the path of its image (empty if there is none) and its classes."""

    part: str
    name: str
    path: str
    classes: frozenset[str]

    def problem(self, problem: str, detail: str) -> Problem:
        """Make a finding about this row."""
        return Problem(self.part, self.name, self.path, problem, detail)


def make_rows(parts: Mapping[str, LabelList], images: Mapping[str, Path]) -> list[Row]:
    """Join lists and images.

    Parameters
    ----------
    parts : mapping of str to LabelList
        The lists by part.
    images : mapping of str to Path
        Path of each image by name.

    Returns
    -------
    list of Row
        All rows, in the order of `parts` and of each list.
    """
    rows = []
    for part, labels in parts.items():
        patterns, pattern_of = np.unique(labels.labels, axis=0, return_inverse=True)
        classes = [frozenset(np.array(labels.classes)[pattern == 1].tolist()) for pattern in patterns]
        for name, pattern in zip(labels.names, pattern_of.ravel().tolist(), strict=True):
            rows.append(Row(part, name, str(images.get(name, "")), classes[pattern]))
    return rows


def find_contradictions(
    data: Path, parts: Mapping[str, LabelList], rows: Sequence[Row], digests: Sequence[bytes | None]
) -> Iterator[Problem]:
    """Find duplicates, names in train and test, and conflicting labels.

    Parameters
    ----------
    data : Path
        The data set's folder; its Pascal VOC annotations are read.
    parts : mapping of str to LabelList
        The lists by part.
    rows : sequence of Row
        Their rows, as from `make_rows`.
    digests : sequence of bytes or None
        Digest of each image; None if the image cannot be used.

    Yields
    ------
    Problem
        ``duplicate``, ``duplicate_across_parts``, ``same_name_across_parts``, ``label_conflict``, ``bad_annotation``
        or ``bad_box``.
    """
    for group in group_equal(digests):
        yield from _compare_equal_images([rows[position] for position in group])
    yield from _compare_names(rows)
    headers = {part: labels.classes for part, labels in parts.items()}
    if len(set(headers.values())) > 1:
        detail = "; ".join(f"{part} has the classes {', '.join(classes)}" for part, classes in headers.items())
        yield Problem("", "", "", "label_conflict", detail)
    yield from _compare_boxes(data, headers, rows)


def _compare_equal_images(rows: Sequence[Row]) -> Iterator[Problem]:
    of_part: dict[str, list[Row]] = {}
    for row in rows:
        of_part.setdefault(row.part, []).append(row)
    for first, *others in of_part.values():
        for row in others:
            yield row.problem("duplicate", f"same bytes as {first.name}")
    train = of_part.get("train", [])
    names = {row.name for row in train}
    for row in of_part.get("test", []):
        if train and row.name not in names:  # the same name in both is another finding
            yield row.problem("duplicate_across_parts", f"same bytes as {train[0].name} in train")
    for row in rows[1:]:
        if row.name != rows[0].name and row.classes != rows[0].classes:
            yield _conflict(row, f"{rows[0].name}, which has the same bytes,", rows[0].classes)


def _compare_names(rows: Sequence[Row]) -> Iterator[Problem]:
    train = {row.name: row for row in rows if row.part == "train"}
    for row in rows:
        if row.part == "test" and row.name in train:
            yield row.problem("same_name_across_parts", "the name is in train as well")
            if row.classes != train[row.name].classes:
                yield _conflict(row, "train", train[row.name].classes)


def _compare_boxes(data: Path, headers: Mapping[str, tuple[str, ...]], rows: Sequence[Row]) -> Iterator[Problem]:
    """Compare labels with boxes where an image has an annotation. Boxes of classes that the list lacks are ignored."""
    annotations: dict[str, Path] = {}
    for folder in ANNOTATION_FOLDERS:
        try:
            annotations.update(find_annotations(data / folder))
        except DataError as error:
            yield Problem("", "", str(data / folder), "bad_annotation", str(error))
    for row in rows:
        if (path := annotations.get(row.name)) is None:
            continue
        try:
            boxes = read_voc_boxes(path)
        except DataError as error:
            yield Problem(row.part, row.name, str(path), "bad_annotation", str(error))
            continue
        for detail in _misplaced(row, boxes):
            yield Problem(row.part, row.name, str(path), "bad_box", detail)
        boxed = frozenset(name for name, _ in boxes) & frozenset(headers[row.part])
        if boxed != row.classes:
            yield _conflict(row, "its annotation", boxed)


def _misplaced(row: Row, boxes: Sequence[tuple[str, Box]]) -> Iterator[str]:
    """Say of boxes that are empty, or that reach out of their image by more than rounding."""
    try:
        width, height = image_size(row.path) if boxes else (0, 0)
    except ImageError:
        return  # another finding
    for name, (left, top, right, bottom) in boxes:
        box = f"the box {left:g}, {top:g} to {right:g}, {bottom:g} of {name!r}"
        if left >= right or top >= bottom:
            yield f"{box} is empty. Correct it."
        elif left >= width or top >= height or right <= 0 or bottom <= 0:
            yield f"{box} lies outside of the image of {width} × {height} pixels. Correct it."
        elif min(left, top) < -_ROUNDING or right > width + _ROUNDING or bottom > height + _ROUNDING:
            yield f"{box} reaches out of the image of {width} × {height} pixels; what is outside does not count."


def _conflict(row: Row, other: str, classes: frozenset[str]) -> Problem:
    here, there = (", ".join(sorted(found)) or "no threat" for found in (row.classes, classes))
    return row.problem("label_conflict", f"labelled {here}, but {other} has {there}")
