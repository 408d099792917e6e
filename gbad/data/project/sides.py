"""Sources of the projected images of each list. The training and the test side share nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gbad.data.duplicates import find_duplicates
from gbad.data.images import image_paths
from gbad.data.labels import PARTS, read_sixray
from gbad.data.project.cutouts import Cutout, find_cutouts
from gbad.errors import DataError


@dataclass(frozen=True)
class Side:
    """Sources for the images of one list: bags, cut-outs by class, and the share of each class."""

    bags: tuple[Path, ...]
    cutouts: dict[str, list[Cutout]]
    shares: dict[str, float]


def read_sides(data: Path, subset: int, threats: Path | None) -> tuple[dict[str, Side], tuple[str, ...]]:
    """Find bags and cut-outs for both lists, and the classes. Arguments and errors as in `project_dataset`."""
    lists = {part: read_sixray(data, subset, part) for part in PARTS}
    classes = lists["train"].classes
    if lists["test"].classes != classes:
        both = f"{', '.join(classes)} and {', '.join(lists['test'].classes)}"
        raise DataError(f"{data}: the lists have different classes, {both}. Give both the same header.")
    names = {part: set(rows.names) for part, rows in lists.items()}
    if shared := names["train"] & names["test"]:
        raise DataError(f"{data}: {min(shared)!r} is on both lists. Delete one of the two rows.")
    bags = {part: image_paths(data, rows.select(~rows.positive).names) for part, rows in lists.items()}
    shown = {
        name: {label for label, value in zip(classes, row.tolist(), strict=True) if value}
        for rows in lists.values()
        for name, row in zip(rows.names, rows.labels, strict=True)
    }
    found = find_cutouts(data, shown, classes, threats)
    cutouts = {part: [c for c in found if c.image in names[part]] for part in PARTS}
    repeated = _on_both([*bags["train"], *(c.path for c in cutouts["train"])],
                        [*bags["test"], *(c.path for c in cutouts["test"])])  # fmt: skip
    bags["train"] = [path for path in bags["train"] if path not in repeated]
    cutouts["train"] = [c for c in cutouts["train"] if c.path not in repeated]
    return {part: make_side(bags[part], cutouts[part], classes) for part in PARTS}, classes


def make_side(bags: Sequence[Path], cutouts: Sequence[Cutout], classes: Sequence[str]) -> Side:
    """Make a side. The share of a class is its share of the images that cut-outs come from."""
    by_class = {label: [c for c in cutouts if c.label == label] for label in classes}
    by_class = {label: items for label, items in by_class.items() if items}
    sources = Counter(label for label, items in by_class.items() for _ in {c.image for c in items})
    return Side(tuple(bags), by_class, {label: sources[label] / sources.total() for label in by_class})


def _on_both(train: Sequence[Path], test: Sequence[Path]) -> set[Path]:
    """Training files with the same bytes as a test file."""
    paths = [*train, *test]
    groups = [group for group in find_duplicates(paths) if group[0] < len(train) <= group[-1]]
    return {paths[k] for group in groups for k in group if k < len(train)}
