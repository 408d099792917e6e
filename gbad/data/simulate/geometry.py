"""Flat shapes in centimetres, layers of material, and their pose in space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from gbad.data.simulate.types import Points, Rng


@dataclass(frozen=True)
class Part:
    """A filled polygon, or a stroke along a polyline.

    Parameters
    ----------
    points : ndarray of shape (n, 2), float
        x to the right and y down, in cm.
    value : float
        Thickness as a share of the thickness of the layer, in [0, 1]. A later part of a layer replaces earlier parts
        under it, so 0 cuts a hole.
    width : float
        0 fills the polygon; more than 0 draws the polyline with this width in cm.
    """

    points: Points
    value: float = 1.0
    width: float = 0.0


@dataclass(frozen=True)
class Layer:
    """Parts of one material and one thickness.

    Parameters
    ----------
    material : str
        A name in `gbad.data.simulate.materials.MATERIALS`.
    thickness : float
        Path length in cm where a part's value is 1 and the object lies flat.
    parts : list of Part
        Drawn in order.
    texture : str
        Name of a noise field that modulates the thickness; empty for none.
    """

    material: str
    thickness: float
    parts: list[Part]
    texture: str = ""


@dataclass(frozen=True)
class Pose:
    """An affine view of a flat object that may be tilted: ``x -> matrix @ x + offset``.

    Parameters
    ----------
    matrix : ndarray of shape (2, 2)
        Rotation, foreshortening and scale.
    offset : ndarray of shape (2,)
        Position of the object's origin.
    depth : ndarray of shape (2,)
        Shift between the front and the back face per cm of thickness; zero for an object that lies flat.
    stretch : float
        Path length through the slab over its thickness: 1 / cos(tilt).
    """

    matrix: Points
    offset: Points
    depth: Points
    stretch: float = 1.0

    def then(self, outer: Pose) -> Pose:
        """Combine two poses: first this pose, then `outer`."""
        return Pose(
            outer.matrix @ self.matrix,
            outer.matrix @ self.offset + outer.offset,
            outer.matrix @ self.depth,
            self.stretch * outer.stretch,
        )


def pose(
    at: tuple[float, float] = (0.0, 0.0), angle: float = 0.0, tilt: float = 0.0, axis: float = 0.0, scale: float = 1.0
) -> Pose:
    """Turn, tilt and move an object.

    Parameters
    ----------
    at : tuple of float
        Position of the object's origin.
    angle : float
        Rotation in the image plane, radians.
    tilt : float
        Angle between the object's plane and the image plane, radians, below pi / 2. It shortens the object by cos(tilt)
        across the axis and lengthens the path of a ray by 1 / cos(tilt), so mass is conserved.
    axis : float
        Direction in the object's plane about which it is tilted, radians.
    scale : float
        Magnification in the plane.
    """
    ca, sa = np.cos(angle), np.sin(angle)
    cx, sx = np.cos(axis), np.sin(axis)
    shorten = float(np.cos(tilt))
    rotation = np.array([[ca, -sa], [sa, ca]])
    across = np.array([-sx, cx])
    squeeze = np.eye(2) - (1.0 - shorten) * np.outer(across, across)
    return Pose(
        scale * rotation @ squeeze,
        np.asarray(at, dtype=float),
        scale * np.sin(tilt) * (rotation @ across),
        1.0 / shorten,
    )


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Corners of an upright rectangle, shape (4, 2)."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


@cache
def _circle(n: int) -> Points:
    """Points on the unit circle, shape (n, 2)."""
    t = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def ellipse(cx: float, cy: float, rx: float, ry: float | None = None, n: int = 20, turn: float = 0.0) -> Points:
    """Points on an ellipse whose first axis is turned by `turn` radians, shape (n, 2)."""
    points = _circle(n) * (rx, rx if ry is None else ry)
    return (turned(points, turn) if turn else points) + (cx, cy)


def arc(cx: float, cy: float, r: float, start: float, stop: float, n: int = 10) -> Points:
    """Points on a circle from angle `start` to `stop` (radians), shape (n, 2)."""
    t = np.linspace(start, stop, n)
    return np.stack([cx + r * np.cos(t), cy + r * np.sin(t)], axis=1)


@cache
def _corners(n: int) -> tuple[Points, Points]:
    """Four quarters of the unit circle, shape (4 * n, 2), and the signs of the corner that each point belongs to."""
    quarter = arc(0.0, 0.0, 1.0, -np.pi / 2, 0.0, n)
    return (
        np.concatenate([turned(quarter, k * np.pi / 2) for k in range(4)]),
        np.repeat(np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]]), n, axis=0),
    )


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float, n: int = 4) -> Points:
    """Outline of a rectangle with round corners, shape (4 * n, 2)."""
    half = (abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    r = min(radius, *half)
    arcs, signs = _corners(n)
    return arcs * r + signs * (half[0] - r, half[1] - r) + ((x0 + x1) / 2, (y0 + y1) / 2)


def taper(start: tuple[float, float], stop: tuple[float, float], w0: float, w1: float) -> Points:
    """Draw a bar from `start` to `stop` that is `w0` wide at its start and `w1` at its end, shape (4, 2)."""
    a, b = np.asarray(start, dtype=float), np.asarray(stop, dtype=float)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    side = np.array([-along[1], along[0]])
    return np.stack([a + side * w0 / 2, b + side * w1 / 2, b - side * w1 / 2, a - side * w0 / 2])


def smooth(points: Points, closed: bool = False, n: int = 5) -> Points:
    """Draw a Catmull-Rom curve through `points` with `n` points a segment."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = (np.arange(n) / n)[None, :, None]
    a, b, c, d = (p[k : len(p) - 3 + k, None, :] for k in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def blob(rng: Rng, rx: float, ry: float, n: int = 9, roughness: float = 0.18) -> Points:
    """Draw a random smooth outline around the origin."""
    t = (np.arange(n) + rng.uniform(-0.25, 0.25, n)) * 2 * np.pi / n
    r = 1 + roughness * rng.uniform(-1.0, 1.0, n)
    return smooth(np.stack([rx * r * np.cos(t), ry * r * np.sin(t)], axis=1), closed=True, n=4)


def turned(points: Points, angle: float, about: tuple[float, float] = (0.0, 0.0)) -> Points:
    """`points` rotated by `angle` radians about a point."""
    c, s = np.cos(angle), np.sin(angle)
    rotated: Points = (points - about) @ np.array([[c, s], [-s, c]]) + about
    return rotated


def shifted(parts: list[Part], x: float, y: float) -> list[Part]:
    """Parts moved by (x, y) cm."""
    return [Part(part.points + [x, y], part.value, part.width) for part in parts]


def rod(x0: float, x1: float, y: float, radius: float, steps: int = 4, value: float = 1.0) -> list[Part]:
    """Draw a solid round rod along x: nested strips whose values follow the chord, ``sqrt(1 - (d / radius)^2)``."""
    parts = []
    for k in range(steps):
        half = radius * np.sin(0.5 * np.pi * (1 - k / steps))  # finer strips at the rim, where the chord changes fast
        inner = radius * np.sin(0.5 * np.pi * (1 - (k + 1) / steps))
        chord = float(np.sqrt(max(0.0, 1 - ((half + inner) / 2 / radius) ** 2)))
        parts.append(Part(rectangle(x0, y - half, x1, y + half), value * chord))
    return parts


def dome(outline: Points, steps: int = 4, value: float = 1.0) -> list[Part]:
    """Draw a body that is thickest in the middle, like an ellipsoid over `outline` (which lies around its mean)."""
    centre = outline.mean(axis=0)
    shares = np.sin(0.5 * np.pi * (1 - np.arange(steps + 1) / steps))
    middles = (shares[:-1] + shares[1:]) / 2
    return [
        Part(centre + (outline - centre) * share, value * float(np.sqrt(1 - middle**2)))
        for share, middle in zip(shares[:-1], middles, strict=True)
    ]


def centred(layers: list[Layer]) -> list[Layer]:
    """Move the middle of an object's bounding box to the origin."""
    points = np.concatenate([part.points for layer in layers for part in layer.parts])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return moved(layers, -middle)


def moved(
    layers: list[Layer],
    offset: tuple[float, float] | Points,
    scale: tuple[float, float] = (1.0, 1.0),
    thickness: float = 1.0,
) -> list[Layer]:
    """Layers scaled, then moved by `offset`, in cm, with `thickness` times their thickness."""
    return [
        Layer(
            layer.material,
            thickness * layer.thickness,
            [Part(part.points * scale + offset, part.value, part.width) for part in layer.parts],
            layer.texture,
        )
        for layer in layers
    ]
