"""Noise fields: soft things look like cloth, loose food like grains."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gbad.data.simulate.types import Field, Rng


def textures(rng: Rng, width: int, height: int) -> dict[str, Field]:
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
        ``cloth`` and ``cloth2`` (broad variation with wrinkles), ``grain``, ``grain2`` and ``grain3`` (lumps, from
        coarse to fine), ``soft`` (slow variation).
    """
    longer = max(width, height)
    strength = rng.uniform(0.45, 1.0)
    wrinkles = [_noise(rng, width, height, longer / rng.uniform(5, 16), rng.uniform(0.25, 4.0)) for _ in range(2)]
    broad = _noise(rng, width, height, longer / rng.uniform(25, 60))
    fine = _noise(rng, width, height, longer / rng.uniform(1.8, 3.0), rng.uniform(0.3, 3.0))
    lumps = _noise(rng, width, height, longer / rng.uniform(2.5, 6))
    slow, little, edge = 0.4 * strength * broad, 0.22 * strength * fine, 0.84 * strength
    level = 1 + 0.21 * strength
    fields = {
        "cloth": slow + little + level - edge * np.abs(wrinkles[0]),
        "cloth2": slow[::-1] + little[::-1] + level - edge * np.abs(wrinkles[1]),
        "grain": 1 + 0.9 * lumps + 0.2 * broad,
        "grain2": 1 + 0.7 * fine[:, ::-1] + 0.5 * broad,
        "grain3": 1 + 0.45 * fine,
        "soft": 1 + 0.3 * broad[:, ::-1],
    }
    return {name: np.maximum(field, np.float32(0.05), out=field) for name, field in fields.items()}


def _noise(rng: Rng, width: int, height: int, cells: float, stretch: float = 1.0) -> Field:
    """Smooth noise in [-1, 1] with about `cells` cells along the longer side."""
    longer = max(width, height)
    columns = max(3, int(cells * width / longer * stretch**0.5))
    rows = max(3, int(cells * height / longer / stretch**0.5))
    grid = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image) * np.float32(1 / 127.5) - np.float32(1)
