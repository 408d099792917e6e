"""Bags on the belt, and their contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gbad.data.simulate.bag_parts import Bag
from gbad.data.simulate.bags import BAGS
from gbad.data.simulate.clutter import ITEMS, clothes, packed_clothes
from gbad.data.simulate.decoys import any_decoy
from gbad.data.simulate.geometry import Layer, Pose, pose
from gbad.data.simulate.household import small_metal
from gbad.data.simulate.render import bounds, render
from gbad.data.simulate.types import Depth, Field, Rng


@dataclass(frozen=True)
class PlacedBag:
    """A bag and its view: from cm around its middle to pixels of the image."""

    bag: Bag
    view: Pose


def lay_bags(rng: Rng, size: int) -> tuple[list[PlacedBag], int, int]:
    """Lay empty bags on the belt and choose the part of the belt that the image shows.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides number, kind, rotation and crop.
    size : int
        Longer side of the image in pixels.

    Returns
    -------
    bags : list of PlacedBag
    width, height : int
        Size of the image in pixels; the longer one is `size`.
    """
    kinds, shares = list(BAGS), list(BAGS.values())
    count = int(rng.choice([1, 2, 3], p=[0.96, 0.035, 0.005]))
    cursor = 0.0
    bags, corners = [], []
    for _ in range(count):
        bag = kinds[int(rng.choice(len(kinds), p=shares))](rng)
        angle = rng.integers(4) * np.pi / 2 + (rng.normal(0, 0.06) if rng.random() < 0.62 else rng.uniform(-0.8, 0.8))
        x0, y0, x1, y1 = bounds(bag.layers, pose(angle=angle))
        at = (cursor - x0, rng.normal(0, 5.0) - (y0 + y1) / 2)
        cursor += (x1 - x0) * rng.uniform(0.9, 1.15)
        bags.append(PlacedBag(bag, pose(at, angle)))
        corners.append((at[0] + x0, at[1] + y0, at[0] + x1, at[1] + y1))
    box = np.array(corners)
    low, high = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    extent = high - low
    margin = rng.choice([0.01, 0.05, 0.25], p=[0.86, 0.09, 0.05])
    low = low - extent * rng.uniform(0, margin, 2)
    high = high + extent * rng.uniform(0, margin, 2)
    if rng.random() < 0.15:  # cut off at one side
        axis, cut = int(rng.integers(2)), rng.uniform(0.05, 0.25)
        if rng.random() < 0.5:
            low[axis] += cut * extent[axis]
        else:
            high[axis] -= cut * extent[axis]
    scale = size / float((high - low).max())
    width, height = (min(size, max(16, round(float(side)))) for side in (high - low) * scale)
    camera = pose((float(-low[0] * scale), float(-low[1] * scale)), scale=scale)
    return [PlacedBag(placed.bag, placed.view.then(camera)) for placed in bags], width, height


def pack(rng: Rng, placed: PlacedBag, depth: Depth, fields: dict[str, Field], load: float = 1.0) -> None:
    """Add a bag and its contents to the optical depth of a scene, in place.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides the contents and their places.
    placed : PlacedBag
        The empty bag.
    depth : ndarray of shape (2, height, width), float32
        Changed.
    fields : dict of str to ndarray of shape (height, width)
        Noise fields for soft things.
    load : float
        Amount of contents, relative to the default; 0 is an empty bag.
    """
    bag = placed.bag
    render(bag.layers, placed.view, depth, fields)
    if rng.random() < load * bag.soft:
        for _ in range(1 + int(rng.integers(2))):
            render(packed_clothes(rng, 0.95 * bag.width, 0.95 * bag.height), placed.view, depth, fields)
    fullness = rng.beta(1.2, 1.4)
    least, most = bag.fill
    count = round(0.6 * load * (least + fullness * (most - least)) * bag.width * bag.height / 100.0)
    kinds = list(ITEMS)
    # A bag has a character: clothes for a journey, food, office, ...
    shares = np.array(list(ITEMS.values())) * rng.gamma(0.8, 1.0, len(ITEMS))
    chosen: list[Callable[[Rng], list[Layer]]] = [
        kinds[k] for k in rng.choice(len(kinds), count, p=shares / shares.sum())
    ]
    chosen += [clothes] * int(rng.poisson(load * 1.8 * fullness))
    chosen += [any_decoy] * int(rng.poisson(load * 0.35))
    chosen += [small_metal] * int(rng.poisson(load * rng.gamma(2.0, 2.0)))
    for make in chosen:
        tilt = 0.0 if make is clothes else min(abs(rng.normal(0, 0.3)), 1.2)
        straight = rng.random() < 0.4
        angle = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.05) if straight else rng.uniform(0, 2 * np.pi)
        item = make(rng)
        render(item, anywhere(rng, item, placed, angle, tilt, rng.uniform(0, np.pi)), depth, fields)


def anywhere(rng: Rng, item: Sequence[Layer], placed: PlacedBag, angle: float, tilt: float, axis: float) -> Pose:
    """Choose a random place in a bag. The item stays inside the bag as far as possible.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides the place.
    item : sequence of Layer
        Item to place.
    placed : PlacedBag
        Bag to place it in.
    angle, tilt, axis : float
        See `gbad.data.simulate.geometry.pose`.

    Returns
    -------
    Pose
        From cm to pixels of the image.
    """
    bag = placed.bag
    at = rng.uniform(-0.5, 0.5, 2) * [bag.width, bag.height]
    x0, y0, x1, y1 = bounds(item, pose(angle=angle, tilt=tilt, axis=axis))
    half = np.array([bag.width, bag.height]) / 2
    low, high = -half - (x0, y0), half - (x1, y1)
    x, y = np.where(low < high, np.clip(at, np.minimum(low, high), np.maximum(low, high)), (low + high) / 2).tolist()
    return pose((x, y), angle, tilt, axis).then(placed.view)
