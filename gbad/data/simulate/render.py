"""Optical depth: the sum of the attenuation along each ray."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gbad.data.simulate.geometry import Layer, Pose
from gbad.data.simulate.materials import LINEAR_ATTENUATION
from gbad.data.simulate.types import Depth, Field

SUPERSAMPLING = 2
_MOST_COPIES = 5


def bounds(layers: Sequence[Layer], pose: Pose) -> tuple[int, int, int, int]:
    """Pixels that `layers` can touch: x0, y0, x1, y1, without the upper limits."""
    points = np.concatenate([part.points for layer in layers for part in layer.parts]) @ pose.matrix.T
    widest = max(part.width for layer in layers for part in layer.parts)
    thickest = max(layer.thickness for layer in layers)
    margin = 0.5 * widest * float(np.abs(pose.matrix).max()) + 0.5 * np.abs(pose.depth) * thickest
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    x0, y0 = np.floor(low + pose.offset).astype(int) - 1
    x1, y1 = np.ceil(high + pose.offset).astype(int) + 2
    return int(x0), int(y0), int(x1), int(y1)


def render(
    layers: Sequence[Layer],
    pose: Pose,
    depth: Depth,
    textures: dict[str, Field] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> None:
    """Add layers to the optical depth of a scene, in place.

    The optical depth of a ray at one energy is ``sum_m mu_m * t_m`` over all materials m, with linear attenuation
    coefficient mu_m (1/cm) and path length t_m (cm). Since it is a sum, the order of things along the ray has no
    effect, and one map for each energy is enough.

    Parameters
    ----------
    layers : sequence of Layer
        Layers to add, in cm.
    pose : Pose
        From cm to pixels of the scene.
    depth : ndarray of shape (2, height, width), float32
        Optical depth at the low and the high energy; changed.
    textures : dict of str to ndarray of shape (height, width), optional
        Noise fields around 1 by which a textured layer's thickness is multiplied.
    origin : tuple of int
        Pixel of the scene that ``depth[:, 0, 0]`` covers.
    """
    s = SUPERSAMPLING
    _, height, width = depth.shape
    matrix = pose.matrix.T * s
    scale = float(np.sqrt(abs(np.linalg.det(pose.matrix)) * pose.stretch)) * s
    for layer in layers:
        points = np.concatenate([part.points for part in layer.parts]) @ matrix + (pose.offset - origin) * s
        ends = np.cumsum([len(part.points) for part in layer.parts]).tolist()
        thickest = max(part.width for part in layer.parts) * scale / 2
        shift = pose.depth * layer.thickness * s
        low = (points.min(axis=0) - thickest - np.abs(shift) / 2) / s
        high = (points.max(axis=0) + thickest + np.abs(shift) / 2) / s
        x0, y0 = max(0, int(np.floor(low[0]))), max(0, int(np.floor(low[1])))
        x1, y1 = min(width, int(np.ceil(high[0])) + 1), min(height, int(np.ceil(high[1])) + 1)
        if x0 >= x1 or y0 >= y1:
            continue
        points -= (x0 * s, y0 * s)
        # A tilted slab is the flat shape smeared from its front to its back face: a few shifted copies.
        copies = int(min(_MOST_COPIES, 1 + np.hypot(*shift) / s))
        total: Field | None = None
        for copy in range(copies):
            moved = points if copies == 1 else points + shift * ((copy + 0.5) / copies - 0.5)
            image = Image.new("L", ((x1 - x0) * s, (y1 - y0) * s))
            draw = ImageDraw.Draw(image)
            start = 0
            for part, stop in zip(layer.parts, ends, strict=True):
                flat = moved[start:stop].ravel().tolist()
                start = stop
                if part.width == 0:
                    draw.polygon(flat, fill=int(255 * part.value + 0.5))
                else:
                    stroke = part.width * scale
                    share = min(1.0, stroke)  # a wire thinner than a pixel is drawn paler instead
                    draw.line(flat, fill=int(255 * part.value * share + 0.5), width=max(1, round(stroke)))
            patch = np.asarray(image.reduce(s)).astype(np.float32)
            total = patch if total is None else total + patch
        assert total is not None
        if layer.texture and textures is not None:
            total *= textures[layer.texture][y0:y1, x0:x1]
        path = layer.thickness * pose.stretch / (255.0 * copies)
        for k, mu in enumerate(LINEAR_ATTENUATION[layer.material]):
            depth[k, y0:y1, x0:x1] += total * np.float32(mu * path)
