"""Decoys: harmless things projected into all images. So neither edges nor the amount of metal reveal a threat."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from gbad.data.arrays import Mask, Pixels
from gbad.data.simulate.decoys import any_decoy
from gbad.data.simulate.geometry import pose
from gbad.data.simulate.looks import LOOKS
from gbad.data.simulate.physics import WHITE_LEVEL, pseudo_colour, transmission
from gbad.data.simulate.render import bounds, render

_PIXELS_PER_CM = 5.0


def simulated_decoy(rng: np.random.Generator) -> Pixels:
    """Draw a simulated metal thing that looks like a threat: darkness, uint8 (h, w, 3)."""
    layers = any_decoy(rng)
    at = pose(tilt=float(min(abs(rng.normal(0, 0.4)), 1.2)), scale=_PIXELS_PER_CM)
    x0, y0, x1, y1 = bounds(layers, at)
    depth = np.zeros((2, y1 - y0, x1 - x0), dtype=np.float32)
    render(layers, at, depth, origin=(x0, y0))
    raw = np.clip(transmission(depth) * WHITE_LEVEL, 1, WHITE_LEVEL).astype(np.uint16)
    look = LOOKS[int(rng.integers(len(LOOKS)))]
    shown = pseudo_colour(raw, look).astype(float)
    darkness = 1 - (shown / np.array(look.air, dtype=float)).clip(0, 1)
    darkness[(depth < 0.01).all(axis=0)] = 0
    return np.asarray((255 * darkness + 0.5).astype(np.uint8))


def piece_of_bag(bag: Pixels, threat: Pixels, rng: np.random.Generator, tries: int = 12) -> Pixels:
    """Cut a dark or bluish piece out of a threat-free bag, with the size and the colours of a threat.

    Its outline is irregular: with the outline of a gun, it would be a gun to a person who looks at the image.

    Parameters
    ----------
    bag : ndarray of shape (height, width, 3), uint8
        Bag of the same list as the image that gets the piece.
    threat : ndarray of shape (h, w, 3), uint8
        Darkness of a cut-out for the same list.
    rng : numpy.random.Generator
    tries : int
        Number of places to compare.

    Returns
    -------
    ndarray of shape (h', w', 3), uint8
        Darkness.
    """
    height, width = bag.shape[:2]
    silhouette = threat.max(axis=2) > 0
    inside = irregular_outline(silhouette, (height, width), rng)
    h, w = inside.shape
    best, best_score = bag[:h, :w], -np.inf
    for _ in range(tries):
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        window = bag[y : y + h, x : x + w]
        red, _, blue = window[inside].mean(axis=0)
        score = 0.6 * (blue - red) - window[inside].mean()
        if score > best_score:
            best, best_score = window, score
    # The piece keeps its structure and gets the colours of the threat, which would else tell the two apart. Pixels are
    # matched by rank: the darkest pixel of the piece gets the darkest colour of the threat, and so on.
    colours = threat[silhouette]
    colours = colours[np.argsort(colours.sum(axis=1, dtype=np.int64), kind="stable")]
    darkness = np.zeros((h, w, 3), np.uint8)
    ranks = np.argsort(np.argsort(-best[inside].sum(axis=1, dtype=np.int64), kind="stable"), kind="stable")
    darkness[inside] = colours[ranks * len(colours) // len(ranks)]
    return darkness


def irregular_outline(silhouette: Mask, largest: tuple[int, int], rng: np.random.Generator) -> Mask:
    """Draw an irregular polygon with the area of a silhouette and about its proportions.

    Parameters
    ----------
    silhouette : ndarray of shape (h, w), bool
        Proportions are the ratio of its standard deviations along and across.
    largest : (int, int)
        Largest height and width of the outline.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (h', w'), bool
        At least one pixel is True.
    """
    points = np.argwhere(silhouette)
    moments = np.linalg.eigvalsh(np.cov(points, rowvar=False)) if len(points) > 2 else np.ones(2)
    corners = int(rng.integers(5, 10))
    turns = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
    reach = rng.uniform(0.6, 1.0, corners)
    x, y = reach * np.cos(turns), reach * np.sin(turns)
    sides = np.sqrt(np.maximum(moments, 0.1))  # width and length of the silhouette, up to a common factor
    unit_area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    sides = sides * np.sqrt(len(points) / (unit_area * sides.prod()))
    h, w = (min(most, max(3, round(2 * float(side)))) for side, most in zip(sides, largest, strict=True))
    x, y = (w - 1) / 2 * (1 + x), (h - 1) / 2 * (1 + y)
    image = Image.new("1", (w, h))
    ImageDraw.Draw(image).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=1)
    inside = np.array(image)
    inside[h // 2, w // 2] = True  # the polygon of a tiny silhouette may hold no pixel
    return inside
