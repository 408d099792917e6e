"""Shapes of wrenches, pliers and scissors."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, ellipse, rod, rounded, smooth, taper, turned
from gbad.data.simulate.types import Rng


def spanner(rng: Rng) -> list[Layer]:
    """Draw a wrench with an open jaw or a ring at each end."""
    length = rng.uniform(11, 30)
    ends = [str(rng.choice(["open", "ring"], p=[0.62, 0.38])) for _ in range(2)]
    if length < 13:
        ends[0] = "open"
    waist = length * rng.uniform(0.055, 0.085)
    value = rng.uniform(0.6, 0.85)
    parts = [Part(taper((-0.46 * length, 0), (0.46 * length, 0), waist, waist * rng.uniform(0.8, 1.0)), value)]
    if rng.random() < 0.5:  # recessed shank
        parts.append(Part(taper((-0.36 * length, 0), (0.36 * length, 0), waist * 0.5, waist * 0.45), value * 0.7))
    for side, end in zip((-1.0, 1.0), ends, strict=True):
        radius = waist * rng.uniform(1.15, 1.6) * (1.0 if end == "open" else 0.85)
        x = side * (0.5 * length - radius)
        angle = rng.uniform(-0.35, 0.35) + (0 if side > 0 else np.pi)
        parts.append(Part(ellipse(x, 0, radius, radius * rng.uniform(0.92, 1.05)), 1.0))
        if end == "ring":
            parts.append(Part(ellipse(x, 0, radius * rng.uniform(0.55, 0.68), n=int(rng.choice([6, 12]))), 0.0))
        else:
            jaw = radius * rng.uniform(0.42, 0.56)
            slot = np.array(
                [
                    [-0.25 * radius, -jaw * 0.7],
                    [0.05 * radius, -jaw],
                    [2 * radius, -jaw * 1.1],
                    [2 * radius, jaw * 1.1],
                    [0.05 * radius, jaw],
                    [-0.25 * radius, jaw * 0.7],
                ]
            )
            parts.append(Part(turned(slot, angle) + [x, 0], 0.0))
    return [Layer(str(rng.choice(["steel", "stainless"])), rng.uniform(0.45, 0.95), parts)]


def adjustable_wrench(rng: Rng) -> list[Layer]:
    """Draw a wrench with one fixed jaw, one sliding jaw and a worm screw."""
    length = rng.uniform(15, 31)
    waist = length * rng.uniform(0.08, 0.11)
    head = length * rng.uniform(0.10, 0.13)
    gap = head * rng.uniform(0.15, 0.8)
    x = 0.5 * length - 1.9 * head
    fixed = np.array(
        [
            [x - head, -waist * 0.5],
            [x, -head],
            [x + head, -head * 1.15],
            [x + 1.9 * head, -head * 0.45],
            [x + 1.5 * head, -0.12 * head],
            [x + 0.4 * head, -0.1 * head],
            [x + 0.5 * head, head],
            [x - head, waist * 0.5],
        ]
    )
    sliding = np.array(
        [
            [x + 0.35 * head, gap],
            [x + 1.6 * head, gap],
            [x + 1.5 * head, gap + 0.5 * head],
            [x + 0.9 * head, gap + 0.95 * head],
            [x + 0.2 * head, gap + 0.8 * head],
        ]
    )
    handle = [
        Part(taper((-0.45 * length, 0), (x, 0), waist, waist * 0.8), rng.uniform(0.6, 0.9)),
        Part(ellipse(-0.45 * length, 0, waist * 0.5, n=12), 0.8),
        Part(ellipse(-0.45 * length, 0, waist * 0.27, n=10), 0.0),
    ]
    if rng.random() < 0.5:
        handle.insert(1, Part(taper((-0.36 * length, 0), (x - head, 0), waist * 0.5, waist * 0.4), 0.55))
    worm = [Part(rounded(x - 0.1 * head, 0.25 * head, x + 0.45 * head, 0.75 * head, 0.1), 0.45)]
    layers = [Layer("steel", rng.uniform(0.5, 0.95), [*handle, Part(fixed), Part(sliding, 0.9), *worm])]
    if rng.random() < 0.25:
        layers.append(Layer("pvc", rng.uniform(1.0, 1.6), rod(-0.5 * length, x - 1.5 * head, 0, waist * 0.6, 3)))
    return layers


def pliers(rng: Rng) -> list[Layer]:
    """Draw combination, long-nose, cutting or slip-joint pliers, more or less open."""
    length = rng.uniform(13, 22)
    opening = rng.uniform(0.0, 0.20)
    kind = rng.choice(4, p=[0.35, 0.27, 0.18, 0.20])
    jaw = (
        length
        * (rng.uniform(0.20, 0.26), rng.uniform(0.30, 0.42), rng.uniform(0.13, 0.18), rng.uniform(0.2, 0.27))[kind]
    )
    root = length * rng.uniform(0.055, 0.075)
    tip = root * (rng.uniform(0.55, 0.8), rng.uniform(0.16, 0.3), rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8))[kind]
    bend = rng.uniform(-0.25, 0.1) * jaw if kind == 3 else 0.0
    spread = rng.uniform(1.0, 1.9) * root
    grip = root * rng.uniform(0.7, 0.95)
    metal = str(rng.choice(["steel", "stainless"]))
    thickness = rng.uniform(0.6, 1.05)
    sleeve = str(rng.choice(["pvc", "abs", "rubber"])) if rng.random() < 0.85 else ""
    spine = np.array(
        [[0.0, 0.15 * root], [-0.12 * length, spread], [-0.3 * length, spread * 1.25], [jaw - length, spread]]
    )
    layers = []
    for side in (1.0, -1.0):
        flip = np.array([1.0, side])
        jaw_outline = np.array(
            [
                [-root, -root * 0.3],
                [0, -0.95 * root],
                [jaw * 0.5, bend - 0.8 * root * 0.5 - 0.4 * tip],
                [jaw, bend - tip],
                [jaw, bend - 0.04 * root],
                [root * 1.4, -0.02 * root],
                [root * 0.4, root * 0.75],
                [-root, root * 0.9],
            ]
        )
        # The lever's jaw lies above the axis and its handle below, so that the two levers cross at the pivot.
        handle = smooth(spine, n=4)
        parts = [
            Part(turned(handle * flip, -side * opening), 0.85, grip),
            Part(turned(smooth(jaw_outline, closed=True, n=3) * flip, -side * opening), 0.9),
            Part(ellipse(0, 0, root * 0.95), 0.7),
            Part(ellipse(0, 0, root * 0.38, n=10), 1.0),
        ]
        layers.append(Layer(metal, thickness * 0.62, parts))
        if sleeve:
            cover = turned(handle[int(len(handle) * 0.45) :] * flip, -side * opening)
            layers.append(Layer(sleeve, rng.uniform(0.7, 1.3), [Part(cover, 1.0, grip * 1.7)]))
    return layers


def scissors(rng: Rng) -> list[Layer]:
    """Scissors of any size, open or closed, with plastic or steel handles."""
    length = rng.uniform(15, 27)
    blade = length * rng.uniform(0.42, 0.58)
    width = length * rng.uniform(0.055, 0.085)
    opening = rng.choice([rng.uniform(0.0, 0.08), rng.uniform(0.08, 0.55)], p=[0.4, 0.6])
    plastic = rng.random() < 0.5
    ring = length * rng.uniform(0.085, 0.125)
    sizes = (1.0, rng.uniform(1.0, 1.5))
    thickness = rng.uniform(0.30, 0.60)
    band = length * rng.uniform(0.03, 0.045)
    handle = length - blade
    layers = []
    for side, stretch in zip((1.0, -1.0), sizes, strict=True):
        flip = np.array([1.0, side])
        turn = -side * opening / 2
        outline = np.array(
            [[-0.3 * width, -0.5 * width], [blade * 0.5, -0.62 * width], [blade, 0.0], [-0.3 * width, 0.5 * width]]
        )
        edge = np.array([[0.0, 0.1 * width], [blade * 0.5, -0.1 * width], [blade, 0.0], [-0.3 * width, 0.5 * width]])
        rx, ry = ring * 1.25 * stretch, ring * 0.8
        centre = (-handle + rx, ry * 0.95)
        shank = smooth(np.array([[0.0, 0.0], [-0.35 * handle, 0.35 * ry], [centre[0] + rx, centre[1]]]), n=4)
        tail = Part(turned(shank * flip, turn), 0.9, width * 0.8)
        loop = turned(np.concatenate([o := ellipse(*centre, rx, ry, n=18), o[:2]]) * flip, turn)
        parts = [Part(turned(outline * flip, turn)), Part(turned(edge * flip, turn), 0.55), tail]
        parts.append(Part(ellipse(0, 0, width * 0.3, n=8), 1.0))
        if plastic:
            layers.append(Layer("stainless", thickness, parts))
            cover = turned(shank[len(shank) // 3 :] * flip, turn)
            layers.append(Layer("abs", rng.uniform(0.7, 1.2), [Part(cover, 1.0, width), Part(loop, 1.0, band * 1.6)]))
        else:
            layers.append(Layer("steel", thickness * 1.3, [*parts, Part(loop, 1.0, band)]))
    layers.append(Layer("steel", rng.uniform(0.3, 0.6), [Part(ellipse(0, 0, width * 0.35, n=10))]))
    return layers
