"""One projected image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from gbad.data.arrays import Pixels, Rows
from gbad.data.images import read_image
from gbad.data.labels import PARTS
from gbad.data.layout import GeneratedLayout
from gbad.data.project.cutouts import Cutout, read_cutout
from gbad.data.project.decoys import piece_of_bag, simulated_decoy
from gbad.data.project.projection import Placement, Truth, background, foreground, place, pose_patch, project, truth
from gbad.data.project.sides import Side

_SCALES = (0.8, 1.25)


def draw_labels(seed: int, number: int, shares: dict[str, float]) -> list[str]:
    """Draw the classes of an image: two in a quarter of the images, else one."""
    rng = np.random.default_rng([seed, number, 1])
    count = min(len(shares), 1 + int(rng.random() < 0.25))
    drawn = rng.choice(list(shares), count, replace=False, p=list(shares.values()))
    return [str(label) for label in drawn]


def _view(path: Path, size: int, rng: np.random.Generator) -> tuple[Pixels, float]:
    """A bag, randomly flipped, turned and scaled, and its scale: pixels of the result per pixel of the file."""
    array = np.rot90(read_image(path), int(rng.integers(4)))
    array = array[:, ::-1] if rng.random() < 0.5 else array
    air = tuple(int(value) for value in background(array))
    image = Image.fromarray(np.ascontiguousarray(array))
    image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=air)
    factor = size / max(image.size)
    shape = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return np.asarray(image.resize(shape, Image.Resampling.BILINEAR)), factor


def draw_bag(groups: Sequence[Side], layout: GeneratedLayout, part: str, name: str) -> tuple[int, Path]:
    """Draw the source group of an image, by its number, and the bag. All bags of a list are used equally often."""
    number, positive = int(name[1:]), name[0] == "P"
    positives, negatives = layout.parts[part]
    turn = number - positives.start if positive else len(positives) + number - negatives.start
    ends = np.cumsum([len(group.bags) for group in groups])
    cycle, at = divmod(turn, int(ends[-1]))
    bag = int(_order(layout.seed, PARTS.index(part), cycle, int(ends[-1]))[at])
    group = int(np.searchsorted(ends, bag, side="right"))
    return group, groups[group].bags[bag - int(ends[group])]  # counted from the end


@lru_cache(maxsize=4)  # neighbours in number need the same order
def _order(seed: int, part: int, cycle: int, count: int) -> Rows:
    return np.random.default_rng([seed, part, cycle, 5]).permutation(count)


def project_image(
    groups: Sequence[Side], layout: GeneratedLayout, part: str, name: str, remove_threats: bool = False
) -> tuple[Pixels, list[tuple[Cutout, Truth]]]:
    """Make one image of one group, uint8 (height, width, 3), and give the cut-out and the truth of each threat."""
    number, positive = int(name[1:]), name[0] == "P"
    bag_rng, rng = (np.random.default_rng([layout.seed, number, 2 + positive, stream]) for stream in range(2))
    group, path = draw_bag(groups, layout, part, name)
    side = groups[group]
    image, factor = _view(path, layout.size, bag_rng)
    on = foreground(image)
    labels = draw_labels(layout.seed, number if positive else 10**7 + number, side.shares)
    bag = image
    placements: list[Placement] = []
    threats: list[tuple[Cutout, int]] = []
    for label in labels + [""] * (1 + int(rng.poisson(1.0))):
        if label and remove_threats:
            continue
        shape_of = label or str(rng.choice(list(side.shares), p=list(side.shares.values())))
        choices = side.cutouts[shape_of]
        cutout = choices[int(rng.integers(len(choices)))]
        patch = read_cutout(cutout)
        threat = bool(label) and positive
        if not threat:
            if rng.random() < 0.5:
                patch = simulated_decoy(rng)
            else:
                patch = piece_of_bag(read_image(side.bags[int(rng.integers(len(side.bags)))]), patch, rng)
        patch = pose_patch(patch, rng, factor * rng.uniform(*_SCALES))
        if threat:
            threats.append((cutout, len(placements)))
        placements.append(place(image, patch, rng, on))
        image = project(image, placements[-1])
    return image, [(cutout, truth(bag, placements, which)) for cutout, which in threats]
