"""Tools and hardware that are no threats."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, arc, ellipse, rectangle, rod, rounded, smooth, taper, turned
from gbad.data.simulate.types import Rng


def screwdriver(rng: Rng) -> list[Layer]:
    """Draw a screwdriver with a plastic handle."""
    shaft, handle = rng.uniform(6, 16), rng.uniform(7, 11)
    radius = rng.uniform(0.25, 0.45)
    tip = Part(taper((shaft - 1.2, 0), (shaft, 0), 2 * radius, rng.uniform(0.3, 2.6) * radius), 0.8)
    grip = str(rng.choice(["abs", "pvc", "polycarbonate"]))
    return [
        Layer("steel", 2 * radius, [*rod(-handle * 0.6, shaft - 1, 0, radius, 2), tip]),
        Layer(
            grip,
            rng.uniform(2.0, 3.2),
            [Part(rounded(-handle, -1.4, -handle * 0.25, 1.4, 0.9), 0.8), Part(rounded(-handle, -0.8, 0, 0.8, 0.5))],
        ),
    ]


def metal_bars(rng: Rng) -> list[Layer]:
    """Draw a few flat or round bars, rulers or files."""
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        length, width = rng.uniform(12, 32), rng.uniform(0.8, 2.8)
        y, turn = rng.uniform(-2.5, 2.5), rng.normal(0, 0.12)
        parts.append(
            Part(
                turned(taper((-length / 2, y), (length / 2, y), width, width * rng.uniform(0.7, 1)), turn),
                rng.uniform(0.5, 1),
            )
        )
        if rng.random() < 0.4:
            parts.append(Part(turned(ellipse(length * 0.45, y, width * 0.25, n=8), turn), 0.0))
    return [
        Layer(str(rng.choice(["steel", "stainless", "aluminium"], p=[0.5, 0.35, 0.15])), rng.uniform(0.35, 0.8), parts)
    ]


def sockets(rng: Rng) -> list[Layer]:
    """Draw sockets of a tool box in a row, with a ratchet bar."""
    count = int(rng.integers(5, 12))
    parts = []
    for k in range(count):
        r = 0.6 + 0.9 * k / count
        x = (k - count / 2) * 2.6
        parts += [Part(ellipse(x, 0, r, n=12), 0.9), Part(ellipse(x, 0, r * 0.55, n=6), 0.35)]
    bar = rod(-9, 9, 4.0, 0.6, 2, 0.8)
    return [Layer("steel", rng.uniform(0.5, 1.0), [*parts, *bar, Part(rounded(-10, 2.8, -7.5, 5.2, 0.8), 0.9)])]


def torch(rng: Rng) -> list[Layer]:
    """Draw a torch with its batteries."""
    length, radius = rng.uniform(10, 22), rng.uniform(1.1, 1.9)
    count = max(1, int(length * 0.65 / 5.2))
    cells = [
        part
        for k in range(count)
        for part in rod(-length / 2 + 0.6 + 5.2 * k, -length / 2 + 5.5 + 5.2 * k, 0, radius * 0.8, 3)
    ]
    shell = [
        Part(rectangle(-length / 2, -radius, length * 0.25, radius), 0.9),
        Part(
            np.array(
                [
                    [length * 0.25, -radius],
                    [length * 0.38, -radius * 1.5],
                    [length / 2, -radius * 1.5],
                    [length / 2, radius * 1.5],
                    [length * 0.38, radius * 1.5],
                    [length * 0.25, radius],
                ]
            ),
            1.0,
        ),
    ]
    return [Layer("aluminium", rng.uniform(0.3, 0.8), shell), Layer("cell", 2 * radius * 0.8, cells)]


def power_drill(rng: Rng) -> list[Layer]:
    """Draw a cordless screwdriver or drill: the body of a gun, the inside of a machine."""
    length, grip = rng.uniform(14, 19), rng.uniform(9, 12)
    body = [
        Part(rounded(-length / 2, -2.8, length * 0.2, 2.4, 1.4)),
        Part(np.array([[-4, 2], [0, 2], [0.6, grip], [-4.6, grip]]), 0.9),
    ]
    battery = [Part(rounded(-6.5, grip, 2.5, grip + 3.6, 0.6))]
    motor = [
        Part(rounded(-length * 0.42, -1.9, -length * 0.1, 1.6, 0.4), 0.8),
        Part(rounded(-length * 0.08, -1.6, length * 0.16, 1.4, 0.4), 1.0),
    ]
    chuck = [
        Part(taper((length * 0.2, -0.2), (length * 0.42, -0.2), 3.2, 1.8), 0.9),
        Part(rectangle(length * 0.4, -0.5, length * 0.6, 0.1), 0.5),
    ]
    return [
        Layer("abs", 1.0, body),
        Layer("cell", rng.uniform(0.8, 1.8), battery),
        Layer("steel", rng.uniform(0.5, 1.0), [*motor, *chuck]),
    ]


def padlock(rng: Rng) -> list[Layer]:
    """Draw a padlock with its shackle, sometimes with a chain."""
    size = rng.uniform(3, 5)
    layers = [
        Layer(
            "brass",
            rng.uniform(0.5, 1.0),
            [Part(rounded(-size / 2, 0, size / 2, size * 0.85, 0.4)), Part(ellipse(0, size * 0.6, 0.4, n=8), 0.6)],
        ),
        Layer(
            "steel",
            0.6,
            [
                Part(
                    np.concatenate([arc(0, -0.3 * size, 0.33 * size, np.pi, 2 * np.pi), [[0.33 * size, 0.3]]]), 1.0, 0.7
                )
            ],
        ),
    ]
    if rng.random() < 0.5:
        path = smooth(np.cumsum(rng.normal(0, 3.5, (6, 2)), axis=0), n=6)
        layers.append(
            Layer(
                "steel", 0.7, [Part(ellipse(x, y, 0.9, 0.6, n=8, turn=float(k)), 0.7) for k, (x, y) in enumerate(path)]
            )
        )
    return layers


def bracket(rng: Rng) -> list[Layer]:
    """Draw an angle iron or an L-shaped pipe."""
    a, b, width = rng.uniform(10, 18), rng.uniform(6, 11), rng.uniform(1.6, 3.4)
    parts = [
        Part(rectangle(-a / 2, 0, a / 2, width)),
        Part(rectangle(-a / 2, 0, -a / 2 + width, b), rng.uniform(0.7, 1.0)),
    ]
    parts += [Part(ellipse(x, width / 2, 0.35, n=8), 0.0) for x in (-a * 0.2, a * 0.1, a * 0.4)]
    return [Layer(str(rng.choice(["steel", "zinc", "aluminium"])), rng.uniform(0.25, 0.9), parts)]


def hand_weight(rng: Rng) -> list[Layer]:
    """Draw a small dumb-bell: two heads of cast iron and a grip between them."""
    grip, head, height = rng.uniform(8, 12), rng.uniform(2.5, 5.0), rng.uniform(3.5, 6.0)
    heads = [
        Part(rounded(x - head / 2, -height / 2, x + head / 2, height / 2, rng.uniform(0.2, 1.2)))
        for x in (-(grip + head) / 2, (grip + head) / 2)
    ]
    layers = [Layer("steel", rng.uniform(0.4, 1.0), [*heads, *rod(-grip / 2, grip / 2, 0, 1.2, 3, 0.6)])]
    if rng.random() < 0.4:
        layers.append(Layer("rubber", 0.6, [Part(p.points * [1.04, 1.15]) for p in heads]))
    return layers


def door_lock(rng: Rng) -> list[Layer]:
    """Draw a mortise lock: a flat case with bolts and springs inside, and the long plate at its edge."""
    width, height, plate = rng.uniform(5, 9), rng.uniform(8, 14), rng.uniform(1.4, 2.2)
    case = rounded(-width / 2, -height / 2, width / 2, height / 2, 0.4)
    inside = [
        Part(rectangle(-width * 0.1, y, width * 0.62, y + rng.uniform(1.2, 2.2))) for y in (-height / 3, height / 8)
    ]
    lever = smooth(rng.uniform(-0.4, 0.4, (4, 2)) * [width, height], n=6)
    hole = ellipse(-width * 0.15, height * 0.25, 0.9, n=12)
    return [
        Layer("steel", rng.uniform(0.15, 0.35), [Part(case), Part(hole, 0.0)]),
        Layer("steel", rng.uniform(0.3, 0.6), [*inside, Part(lever, 0.4, 0.8)]),
        Layer(
            "brass",
            rng.uniform(0.3, 1.0),
            [Part(rectangle(width / 2, -height * 0.75, width / 2 + plate / 3, height * 0.75))],
        ),
    ]
