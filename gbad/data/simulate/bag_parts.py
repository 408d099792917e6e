"""What bags have in common: inner space, frames, zips, wheels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gbad.data.simulate.geometry import (
    Layer,
    Part,
    dome,
    ellipse,
    rectangle,
    rounded,
    taper,
    turned,
)

Rng = np.random.Generator


@dataclass(frozen=True)
class Bag:
    """An empty bag around the origin.

    Parameters
    ----------
    layers : list of Layer
        Shell, frame and fittings, in cm.
    width, height : float
        The inner space: a rectangle around the origin, in cm.
    fill : tuple of float
        Least and greatest number of things for each 100 cm^2 of inner space.
    soft : float
        How often it is lined with clothes, in [0, 1].
    """

    layers: list[Layer]
    width: float
    height: float
    fill: tuple[float, float]
    soft: float


def frames_at(rng: Rng, w: float, h: float, radius: float, count: int) -> list[np.ndarray]:
    """Draw outlines of the same case at different heights above the belt: oblique rays shift and magnify them."""
    shift, growth = rng.normal(0, 0.035, 2) * [w, h], rng.uniform(-0.05, 0.05)
    frames = []
    for k in range(count):
        share = k / max(1, count - 1)
        m = 1 + growth * share
        outline = rounded(-w / 2 * m, -h / 2 * m, w / 2 * m, h / 2 * m, radius, 5) + shift * share
        frames.append(np.concatenate([outline, outline[:2]]))
    return frames


def zip_pullers(rng: Rng, w: float, h: float, count: int) -> list[Layer]:
    """Draw sliders with pullers of metal or plastic, on the rim or where pockets are."""
    layers = []
    for _ in range(count):
        along, side = rng.uniform(-0.5, 0.5), int(rng.integers(6))
        x, y = [
            (along * w, -h / 2),
            (along * w, h / 2),
            (-w / 2, along * h),
            (w / 2, along * h),
            (along * w, h * 0.2),
            (along * w, -h * 0.2),
        ][side]
        length, broad = rng.uniform(1.4, 3.0), rng.uniform(0.25, 0.6)
        slider = taper((0, 0), (0.9, 0), 0.9, 0.6)
        tab = [Part(rounded(0.8, -broad, 0.8 + length, broad, 0.3), rng.uniform(0.5, 1.0))]
        if rng.random() < 0.5:
            tab.append(Part(rounded(1.2, -broad * 0.5, 0.5 + length, broad * 0.5, 0.2), 0.1))
        parts = [
            Part(turned(p.points, turn), p.value)
            for turn in [rng.uniform(0, 2 * np.pi)]
            for p in [Part(slider, 0.9), *tab]
        ]
        material = str(rng.choice(["zinc", "brass", "aluminium", "pvc"]))
        layers.append(Layer(material, rng.uniform(0.12, 0.35), [Part(p.points + [x, y], p.value) for p in parts]))
    return layers


def wheel(rng: Rng, x: float, y: float, r: float, outwards: float) -> list[Layer]:
    """Draw a castor: tyre, hub, axle, and its bracket with screws."""
    narrow = rng.uniform(0.35, 1.0)
    tyres = [ellipse(x + s * r * 0.55 * (1.2 - narrow), y + outwards * 0.4, r * narrow, r, n=16) for s in (-1, 1)]
    bracket = [
        Part(taper((x, y - outwards * 1.4 * r), (x, y + outwards * 0.4), rng.uniform(1.0, 1.8), 0.7), 0.5),
        Part(rectangle(x - r * 0.5, y + outwards * 0.25, x + r * 0.5, y + outwards * 0.6), 0.8),
        *[Part(ellipse(x + s * r * 0.7, y - outwards * 1.2 * r, 0.4, n=8), 1.0) for s in (-1, 1)],
    ]
    return [
        *[Layer("rubber", 1.3, dome(tyre, 3)) for tyre in tyres],
        Layer(
            "abs",
            1.2,
            [Part(rounded(x - r, y - 2 * r if outwards > 0 else y, x + r, y if outwards > 0 else y + 2 * r, 1.0))],
        ),
        Layer("steel", rng.uniform(0.12, 0.4), bracket),
    ]
