"""What people pack: clothes, shoes, drinks, food, books, electronics, cables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.electronics import cable, charger, device, laptop, phone
from gbad.data.simulate.geometry import Layer, Part, blob, dome, ellipse, rectangle, rod, rounded, smooth
from gbad.data.simulate.household import belt, key_ring

Rng = np.random.Generator


def clothes(rng: Rng) -> list[Layer]:
    """Draw a crumpled or folded piece of clothing."""
    material = str(rng.choice(["cotton", "polyester"]))
    rx, ry = rng.uniform(6, 18), rng.uniform(5, 13)
    thickness = rng.uniform(1.0, 6.5)
    outline = blob(rng, rx, ry) if rng.random() < 0.6 else rounded(-rx, -ry, rx, ry, 2.5)
    parts = [
        Part(outline, rng.uniform(0.4, 0.7)),
        Part(outline * rng.uniform(0.80, 0.93), 0.85),
        Part(outline * rng.uniform(0.5, 0.75)),
    ]
    layers = [Layer(material, thickness, parts, str(rng.choice(["cloth", "cloth2"])))]
    seams = []
    for _ in range(int(rng.integers(2, 7))):
        p = rng.uniform(-0.9, 0.9, (4, 2)) * [rx, ry]
        seams.append(Part(smooth(p, n=4), rng.uniform(0.3, 1), rng.uniform(0.2, 0.6)))
    layers.append(Layer(material, rng.uniform(0.4, 1.4), seams))
    if rng.random() < 0.25:
        buttons = [Part(ellipse(x, rng.uniform(-0.3, 0.3), 0.5, n=8)) for x in np.arange(-0.8 * rx, 0.8 * rx, 4.0)]
        layers.append(Layer(str(rng.choice(["abs", "brass", "zinc"])), 0.15, buttons))
    return layers


def packed_clothes(rng: Rng, width: float, height: float) -> list[Layer]:
    """Draw folded and rolled clothes that cover most of a bag of the given inner size (cm)."""
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    rolled = rng.random() < 0.35
    layers = []
    for material, texture in (("cotton", "cloth"), ("polyester", "cloth2")):
        parts = []
        for k in range(columns * rows):
            if rng.random() < 0.12:
                continue
            w, h = width / columns, height / rows
            x, y = (k % columns + 0.5) * w - width / 2, (k // columns + 0.5) * h - height / 2
            x, y = x + rng.normal(0, 0.08) * w, y + rng.normal(0, 0.08) * h
            a, b = w * rng.uniform(0.4, 0.6), h * rng.uniform(0.4, 0.6)
            value = rng.uniform(0.25, 1.0)
            if rolled:
                parts += [Part(p.points + [x, y], p.value) for p in dome(rounded(-a, -b, a, b, min(a, b)), 3, value)]
            else:
                outline = blob(rng, a * 1.1, b * 1.1, 8, 0.12) if rng.random() < 0.5 else rounded(-a, -b, a, b, 1.5)
                parts += [Part(outline + [x, y], value * 0.8), Part(outline * 0.9 + [x, y], value)]
        limit = np.array([width, height]) / 2
        parts = [Part(np.clip(p.points, -limit, limit), p.value) for p in parts]
        if parts:
            layers.append(Layer(material, rng.uniform(3.0, 12.0), parts, texture))
    creases = [
        Part(
            smooth(rng.uniform(-0.5, 0.5, 2) * [width, height] + np.cumsum(rng.normal(0, 3.0, (4, 2)), axis=0), n=3),
            rng.uniform(0.3, 1),
            rng.uniform(0.15, 0.4),
        )
        for _ in range(int(rng.integers(6, 18)))
    ]
    return [*layers, Layer("cotton", rng.uniform(0.6, 2.0), creases)]


def shoe(rng: Rng) -> list[Layer]:
    """Draw a shoe from above, with its sole, eyelets and sometimes a steel shank."""
    length, width = rng.uniform(23, 30), rng.uniform(8, 10.5)
    h = width / 2
    sole = smooth(
        np.array(
            [
                [-length / 2, 0],
                [-length * 0.42, -h * 0.75],
                [-length * 0.1, -h * 0.62],
                [length * 0.25, -h],
                [length * 0.45, -h * 0.7],
                [length / 2, 0.1 * h],
                [length * 0.38, h * 0.85],
                [length * 0.1, h * 0.8],
                [-length * 0.15, h * 0.6],
                [-length * 0.42, h * 0.72],
            ]
        ),
        closed=True,
        n=3,
    )
    heel = sole[sole[:, 0] < -length * 0.2]
    layers = [
        Layer("rubber", rng.uniform(1.2, 3.0), [Part(sole, 0.75), Part(sole * 0.93, 0.55), Part(heel, 1.0)]),
        Layer(
            "leather",
            rng.uniform(0.8, 2.0),
            [Part(sole * [0.98, 0.95]), Part(ellipse(-length * 0.2, 0, length * 0.2, h * 0.55), 0.4)],
            "cloth",
        ),
    ]
    if rng.random() < 0.5:
        eyelets = [Part(ellipse(x, s * h * 0.3, 0.35, n=8)) for x in np.linspace(0, length * 0.2, 4) for s in (-1, 1)]
        layers.append(Layer("brass", 0.2, eyelets))
    if rng.random() < 0.3:
        layers.append(Layer("steel", 0.2, [Part(rounded(-length * 0.25, -0.8, length * 0.12, 0.8, 0.5))]))
    return layers


def bottle(rng: Rng) -> list[Layer]:
    """Draw a plastic or glass bottle with a drink."""
    length, radius = rng.uniform(14, 30), rng.uniform(2.4, 4.6)
    body = length * rng.uniform(0.60, 0.75) - length / 2
    neck = rng.uniform(1.0, 1.6)
    outline = np.array(
        [
            [-length / 2, -radius],
            [body, -radius],
            [length * 0.38, -neck],
            [length / 2, -neck],
            [length / 2, neck],
            [length * 0.38, neck],
            [body, radius],
            [-length / 2, radius],
        ]
    )
    fill = body if rng.random() < 0.7 else rng.uniform(-0.2, 1.0) * body
    drink = str(rng.choice(["water", "food", "toiletry"], p=[0.75, 0.1, 0.15]))
    shares = np.sin(0.5 * np.pi * (1 - np.arange(6) / 5))
    liquid = [
        Part(outline * [0.98, share], float(np.sqrt(max(0.02, 1 - ((share + nxt) / 2) ** 2))))
        for share, nxt in zip(shares[:-1], shares[1:], strict=True)
    ]
    liquid = [Part(np.minimum(p.points, [fill + (length / 2 - body) * (fill >= body), 99.0]), p.value) for p in liquid]
    layers = [Layer(drink, 2 * radius, liquid)]
    if rng.random() < 0.25:
        layers.append(Layer("glass", rng.uniform(0.6, 1.0), [Part(outline), Part(outline * [0.97, 0.86], 0.65)]))
    else:
        layers.append(Layer("polyester", 0.5, [Part(outline), Part(outline * [0.98, 0.93], 0.5)]))
    layers.append(
        Layer(
            str(rng.choice(["polyethylene", "aluminium"])),
            0.5,
            [Part(rectangle(length / 2 - 1.6, -neck * 1.15, length / 2, neck * 1.15))],
        )
    )
    return layers


def can(rng: Rng) -> list[Layer]:
    """Draw a can of drink or food, lying or upright."""
    radius, length = rng.uniform(2.6, 3.8), rng.uniform(7, 13)
    metal, wall = ("aluminium", 0.10) if rng.random() < 0.6 else ("steel", 0.09)
    if rng.random() < 0.4:
        return [
            Layer("food", length * 0.85, [Part(ellipse(0, 0, radius, n=20))]),
            Layer(metal, wall * 5, [Part(ellipse(0, 0, radius, n=20)), Part(ellipse(0, 0, radius * 0.92, n=20), 0.4)]),
        ]
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


def fruit(rng: Rng) -> list[Layer]:
    """Draw a few round pieces of food."""
    layers = []
    for _ in range(int(rng.integers(1, 6))):
        r = rng.uniform(2.2, 4.8)
        x, y = rng.normal(0, 5, 2).tolist()
        outline = ellipse(x, y, r, r * rng.uniform(0.7, 1), n=18)
        layers.append(Layer("food", 1.8 * r, dome(outline, 4)))
    return layers


def food_bag(rng: Rng) -> list[Layer]:
    """Draw rice, nuts, snacks or powder in a bag or box."""
    rx, ry = rng.uniform(5, 12), rng.uniform(4, 9)
    outline = rounded(-rx, -ry, rx, ry, 1.2) if rng.random() < 0.5 else blob(rng, rx, ry, roughness=0.1)
    material = str(rng.choice(["food", "food", "food", "salt", "toiletry"]))
    thickness = rng.uniform(1.0, 5.0) * (0.5 if material == "salt" else 1.0)
    return [
        Layer(material, thickness, dome(outline, 3), str(rng.choice(["grain", "cloth", "grain2"]))),
        Layer("cardboard", 0.6, [Part(outline * 1.04)]),
    ]


def book(rng: Rng) -> list[Layer]:
    """Draw a book, a stack of paper or a notebook."""
    w, h = rng.uniform(5, 11), rng.uniform(7, 15)
    layers = [
        Layer("paper", rng.uniform(0.6, 4.0), [Part(rectangle(-w, -h, w, h))]),
        Layer("cardboard", 0.8, [Part(rounded(-w - 0.3, -h - 0.3, w + 0.3, h + 0.3, 0.2))]),
    ]
    if rng.random() < 0.25:  # spiral binding
        layers.append(Layer("steel", 0.12, [Part(ellipse(-w, y, 0.5, 0.25, n=8)) for y in np.arange(-h + 0.6, h, 0.9)]))
    return layers


def box(rng: Rng) -> list[Layer]:
    """Draw a carton or plastic box with walls that show."""
    w, h = rng.uniform(3, 11), rng.uniform(3, 9)
    outline = rounded(-w, -h, w, h, 0.4)
    layers = [
        Layer(
            str(rng.choice(["cardboard", "abs", "polyethylene"])),
            rng.uniform(0.8, 2.0),
            [Part(outline), Part(outline * [1 - 0.5 / w, 1 - 0.5 / h], 0.3)],
        )
    ]
    if rng.random() < 0.6:
        layers.append(
            Layer(
                str(rng.choice(["food", "toiletry", "paper", "ceramic"])),
                rng.uniform(0.5, 2.5),
                [Part(outline * 0.88)],
                "cloth",
            )
        )
    return layers


def tubes(rng: Rng) -> list[Layer]:
    """Draw toiletries: tubes, jars and small flasks."""
    layers = []
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.normal(0, 3.5, 2)
        length, r = rng.uniform(6, 15), rng.uniform(1.0, 2.4)
        layers.append(
            Layer("toiletry", 2 * r, [Part(p.points + [x, y], p.value) for p in rod(-length / 2, length / 2, 0, r, 3)])
        )
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


ITEMS: dict[Callable[[Rng], list[Layer]], float] = {
    clothes: 3.0,
    shoe: 1.3,
    bottle: 1.6,
    can: 0.7,
    spray_can: 0.7,
    fruit: 1.0,
    food_bag: 1.3,
    book: 1.2,
    box: 1.2,
    tubes: 1.0,
    pens: 0.7,
    cable: 1.2,
    charger: 1.0,
    belt: 0.6,
    key_ring: 0.4,
    laptop: 0.5,
    phone: 0.9,
    device: 0.8,
    ceramic_ware: 0.6,
}
"""What lies in a bag, and how often."""
