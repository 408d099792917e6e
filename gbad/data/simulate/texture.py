"""Noise fields that make soft things look like cloth, and loose food like grains."""

from __future__ import annotations

import numpy as np
from PIL import Image


def textures(rng: np.random.Generator, width: int, height: int) -> dict[str, np.ndarray]:
    """Noise fields of one image, each around 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    width, height : int
        Size of the image in pixels.

    Returns
    -------
    dict of str to ndarray of shape (height, width), float32
        ``cloth`` and ``cloth2`` (broad variation with wrinkles), ``grain`` and ``grain2`` (lumps).
    """
    longer = max(width, height)
    strength = rng.uniform(0.45, 1.0)
    wrinkles = [_noise(rng, width, height, longer / rng.uniform(5, 16), rng.uniform(0.25, 4.0)) for _ in range(2)]
    broad = _noise(rng, width, height, longer / rng.uniform(25, 60))
    fine = _noise(rng, width, height, longer / rng.uniform(1.8, 3.0), rng.uniform(0.3, 3.0))
    lumps = _noise(rng, width, height, longer / rng.uniform(2.5, 6))
    fields = {
        "cloth": 1 + strength * (0.45 * broad + 0.5 * (0.5 - 2 * np.abs(wrinkles[0])) + 0.25 * fine),
        "cloth2": 1 + strength * (0.45 * broad[::-1] + 0.5 * (0.5 - 2 * np.abs(wrinkles[1])) + 0.3 * fine[::-1]),
        "grain": 1 + 0.9 * lumps + 0.2 * broad,
        "grain2": 1 + 0.7 * fine[:, ::-1] + 0.5 * broad,
    }
    return {name: np.clip(field, 0.05, 3.0) for name, field in fields.items()}


def _noise(rng: np.random.Generator, width: int, height: int, cells: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise in [-1, 1] with about `cells` cells along the longer side."""
    longer = max(width, height)
    columns = max(3, int(cells * width / longer * stretch**0.5))
    rows = max(3, int(cells * height / longer / stretch**0.5))
    grid = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).astype(np.float32) / np.float32(127.5) - 1
