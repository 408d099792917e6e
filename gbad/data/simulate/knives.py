"""Shapes of knives."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, ellipse, moved, rounded, smooth, taper, turned
from gbad.data.simulate.types import Points, Rng


def kitchen_knife(rng: Rng) -> list[Layer]:
    """Draw a chef's, bread, carving or paring knife."""
    length = rng.uniform(12, 25)
    width = length * rng.uniform(0.14, 0.26)
    belly = rng.uniform(0.6, 0.9)
    drop = rng.uniform(-0.1, 0.7) * width
    outline = np.array(
        [
            [0, 0],
            [length * 0.6, 0],
            [length * 0.9, 0.6 * drop],
            [length, drop],
            [length * 0.92, drop + (width - drop) * 0.5],
            [length * belly, width * 0.95],
            [length * 0.3, width],
            [0, width],
        ]
    )
    blade = Layer(
        str(rng.choice(["stainless", "steel"])), rng.uniform(0.30, 0.60), _blade(outline, rng.uniform(0.4, 1.0))
    )
    handle = _handle(rng, rng.uniform(9, 13), rng.uniform(1.9, 2.8))
    return [blade, *moved(handle, (0.0, 0.9))]


def cleaver(rng: Rng) -> list[Layer]:
    """Draw a cleaver or a vegetable knife with a broad blade."""
    length, width = rng.uniform(16, 23), rng.uniform(6, 10)
    cut = rng.uniform(0.0, 0.25)
    outline = np.array([[0, 0], [length, 0], [length * (1 - cut * 0.3), width], [0.3, width], [0, width * 0.4]])
    parts = _blade(outline, rng.uniform(0.3, 0.8))
    if rng.random() < 0.4:
        parts.append(Part(ellipse(length - 1.5, 1.5, 0.6, n=10), 0.0))
    handle = _handle(rng, rng.uniform(10, 13), rng.uniform(2.2, 3.0))
    return [Layer("stainless", rng.uniform(0.30, 0.55), parts), *handle]


def dagger(rng: Rng) -> list[Layer]:
    """Draw a double-edged or hunting knife with a cross-guard."""
    length, width = rng.uniform(13, 21), rng.uniform(2.6, 4.2)
    half = width / 2
    outline = np.array([[0, -half * 0.8], [length * 0.6, -half], [length, 0], [length * 0.65, half], [0, half * 0.8]])
    blade = [Part(outline, 0.55), Part(outline * [0.94, 0.5], 1.0)]
    if rng.random() < 0.4:  # saw teeth
        blade += [
            Part(taper((x, -half), (x + 0.3, -half * 0.5), 0.3, 0.1), 0.0) for x in np.arange(1, length * 0.5, 0.9)
        ]
    guard = rng.uniform(1.0, 1.9) * width
    fittings = [Part(rounded(-0.7, -guard / 2, 0.2, guard / 2, 0.3), 1.0)]
    handle = _handle(rng, rng.uniform(9, 12), width * rng.uniform(0.8, 1.0))
    fittings.append(Part(rounded(-12.2, -half * 0.8, -11.0, half * 0.8, 0.4), 0.9))
    return [Layer("steel", rng.uniform(0.4, 0.7), blade), *handle, Layer("steel", rng.uniform(0.5, 0.9), fittings)]


def folding_knife(rng: Rng) -> list[Layer]:
    """Draw a folding knife, open or half open."""
    length = rng.uniform(8, 13)
    width = rng.uniform(1.9, 3.0)
    opening = rng.choice([0.0, rng.uniform(0.2, 2.2)], p=[0.6, 0.4])
    half = width / 2
    outline = np.array(
        [
            [0, -half * 0.8],
            [length * 0.55, -half * 0.9],
            [length * 0.88, 0.1 * half],
            [length * 0.5, half],
            [0, half * 0.8],
        ]
    )
    handle = rounded(-length * 1.12, -half, 0.5, half, half * 0.8)
    holes = (
        [Part(ellipse(x * length, 0, half * 0.4, n=8), 0.1) for x in (-0.3, -0.55, -0.8)] if rng.random() < 0.3 else []
    )
    pins = [Part(ellipse(x, 0, 0.3, n=8)) for x in (0.0, -0.6 * length, -length)]
    layers = [
        Layer(
            "stainless",
            rng.uniform(0.35, 0.6),
            [Part(turned(p.points, -opening), p.value) for p in _blade(outline, 0.7)],
        ),
        Layer(str(rng.choice(["stainless", "steel"])), rng.uniform(0.2, 0.5), [Part(handle, 0.7), *holes, *pins]),
    ]
    if rng.random() < 0.7:
        layers.append(Layer(str(rng.choice(["wood", "abs", "nylon"])), rng.uniform(0.5, 1.0), [Part(handle)]))
    return layers


def craft_knife(rng: Rng) -> list[Layer]:
    """Draw a cutter with a plastic or metal body and a sliding blade."""
    length, width = rng.uniform(13, 17), rng.uniform(1.8, 3.2)
    out = rng.uniform(1.5, 5.0)
    half = width / 2
    body = rounded(-length, -half, 0, half, half * 0.7)
    strip = np.array(
        [
            [-length * 0.6, -0.28 * width],
            [out, -0.28 * width],
            [out - 0.45 * width, 0.28 * width],
            [-length * 0.6, 0.28 * width],
        ]
    )
    lines = [
        Part(taper((x, -0.28 * width), (x - 0.35 * width, 0.28 * width), 0.12, 0.12), 0.5)
        for x in np.arange(-length * 0.5, out, 0.9)
    ]
    slider = [
        Part(rounded(-length * 0.45, -half * 0.6, -length * 0.3, half * 0.6, 0.3), 1.0),
        Part(ellipse(-length * 0.9, 0, 0.35, n=8)),
    ]
    return [
        Layer("stainless", rng.uniform(0.08, 0.16), [Part(strip), *lines]),
        Layer("abs", rng.uniform(1.0, 1.6), [Part(body), Part(body * [0.95, 0.6], 0.5)]),
        Layer("steel", rng.uniform(0.08, 0.22), [Part(body * [0.97, 0.7])]),
        Layer("steel", rng.uniform(0.2, 0.5), slider),
    ]


def _handle(rng: Rng, length: float, width: float) -> list[Layer]:
    """Draw a knife handle from x = -length to 0."""
    bulge = rng.uniform(0.85, 1.15)
    half = width / 2
    outline = np.array(
        [
            [0, -half],
            [-0.5 * length, -half * bulge],
            [-length, -half * 1.1],
            [-length * 1.02, half * 1.2],
            [-0.55 * length, half * 0.85],
            [-0.1 * length, half * 1.05],
            [0, half],
        ]
    )
    outline = smooth(outline, closed=True, n=3)
    if rng.random() < 0.3:  # hollow steel
        return [Layer("stainless", rng.uniform(0.12, 0.3), [Part(outline), Part(outline * [0.96, 0.7], 0.7)])]
    material = str(rng.choice(["wood", "abs", "pvc", "nylon"]))
    layers = [Layer(material, rng.uniform(1.0, 2.0), [Part(outline)])]
    tang = [Part(taper((0, 0), (-length * rng.uniform(0.6, 0.97), 0), width * 0.7, width * rng.uniform(0.3, 0.7)), 0.5)]
    if rng.random() < 0.6:
        tang += [Part(ellipse(x * length, 0, 0.28, n=8)) for x in (-0.2, -0.5, -0.8)]
    return [*layers, Layer("stainless", rng.uniform(0.25, 0.5), tang)]


def _blade(outline: Points, edge: float, value: float = 1.0) -> list[Part]:
    """Draw a blade whose spine is at its smallest y, ground thinner towards the edge."""
    top = outline[:, 1].min()
    return [
        Part(outline, 0.6 * value),
        *(
            Part(np.stack([outline[:, 0], top + (outline[:, 1] - top) * s], axis=1), v * value)
            for s, v in ((1 - 0.3 * edge, 0.8), (1 - 0.75 * edge, 1.0))
        ),
    ]
