"""Household things: kitchen, bathroom, desk, keys, umbrellas."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import (
    Layer,
    Part,
    arc,
    ellipse,
    rectangle,
    rod,
    rounded,
    shifted,
    smooth,
    taper,
    turned,
)
from gbad.data.simulate.types import Rng


def cutlery(rng: Rng) -> list[Layer]:
    """Draw a spoon and a fork."""
    layers = []
    length = rng.uniform(13, 21)
    for k in range(int(rng.integers(1, 4))):
        y, turn = 3.0 * (k - 0.5), rng.normal(0, 0.15)
        parts = [Part(taper((-length / 2, y), (length * 0.28, y), 1.6, 0.6))]
        if rng.random() < 0.5:
            parts.append(Part(ellipse(length * 0.37, y, length * 0.12, 2.0), 0.8))
        else:
            parts.append(Part(rounded(length * 0.26, y - 1.1, length * 0.5, y + 1.1, 0.9), 0.9))
            parts += [
                Part(rectangle(length * 0.36, y - s - 0.12, length * 0.51, y - s + 0.12), 0.0)
                for s in (-0.55, 0.0, 0.55)
            ]
        layers.append(
            Layer("stainless", rng.uniform(0.14, 0.3), [Part(turned(p.points, turn), p.value) for p in parts])
        )
    return layers


def folded_umbrella(rng: Rng) -> list[Layer]:
    """Draw a folded umbrella: a bundle of thin ribs that fan out a little, shaft and handle; its cloth hardly shows."""
    length, spread = rng.uniform(18, 32), rng.uniform(1.2, 2.6)
    ribs = []
    for y in np.linspace(-spread, spread, int(rng.integers(8, 17))):
        start, stop = -length / 2 + rng.uniform(0, 3), length / 2 - rng.uniform(0, 4)
        line = np.array([[start, y * rng.uniform(0.3, 1.1)], [(start + stop) / 2, 0.8 * y], [stop, y]])
        line[:, 1] += rng.normal(0, 0.25, 3)
        ribs.append(Part(line, rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.32)))
    shaft = Part(taper((-length / 2, 0), (length / 2, 0), 0.8, 0.7))
    return [
        Layer("steel", rng.uniform(0.2, 0.4), [shaft, *ribs]),
        Layer("polyester", 1.2, [Part(rounded(-length / 2, -spread - 0.8, length * 0.45, spread + 0.8, 1.0))], "cloth"),
        Layer("abs", 1.8, rod(length / 2 - 2, length / 2 + rng.uniform(2, 6), 0, 1.4, 3)),
    ]


def metal_sheet(rng: Rng) -> list[Layer]:
    """Draw a thin sheet of metal: a tin, a ring binder's plate, a tablet's cover, sometimes with a row of slots."""
    w, h = rng.uniform(6, 11), rng.uniform(8, 15)
    material, thickness = ("steel", 0.05) if rng.random() < 0.6 else ("aluminium", 0.3)
    outline = rounded(-w, -h, w, h, rng.uniform(0.1, 1.0))
    parts = [Part(outline), Part(outline * 0.97, rng.uniform(0.7, 0.95))]
    if rng.random() < 0.4:
        slots = np.arange(-0.85 * w, 0.8 * w, 1.3)
        parts += [Part(np.array([[x, -h * 0.93], [x + 0.8, -h * 0.93]]), 0.1, 0.3) for x in slots]
    return [Layer(material, thickness * rng.uniform(1, 3), parts, "soft")]


def hair_dryer(rng: Rng) -> list[Layer]:
    """Draw a hair dryer: gun-like, but of plastic, with a motor and a coil."""
    length, grip = rng.uniform(15, 21), rng.uniform(9, 13)
    coil = [Part(rectangle(x, -2.2, x + 0.25, 2.2), 0.7) for x in np.arange(-length * 0.1, length * 0.35, 0.8)]
    turn = rng.uniform(0.05, 0.35)
    handle = turned(rounded(-length * 0.35 - 1.6, 1.5, -length * 0.35 + 1.8, grip, 1.2), turn, (-length * 0.35, 1.0))
    shell = [
        Part(handle, 0.8),
        Part(rounded(-length / 2, -3.6, length / 2, 3.4, 2.5)),
        Part(rounded(-length / 2 + 0.5, -3.0, length / 2, 2.9, 2), 0.5),
    ]
    motor = [
        Part(rounded(-length * 0.36, -1.9, -length * 0.16, 1.9, 0.5)),
        Part(rectangle(-length * 0.4, -0.2, -length * 0.1, 0.2), 0.6),
    ]
    switch = [
        Part(turned(rounded(-length * 0.35 - 0.6, 4, -length * 0.35 + 0.8, 6.2, 0.2), turn, (-length * 0.35, 1.0)), 0.7)
    ]
    return [
        Layer("abs", 0.9, shell),
        Layer("steel", rng.uniform(0.5, 1.1), motor),
        Layer("copper", 0.12, coil),
        Layer("brass", 0.25, switch),
    ]


def key_ring(rng: Rng) -> list[Layer]:
    """Draw keys on a ring."""
    layers = [Layer("steel", 0.25, [Part(arc(0, 0, 1.4, 0, 2 * np.pi, 16), 1.0, 0.3)])]
    for _ in range(int(rng.integers(2, 6))):
        turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(3.5, 5.5)
        parts = [
            Part(ellipse(2.4, 0, 1.2, 1.1, n=12)),
            Part(ellipse(1.7, 0, 0.35, n=8), 0.0),
            Part(rectangle(3.3, -0.4, 3.3 + length, 0.35)),
        ]
        parts += [Part(rectangle(x, 0.0, x + 0.35, 0.4), 0.0) for x in np.arange(4.2, 3 + length, 0.8)]
        layers.append(Layer("brass", rng.uniform(0.15, 0.28), [Part(turned(p.points, turn), p.value) for p in parts]))
    return layers


def belt(rng: Rng) -> list[Layer]:
    """Draw a rolled belt with a metal buckle."""
    t = np.linspace(0, rng.uniform(2, 5) * np.pi, 40)
    r = 3.0 + 0.28 * t
    coil = np.stack([r * np.cos(t), r * np.sin(t)], axis=1)
    x, y = coil[-1]
    frame = [
        Part(rounded(x - 2, y - 2.4, x + 2.4, y + 2.4, 0.6)),
        Part(rounded(x - 1.4, y - 1.8, x + 1.8, y + 1.8, 0.4), 0.0),
        Part(rectangle(x - 1.8, y - 0.2, x + 2.2, y + 0.2), 0.8),
    ]
    return [Layer("leather", 3.2, [Part(coil, 1.0, 0.45)]), Layer("zinc", rng.uniform(0.25, 0.5), frame)]


def spatula(rng: Rng) -> list[Layer]:
    """Draw a turner, trowel or brush with a flat metal head: knife-like, but blunt and with a bent neck."""
    head, width, handle = rng.uniform(8, 13), rng.uniform(4, 8), rng.uniform(12, 18)
    blade = [Part(rounded(0, -width / 2, head, width / 2, 1.2)), Part(taper((-5, 0), (1, 0), 0.8, 1.4))]
    if rng.random() < 0.5:
        blade += [
            Part(rounded(head * 0.25, y - 0.3, head * 0.85, y + 0.3, 0.3), 0.0)
            for y in (-width * 0.25, 0.0, width * 0.25)
        ]
    grip = str(rng.choice(["wood", "abs"]))
    return [
        Layer("stainless", rng.uniform(0.1, 0.25), blade),
        Layer(grip, 1.6, [Part(rounded(-handle, -1.1, -3.5, 1.1, 0.8))]),
    ]


def tongs(rng: Rng) -> list[Layer]:
    """Draw tongs, a clamp or a nutcracker: two legs joined at the end, not crossing."""
    length, spread, width = rng.uniform(12, 24), rng.uniform(1.5, 4.5), rng.uniform(0.8, 1.7)
    layers = []
    for side in (1.0, -1.0):
        leg = smooth(
            np.array(
                [
                    [-length / 2, 0],
                    [-length * 0.2, side * spread * 0.8],
                    [length * 0.25, side * spread],
                    [length / 2, side * spread * 0.45],
                ]
            )
        )
        layers.append(
            Layer(
                "stainless",
                rng.uniform(0.2, 0.5),
                [Part(leg, 1.0, width), Part(ellipse(length / 2, side * spread * 0.5, width, n=10), 0.8)],
            )
        )
    return layers


def spectacles(rng: Rng) -> list[Layer]:
    """Draw spectacles with metal frames, often in a steel case."""
    r, gap = rng.uniform(2.0, 2.7), rng.uniform(0.9, 1.3)
    rims = [Part(np.concatenate([o := ellipse(s * (r + gap), 0, r, r * 0.8), o[:1]]), 1.0, 0.25) for s in (-1, 1)]
    arms = [
        Part(smooth(np.array([[s * (2 * r + gap), -0.5], [s * 3, 2.2], [-s * 6, 2.8]])), 1.0, 0.25) for s in (-1, 1)
    ]
    layers = [
        Layer(
            "stainless",
            rng.uniform(0.2, 0.4),
            [*rims, *arms, Part(np.array([[-gap, 0], [0, -0.4], [gap, 0]]), 1.0, 0.25)],
        ),
        Layer("polycarbonate", 0.3, [Part(ellipse(s * (r + gap), 0, r, r * 0.8)) for s in (-1, 1)]),
    ]
    if rng.random() < 0.5:
        outline = ellipse(0, 0.8, 8.4, 3.4, n=28)
        layers.append(
            Layer("steel", rng.uniform(0.1, 0.2), [Part(outline), Part(outline * [0.95, 0.88] + [0, 0.1], 0.6)])
        )
    return layers


def steel_flask(rng: Rng) -> list[Layer]:
    """Draw a vacuum flask: steel walls, often with liquid."""
    length, radius = rng.uniform(17, 27), rng.uniform(2.8, 4.2)
    walls = [
        Part(rounded(-length / 2, -radius, length / 2, radius, 0.8), 1.0),
        Part(rounded(-length / 2 + 0.35, -radius + 0.4, length / 2 - 2.2, radius - 0.4, 0.8), 0.42),
    ]
    layers = [Layer("stainless", rng.uniform(0.28, 0.5), walls)]
    if rng.random() < 0.45:
        layers.append(
            Layer("water", 1.8 * radius, rod(-length / 2 + 0.6, length / 2 - rng.uniform(3, 8), 0, radius - 0.6, 3))
        )
    return layers


def small_metal(rng: Rng) -> list[Layer]:
    """Draw a coin, button, screw, zip puller, stud or rivet."""
    kind = int(rng.integers(4))
    if kind == 0:
        r = rng.uniform(0.8, 1.4)
        return [Layer("brass", rng.uniform(0.15, 0.25), [Part(ellipse(0, 0, r, r * rng.uniform(0.3, 1.0), n=12))])]
    if kind == 1:
        length = rng.uniform(1.5, 4)
        return [
            Layer(
                "steel", rng.uniform(0.2, 0.5), [Part(rectangle(0, -0.2, length, 0.2)), Part(ellipse(0, 0, 0.5, n=8))]
            )
        ]
    if kind == 2:
        w = rng.uniform(0.6, 1.4)
        return [
            Layer(
                "zinc",
                rng.uniform(0.15, 0.3),
                [Part(rounded(-1.8, -w / 2, 1.2, w / 2, 0.4)), Part(ellipse(0.4, 0, w * 0.28, n=8), 0.0)],
            )
        ]
    w, h = rng.uniform(0.6, 1.9), rng.uniform(0.6, 1.9)
    return [
        Layer(
            "zinc",
            rng.uniform(0.15, 0.35),
            [Part(rounded(-w, -h, w, h, 0.5)), Part(rounded(-w + 0.35, -h + 0.35, w - 0.35, h - 0.35, 0.4), 0.0)],
        )
    ]


def tubes(rng: Rng) -> list[Layer]:
    """Draw toiletries: tubes, jars and small flasks."""
    layers = []
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.normal(0, 3.5, 2)
        length, r = rng.uniform(6, 15), rng.uniform(1.0, 2.4)
        layers.append(Layer("toiletry", 2 * r, shifted(rod(-length / 2, length / 2, 0, r, 3), x, y)))
        if rng.random() < 0.4:
            layers.append(
                Layer(
                    "glass",
                    0.5,
                    [
                        Part(rounded(x - length / 2, y - r, x + length / 2, y + r, 0.5)),
                        Part(rounded(x - length / 2 + 0.3, y - r * 0.8, x + length / 2 - 0.3, y + r * 0.8, 0.4), 0.5),
                    ],
                )
            )
    return layers


def pens(rng: Rng) -> list[Layer]:
    """Draw a few pens or pencils."""
    layers = []
    for _ in range(int(rng.integers(1, 5))):
        y, length = rng.uniform(-2, 2), rng.uniform(12, 15)
        tilt = rng.normal(0, 1.0)
        line = np.array([[-length / 2, y - tilt], [length / 2, y + tilt]])
        layers.append(Layer("abs", 0.6, [Part(line, 1.0, 0.9)]))
        clip = np.array([line[0] * 0.95 + line[1] * 0.05, line[0] * 0.65 + line[1] * 0.35])
        layers.append(
            Layer("stainless", 0.12, [Part(clip, 1.0, 0.4), Part(np.array([line[1] * 0.97, line[1]]), 1.0, 0.5)])
        )
    return layers


def ceramic_ware(rng: Rng) -> list[Layer]:
    """Draw a cup, bowl or plate."""
    r = rng.uniform(3.5, 9)
    squeeze = rng.uniform(0.5, 1.0)
    rings = [
        Part(ellipse(0, 0, r * s, r * s * squeeze, n=24), v)
        for s, v in ((1.0, 0.9), (0.92, 0.45), (0.6, 0.35), (0.45, 0.55))
    ]
    return [
        Layer(
            str(rng.choice(["ceramic", "glass", "stainless"], p=[0.5, 0.3, 0.2])),
            rng.uniform(0.2, 0.5) if r > 7 else rng.uniform(0.5, 1.0),
            rings,
        )
    ]


def spray_can(rng: Rng) -> list[Layer]:
    """Draw a deodorant or hair spray."""
    length, radius = rng.uniform(12, 22), rng.uniform(1.8, 3.0)
    metal = str(rng.choice(["aluminium", "steel"]))
    return [
        Layer(
            metal,
            0.25,
            [
                Part(rounded(-length / 2, -radius, length * 0.4, radius, 1.0)),
                Part(rounded(-length / 2 + 0.3, -radius * 0.86, length * 0.38, radius * 0.86, 0.9), 0.5),
            ],
        ),
        Layer("toiletry", 2 * radius, rod(-length / 2 + 0.3, length * rng.uniform(-0.1, 0.3), 0, radius * 0.93, 4)),
        Layer("polyethylene", 0.8, [Part(rectangle(length * 0.4, -0.6 * radius, length / 2, 0.6 * radius))]),
    ]


def can(rng: Rng) -> list[Layer]:
    """Draw a can of drink or food, lying or upright."""
    radius, length = rng.uniform(2.6, 3.8), rng.uniform(7, 13)
    metal, wall = ("aluminium", 0.10) if rng.random() < 0.6 else ("steel", 0.09)
    if rng.random() < 0.4:
        top = ellipse(0, 0, radius, n=20)
        return [Layer("food", length * 0.85, [Part(top)]), Layer(metal, wall * 5, [Part(top), Part(top * 0.92, 0.4)])]
    return [
        Layer("food", 2 * radius, rod(-length / 2, length / 2, 0, radius, 5)),
        Layer(
            metal,
            wall * 3,
            [
                Part(rectangle(-length / 2, -radius, length / 2, radius)),
                Part(rectangle(-length / 2 + 0.3, -radius * 0.92, length / 2 - 0.3, radius * 0.92), 0.55),
            ],
        ),
    ]
