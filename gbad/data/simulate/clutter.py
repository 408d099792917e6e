"""Harmless things in bags: clothes, shoes, drinks, food, books, electronics, cables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.electronics import cable, charger, device, laptop, phone
from gbad.data.simulate.geometry import (
    Layer,
    Part,
    blob,
    dome,
    ellipse,
    moved,
    rectangle,
    rounded,
    shifted,
    smooth,
    turned,
)
from gbad.data.simulate.household import (
    belt,
    can,
    ceramic_ware,
    folded_umbrella,
    key_ring,
    metal_sheet,
    pens,
    spray_can,
    tubes,
)
from gbad.data.simulate.types import Points, Rng


def folds(rng: Rng, count: int, rx: float, ry: float, reach: float) -> list[Part]:
    """Draw thin curved lines about `reach` cm long that start within 2rx x 2ry cm."""
    start = rng.uniform(-1.0, 1.0, (count, 1, 2)) * [rx, ry]
    bend, stop = rng.normal(0, reach / 2, (2, count, 1, 2))
    t = np.linspace(0.0, 1.0, 8)[:, None]
    lines = start + 2 * t * (1 - t) * bend + t**2 * stop
    looks = rng.uniform((0.3, 0.15), (1.0, 0.5), (count, 2)).tolist()
    return [Part(line, value, width) for line, (value, width) in zip(lines, looks, strict=True)]


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
    seams = folds(rng, int(rng.integers(2, 7)), 0.8 * rx, 0.8 * ry, max(rx, ry))
    layers.append(Layer(material, rng.uniform(0.4, 1.4), seams))
    if rng.random() < 0.25:
        buttons = [Part(ellipse(x, rng.uniform(-0.3, 0.3), 0.5, n=8)) for x in np.arange(-0.8 * rx, 0.8 * rx, 4.0)]
        layers.append(Layer(str(rng.choice(["abs", "brass", "zinc"])), 0.15, buttons))
    return layers


def packed_clothes(rng: Rng, width: float, height: float) -> list[Layer]:
    """Draw folded and rolled clothes, or goods in rows, that cover most of a bag of the given inner size (cm)."""
    if rng.random() < 0.22:
        return packed_goods(rng, width, height)
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    rolled = rng.random() < 0.35
    limit = np.array([width, height]) / 2
    layers = []
    second = "coated_fabric" if rng.random() < 0.35 else "polyester"
    for material, texture in (("cotton", "cloth"), (second, "cloth2")):
        parts = []
        if rng.random() < 0.6:  # a sheet below the rest
            parts.append(Part(blob(rng, 1.05 * limit[0], 1.05 * limit[1], 12, 0.08), rng.uniform(0.15, 0.4)))
        for k in range(columns * rows):
            if rng.random() < 0.12:
                continue
            w, h = width / columns, height / rows
            x, y = (k % columns + 0.5) * w - width / 2, (k // columns + 0.5) * h - height / 2
            x, y = x + rng.normal(0, 0.08) * w, y + rng.normal(0, 0.08) * h
            a, b = w * rng.uniform(0.4, 0.6), h * rng.uniform(0.4, 0.6)
            value = rng.uniform(0.25, 1.0)
            if rolled:
                parts += shifted(dome(rounded(-a, -b, a, b, min(a, b)), 3, value), x, y)
            else:
                outline = blob(rng, a * 1.1, b * 1.1, 8, 0.12) if rng.random() < 0.5 else rounded(-a, -b, a, b, 1.5)
                outline = turned(outline, rng.normal(0, 0.07))
                parts += [Part(outline + [x, y], value * 0.7), Part(outline * 0.93 + [x, y], value)]
                fold = outline[rng.integers(len(outline))] * [[0.95], [-0.8]] + rng.normal(0, 1.0, (2, 2)) + [x, y]
                parts.append(Part(fold, min(1.0, value * rng.uniform(0.6, 1.4)), rng.uniform(0.3, 1.2)))
        if parts:
            points = _within(np.concatenate([p.points for p in parts]), limit)
            pieces = np.split(points, np.cumsum([len(p.points) for p in parts])[:-1])
            parts = [Part(piece, p.value, p.width) for piece, p in zip(pieces, parts, strict=True)]
            packed = 0.4 if material == "coated_fabric" else 1.0
            layers.append(Layer(material, packed * rng.uniform(2.5, 9.0), parts, texture))
    creases = folds(rng, int(rng.integers(6, 18)), width / 2, height / 2, 9.0)
    return [*layers, Layer("cotton", rng.uniform(0.6, 2.0), creases)]


def _within(points: Points, limit: Points) -> Points:
    """Press what reaches beyond a rectangle back into it, without making its edge straight."""
    over = np.maximum(np.abs(points) / limit - 0.85, 0.0)
    return np.sign(points) * limit * (np.minimum(np.abs(points) / limit, 0.85) + 0.15 * np.tanh(over / 0.15))


def packed_goods(rng: Rng, width: float, height: float) -> list[Layer]:
    """Draw goods of a few kinds, each in rows of equal pieces: packets, round food, flat things on edge."""
    layers = []
    y, bottom = -0.45 * height, 0.45 * height
    while y < bottom - 3:
        deep = rng.uniform(5, 16)
        end = min(y + deep, bottom)
        if rng.random() < 0.85:
            shown = rng.uniform(0.55, 1.0) * width
            row = packets(rng, shown / 2, (end - y) / 2)
            at = np.array([rng.uniform(-0.5, 0.5) * (width - shown), (y + end) / 2])
            layers += moved(row, at)
        y = end + rng.uniform(0, 1.5)
    return layers or packets(rng, width / 2, height / 2)


def packets(rng: Rng, rx: float = 0.0, ry: float = 0.0) -> list[Layer]:
    """Draw equal pieces side by side, within 2rx x 2ry cm: packets, cakes, or slices seen on edge."""
    rx, ry = rx or rng.uniform(6, 12), ry or rng.uniform(4, 9)
    a = rng.uniform(0.5, 1.0) if rng.random() < 0.4 else rng.uniform(1.5, 4.5)
    b = min(ry, rng.uniform(2.5, 6.0) if a < 1.2 else a * rng.uniform(0.7, 1.5))
    shape = rounded(-a, -b, a, b, 0.8) if rng.random() < 0.5 else ellipse(0, 0, a, b, n=12)
    slant = rng.normal(0, 0.12)
    nested = [(turned(shape * share, slant), value) for share, value in ((1.0, 0.5), (0.82, 0.9))]
    xs = np.arange(-rx + a, rx - 0.9 * a, 2 * a * rng.uniform(0.95, 1.15))[:20]
    ys = np.arange(-ry + b, ry - 0.9 * b, 2.05 * b)[:3]
    spots = np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)
    spots = (spots + rng.normal(0, 0.1 * a, spots.shape))[rng.random(len(spots)) > 0.06]
    values = rng.uniform(0.65, 1.0, len(spots)).tolist()
    parts = [
        Part(points + spot, share * value)
        for spot, value in zip(spots, values, strict=True)
        for points, share in nested
    ]
    if not parts:
        parts = dome(rounded(-rx, -ry, rx, ry, 1.0), 3)
    material = str(rng.choice(["food", "wood", "toiletry", "cotton"], p=[0.65, 0.15, 0.1, 0.1]))
    return [
        Layer(material, rng.uniform(1.5, 5.5), parts, str(rng.choice(["soft", "grain3"]))),
        Layer("polyethylene", 0.15, [Part(rounded(-rx, -ry, rx, ry, 0.5))]),
    ]


def shoe(rng: Rng) -> list[Layer]:
    """Draw a shoe or a pair from above, with sole, eyelets and sometimes a steel shank."""
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
    tread = [
        Part(np.array([[x, -h * 0.5], [x, h * 0.5]]), 0.65, 0.4)
        for x in np.arange(-length * 0.4, length * 0.4, rng.uniform(1.5, 4.0))
    ]
    layers = [
        Layer("rubber", rng.uniform(1.2, 3.0), [Part(sole, 0.75), Part(sole * 0.93, 0.5), Part(heel, 0.85), *tread]),
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
    if rng.random() < 0.2:
        layers.append(Layer("steel", 0.12, [Part(rounded(-length * 0.25, -0.8, length * 0.12, 0.8, 0.5))]))
    if rng.random() < 0.4:
        return layers
    apart, along = rng.uniform(0.45, 0.6) * width, rng.normal(0, 2.5)
    pair = [
        [Part(p.points * [1, s] + [s * along / 2, s * apart], p.value, p.width) for s in (-1, 1) for p in la.parts]
        for la in layers
    ]
    return [Layer(la.material, la.thickness, parts, la.texture) for la, parts in zip(layers, pair, strict=True)]


def bottle(rng: Rng) -> list[Layer]:
    """Draw a plastic or glass bottle with a drink."""
    length, radius = rng.uniform(15, 30), rng.uniform(2.6, 4.6)
    body = length * rng.uniform(0.55, 0.75) - length / 2
    neck, waist = rng.uniform(1.0, 1.6), rng.uniform(0.82, 1.02)
    side = smooth(
        np.array(
            [
                [-length / 2, radius * 0.75],
                [-length * 0.48, radius],
                [-length * 0.2, radius * waist],
                [body, radius],
                [(body + length * 0.4) / 2, (radius + neck) * 0.55],
                [length * 0.4, neck],
                [length / 2, neck],
            ]
        ),
        n=3,
    )
    outline = np.concatenate([side, side[::-1] * [1, -1]])
    fill = body if rng.random() < 0.7 else rng.uniform(-0.2, 1.0) * body
    drink = str(rng.choice(["water", "food", "toiletry"], p=[0.8, 0.1, 0.1]))
    shares = np.sin(0.5 * np.pi * (1 - np.arange(7) / 6))
    liquid = [
        Part(outline * [0.98, share], float(np.sqrt(max(0.02, 1 - ((share + nxt) / 2) ** 2))))
        for share, nxt in zip(shares[:-1], shares[1:], strict=True)
    ]
    liquid = [Part(np.minimum(p.points, [fill + (length / 2 - body) * (fill >= body), 99.0]), p.value) for p in liquid]
    layers = [Layer(drink, 1.8 * radius, liquid)]
    if rng.random() < 0.2:
        layers.append(Layer("glass", rng.uniform(0.6, 1.0), [Part(outline), Part(outline * [0.97, 0.86], 0.65)]))
    else:
        layers.append(Layer("polyester", 0.5, [Part(outline), Part(outline * [0.98, 0.93], 0.5)]))
    cap = rectangle(length / 2 - 1.6, -neck * 1.15, length / 2, neck * 1.15)
    layers.append(Layer(str(rng.choice(["polyethylene", "aluminium"], p=[0.85, 0.15])), 0.6, [Part(cap)]))
    return layers


def fruit(rng: Rng) -> list[Layer]:
    """Draw a few round pieces of food of one kind, next to and on top of each other."""
    r, spread = rng.uniform(2.0, 4.5), rng.uniform(3, 7)
    heaps = []
    for _ in range(2):
        parts = []
        for _ in range(int(rng.integers(1, 6))):
            x, y = rng.normal(0, spread, 2).tolist()
            outline = ellipse(x, y, r * rng.uniform(0.85, 1.15), r, n=16)
            parts += dome(outline, 4, rng.uniform(0.8, 1.0))
        heaps.append(Layer("food", 1.7 * r, parts, "soft"))
    return heaps


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
        Layer("paper", rng.uniform(0.6, 3.5), [Part(rectangle(-w, -h, w, h))], "soft" if rng.random() < 0.5 else ""),
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


ITEMS: dict[Callable[[Rng], list[Layer]], float] = {
    clothes: 3.5,
    shoe: 1.3,
    bottle: 2.0,
    can: 0.6,
    spray_can: 0.6,
    fruit: 1.0,
    food_bag: 1.0,
    packets: 1.0,
    book: 1.5,
    metal_sheet: 0.25,
    folded_umbrella: 0.7,
    box: 1.0,
    tubes: 1.0,
    pens: 0.7,
    cable: 1.8,
    charger: 1.0,
    belt: 0.6,
    key_ring: 0.4,
    laptop: 0.9,
    phone: 0.9,
    device: 1.2,
    ceramic_ware: 0.6,
}
"""Things in a bag, and their relative frequencies."""
