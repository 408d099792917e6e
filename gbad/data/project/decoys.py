"""Harmless things pasted into all pictures, so that neither a pasted edge nor the amount of metal tells anything."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gbad.data.simulate.decoys import any_decoy
from gbad.data.simulate.geometry import pose
from gbad.data.simulate.looks import LOOKS
from gbad.data.simulate.physics import WHITE_LEVEL, pseudo_colour, transmission
from gbad.data.simulate.render import bounds, render

_PIXELS_PER_CM = 5.0


def simulated_decoy(rng: np.random.Generator) -> np.ndarray:
    """Draw a simulated metal look-alike; darkness of shape (h, w, 3), uint8."""
    layers = any_decoy(rng)
    at = pose(tilt=float(min(abs(rng.normal(0, 0.4)), 1.2)), scale=_PIXELS_PER_CM)
    x0, y0, x1, y1 = bounds(layers, at)
    depth = np.zeros((2, y1 - y0, x1 - x0), dtype=np.float32)
    render(layers, at, depth, origin=(x0, y0))
    raw = np.clip(transmission(depth) * WHITE_LEVEL, 1, WHITE_LEVEL).astype(np.uint16)
    look = LOOKS[int(rng.integers(len(LOOKS)))]
    shown = pseudo_colour(raw, look).astype(float)
    darkness = 1 - np.clip(shown / np.array(look.air, dtype=float), 0, 1)
    darkness[(depth < 0.01).all(axis=0)] = 0
    return (255 * darkness + 0.5).astype(np.uint8)


def piece_of_bag(bag: np.ndarray, shape: np.ndarray, rng: np.random.Generator, tries: int = 12) -> np.ndarray:
    """Cut a dark or bluish piece out of a threat-free bag, in the shape of a threat and about as dark.

    Parameters
    ----------
    bag : ndarray of shape (height, width, 3), uint8
        Of the same side as the picture that gets the piece.
    shape : ndarray of shape (h, w, 3), uint8
        Darkness of a cut-out of the same side; its silhouette is the shape.
    rng : numpy.random.Generator
    tries : int
        Places that are compared.

    Returns
    -------
    ndarray of shape (h', w', 3), uint8
        Darkness.
    """
    height, width = bag.shape[:2]
    factor = min(1.0, height / shape.shape[0], width / shape.shape[1])
    size = (max(1, int(shape.shape[1] * factor)), max(1, int(shape.shape[0] * factor)))
    pattern = np.asarray(Image.fromarray(shape).resize(size))
    inside = pattern.max(axis=2) > 8
    h, w = inside.shape
    best, best_score = bag[:h, :w], -np.inf
    for _ in range(tries):
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        window = bag[y : y + h, x : x + w]
        red, _, blue = window[inside].mean(axis=0) if inside.any() else (255.0, 255.0, 255.0)
        score = 0.6 * (blue - red) - window[inside].mean() if inside.any() else 0.0
        if score > best_score:
            best, best_score = window, score
    darkness = (255.0 - best) * inside[..., None]
    # As much of each colour as the threat takes away: else the colours of the whole picture would tell them apart.
    factor_of = np.clip(pattern.sum(axis=(0, 1)) / np.maximum(darkness.sum(axis=(0, 1)), 1.0), 0.3, 4.0)
    return np.clip(darkness * factor_of, 0, 255).astype(np.uint8)
