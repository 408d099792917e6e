"""Bags, cases, boxes and trays, empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.bag_parts import (
    Bag,
    castors,
    closed,
    creases,
    frames_at,
    hull,
    rails,
    rivets,
    strap,
    walls,
    zip_pullers,
)
from gbad.data.simulate.geometry import Layer, Part, blob, ellipse, rectangle, rounded, smooth
from gbad.data.simulate.types import Rng


def trolley(rng: Rng) -> Bag:
    """Draw a wheeled case: a hollow box with a wire in the rim of either side, two rails, castors and rivets."""
    w, h = rng.uniform(33, 48), rng.uniform(48, 68)
    hard = rng.random() < 0.45
    outlines = frames_at(rng, w, h, rng.uniform(3, 7), 3, 0.055, 0.3 if hard else rng.uniform(0.3, 1.6))
    back, front = outlines[0], outlines[-1]
    shell, thickness = (
        (str(rng.choice(["polycarbonate", "abs", "pvc"], p=[0.35, 0.3, 0.35])), rng.uniform(0.9, 2.2))
        if hard
        else (str(rng.choice(["coated_fabric", "nylon"], p=[0.75, 0.25])), rng.uniform(0.8, 2.2))
    )
    body = walls(front, back)
    if hard:  # ribs of the shell
        along, count = rng.random() < 0.7, int(rng.integers(5, 16))
        for share in np.linspace(-0.42, 0.42, count):
            rib = np.array([[share * w, -h * 0.46], [share * w, h * 0.46]])
            body.append(Part(rib if along else rib[:, ::-1] * [w / h, h / w], 0.75, 0.35))
    else:
        body += creases(rng, back, int(rng.integers(3, 9)))
    layers = [Layer(shell, thickness, body, "soft")]
    rims = [frame for frame in (back, front) if rng.random() < 0.85]
    piping = str(rng.choice(["pvc", "rubber", "nylon"], p=[0.6, 0.15, 0.25]))
    layers.append(
        Layer(piping, rng.uniform(0.4, 0.9), [Part(rim, 0.7, rng.uniform(0.6, 1.6)) for rim in [*rims, back]])
    )
    wire = str(rng.choice(["steel", "aluminium", "pvc"], p=[0.6, 0.15, 0.25]))
    shown = [outline for outline in outlines if rng.random() < 0.75] or [back]
    wires = [Part(outline, rng.uniform(0.6, 1), rng.uniform(0.22, 0.5)) for outline in shown]
    layers.append(Layer(wire, rng.uniform(0.12, 0.35), wires))
    if rng.random() < 0.85:
        layers += rails(rng, w, h)
    shift = front.mean(axis=0) - back.mean(axis=0)
    ends = [(s * w * rng.uniform(0.36, 0.42), h / 2) for s in (-1, 1)]
    if rng.random() < 0.6:  # four of them at that end
        ends += [(x + shift[0], y + shift[1]) for x, y in ends]
    layers += castors(rng, ends, 1.0)
    if rng.random() < 0.2:
        layers += castors(rng, [(s * w * 0.38, -h / 2) for s in (-1, 1)], -1.0)
    if rng.random() < 0.3:  # carrying handle at the side
        s, y = rng.choice([-1, 1]), rng.uniform(-0.1, 0.1) * h
        grip = smooth(np.array([[0, -9], [1.6, -7], [2.0, 0], [1.6, 7], [0, 9]]) * [s, 1] + [s * w / 2, y])
        layers.append(strap(rng, "nylon", grip, rng.uniform(1.2, 2.2)))
    layers += [rivets(rng, back, int(rng.integers(10, 34))), *zip_pullers(rng, w, h, int(rng.integers(2, 6)))]
    return Bag(layers, w * 0.96, h * 0.96, (0.2, 0.95), 0.9)


def backpack(rng: Rng) -> Bag:
    """Draw a rucksack with straps, pockets, zips and buckles."""
    w, h = rng.uniform(28, 38), rng.uniform(38, 52)
    body = smooth(
        np.array(
            [
                [-w / 2, h / 2],
                [-w * 0.52, 0],
                [-w * 0.45, -h * 0.38],
                [-w * 0.2, -h / 2],
                [w * 0.2, -h / 2],
                [w * 0.45, -h * 0.38],
                [w * 0.52, 0],
                [w / 2, h / 2],
            ]
        )
        + rng.normal(0, 1.0, (8, 2)),
        closed=True,
        n=4,
    )
    fabric = str(rng.choice(["nylon", "coated_fabric", "cotton"]))
    density = {"nylon": 0.5, "coated_fabric": 0.8, "cotton": 1.7}[fabric] * rng.uniform(0.7, 1.5)
    pocket = body * [0.8, 0.45] + [0, h * 0.2]
    edges = [Part(closed(o), 1.0, rng.uniform(0.3, 0.6)) for o in (body, body * 0.95, pocket)]
    layers = [
        Layer(fabric, density * 2, [Part(body, 0.7), Part(body * 0.95, 0.5), Part(pocket, 0.75)], "soft"),
        Layer(fabric, density * 2.2, [*edges, *creases(rng, body, int(rng.integers(8, 18)))]),
    ]
    for s in (-1, 1):
        sway = rng.uniform(0.1, 1.0, 3)
        path = smooth(
            np.array(
                [
                    [s * w * 0.15, -h * 0.45],
                    [s * w * 0.5 * (1 + sway[0] * 0.4), -h * 0.2],
                    [s * w * (0.3 + sway[1] * 0.4), h * 0.3],
                    [s * w * 0.4, h * 0.5],
                ]
            )
        )
        layers.append(strap(rng, "polyester", path, rng.uniform(2.5, 5.5)))
        x, y = path[len(path) * 2 // 3]
        layers.append(
            Layer(
                str(rng.choice(["abs", "zinc"], p=[0.8, 0.2])),
                0.25,
                [
                    Part(rounded(x - 2, y - 1.5, x + 2, y + 1.5, 0.4)),
                    Part(rounded(x - 1.4, y - 0.9, x + 1.4, y + 0.9, 0.3), 0.1),
                ],
            )
        )
    teeth = str(rng.choice(["pvc", "brass"], p=[0.8, 0.2]))
    arc = body[(body[:, 1] < h * 0.1)] * 0.93
    layers.append(
        Layer(
            teeth,
            0.3 if teeth == "pvc" else 0.08,
            [Part(arc[np.argsort(np.arctan2(arc[:, 1], arc[:, 0] + 1e-9))], 1.0, 0.4)],
        )
    )
    layers += zip_pullers(rng, w * 0.9, h * 0.9, int(rng.integers(3, 9)))
    return Bag(layers, w * 0.9, h * 0.9, (0.2, 0.95), 0.75)


def holdall(rng: Rng) -> Bag:
    """Draw a sports bag, handbag or briefcase with handles."""
    w, h = rng.uniform(32, 56), rng.uniform(22, 36)
    stiff = rng.random() < 0.5
    outlines = frames_at(rng, w, h, rng.uniform(3, 8), 2, 0.06, 1.0)
    outline = outlines[0][:-2] if stiff else blob(rng, w * 0.52, h * 0.54, 11, 0.08)
    material = str(rng.choice(["leather", "coated_fabric", "nylon"], p=[0.25, 0.4, 0.35]))
    body = walls(outlines[0], outlines[1]) if stiff else [Part(outline, 0.8), Part(outline * 0.95, 0.6)]
    layers = [
        Layer(material, rng.uniform(0.7, 1.6), body, "soft"),
        Layer(
            material,
            rng.uniform(0.4, 0.9),
            [Part(closed(outline * s), 1.0, 0.45) for s in (1.0, 0.95)]
            + creases(rng, outline, int(rng.integers(6, 16))),
        ),
    ]
    if stiff:
        wires = [Part(frame, 1.0, 0.32) for frame in outlines]
        layers.append(Layer(str(rng.choice(["steel", "pvc"])), rng.uniform(0.12, 0.3), wires))
    lying = rng.random() < 0.3  # the handles lie on the bag
    for lift in rng.uniform(4, 11, 2) * (-1 if lying else 1):
        x, lean = rng.uniform(0.14, 0.24) * w, rng.normal(0, 2.5)
        top = -h / 2 - lift
        path = np.array(
            [
                [-x, -h * 0.3],
                [-x, -h * 0.45],
                [-0.75 * x + lean, top],
                [0.75 * x + lean, top],
                [x, -h * 0.45],
                [x, -h * 0.3],
            ]
        )
        layers.append(strap(rng, material, smooth(path, n=8), rng.uniform(0.9, 2.4)))
    rings = [Part(closed(ellipse(s * w * 0.2, -h * 0.42, 1.3, 1.0, n=12)), 1.0, 0.3) for s in (-1, 1)]
    zipper = smooth(np.array([[-w * 0.44, -h * 0.3], [0, -h * rng.uniform(0.2, 0.4)], [w * 0.44, -h * 0.3]]))
    layers += [
        Layer("zinc", 0.35, rings),
        Layer(str(rng.choice(["pvc", "brass"], p=[0.75, 0.25])), 0.1, [Part(zipper, 1.0, 0.4)]),
        *zip_pullers(rng, w * 0.9, h * 0.8, int(rng.integers(2, 8))),
    ]
    return Bag(layers, w * 0.9, h * 0.88, (0.2, 0.95), 0.75)


def tray(rng: Rng) -> Bag:
    """Draw a plastic tray or basket of the checkpoint, seen slightly from the side."""
    w, h = rng.uniform(28, 42), rng.uniform(40, 58)
    lean = rng.normal(0, 0.07, 2) * [w, h]
    floor_size = rng.uniform(0.40, 0.46)
    rim = rounded(-w / 2, -h / 2, w / 2, h / 2, 3)
    floor = rounded(-w * floor_size, -h * floor_size, w * floor_size, h * floor_size, 3) + lean
    lines = [Part(closed(o), 0.8, rng.uniform(0.3, 0.6)) for o in (rim, rim * 0.97, floor)]
    step = rng.uniform(1.6, 3.5)
    teeth = [
        Part(np.array([[s * w * 0.5, y], [s * w * 0.48, y]]), 0.6, 0.4)
        for y in np.arange(-h * 0.46, h * 0.46, step)
        for s in (-1, 1)
    ]
    if rng.random() < 0.4:  # ribs of the floor
        teeth += [
            Part(np.array([[0, 0], [0.4 * w * np.cos(a), 0.4 * h * np.sin(a)]]) + lean, 0.4, 0.3)
            for a in np.linspace(0, 2 * np.pi, 9)[:-1]
        ]
        teeth.append(Part(closed(ellipse(float(lean[0]), float(lean[1]), w * 0.14, n=20)), 0.5, 0.3))
    elif rng.random() < 0.5:  # a basket
        teeth += [
            Part(np.array([[x, -h * 0.43], [x, h * 0.43]]) + lean, 0.4, 0.35) for x in np.arange(-w * 0.4, w * 0.4, 2.4)
        ]
    return Bag(
        [
            Layer("polyethylene", rng.uniform(0.4, 0.9), [Part(rim), Part(floor, rng.uniform(0.5, 0.7))], "soft"),
            Layer("polyethylene", rng.uniform(0.6, 1.1), [*lines, *teeth]),
        ],
        w * 0.8,
        h * 0.82,
        (0.1, 0.7),
        0.1,
    )


def carton(rng: Rng) -> Bag:
    """Draw a cardboard or foam box with flaps and tape, seen from above and a little from the side."""
    w, h = rng.uniform(26, 50), rng.uniform(24, 44)
    corner = rng.normal(0, 0.11, 2) * [w, h]
    front = rectangle(-w / 2, -h / 2, w / 2, h / 2) + rng.normal(0, 0.5, (4, 2))
    back = front * rng.uniform(0.9, 1.0) + corner
    material, thickness = [
        ("cardboard", rng.uniform(1.5, 4.0)),
        ("paper", rng.uniform(0.4, 1.0)),
        ("polyethylene", rng.uniform(0.6, 1.4)),
    ][int(rng.choice(3, p=[0.3, 0.5, 0.2]))]
    edges = [Part(closed(o), 1.0, 0.3) for o in (front, back)]
    edges += [Part(np.stack([front[k], back[k]]), 1.0, 0.3) for k in range(4)]
    flaps = rng.uniform(-0.08, 0.08, 2) * w
    flutes = [
        Part(np.array([[x, -h * 0.48], [x + flaps[0] * 0.2, h * 0.48]]), 0.68, 0.25)
        for x in np.arange(-w * 0.47, w * 0.47, rng.uniform(1.5, 4.0))
    ]
    layers = [
        Layer(material, thickness, [*walls(front, back, 0.6, 0.75), *flutes, *edges], "grain3"),
        Layer("paper", 0.12, [Part(rectangle(-w / 2, -2.5 + flaps[0], w / 2, 2.5 + flaps[0]))]),
    ]
    if rng.random() < 0.25:
        staples = [
            Part(rectangle(x, -0.1, x + 1.2, 0.1) + [0, y]) for x, y in rng.uniform(-0.45, 0.45, (5, 2)) * [w, h]
        ]
        layers.append(Layer("steel", 0.1, staples))
    return Bag(layers, w * 0.92, h * 0.92, (0.2, 0.9), 0.8)


def carrier_bag(rng: Rng) -> Bag:
    """Draw a thin plastic or paper bag."""
    w, h = rng.uniform(24, 38), rng.uniform(26, 44)
    outline = blob(rng, w * 0.53, h * 0.53, 13, 0.14)
    if rng.random() < 0.5:  # its mouth is gathered
        outline = hull(np.concatenate([outline * [1, 0.85], blob(rng, w * 0.12, 2.0) + [rng.normal(0, 3), -h * 0.6]]))
    folds = [Part(smooth(rng.uniform(-0.5, 0.5, (4, 2)) * [w, h], n=4), rng.uniform(0.4, 1), 0.22) for _ in range(6)]
    folds += creases(rng, outline, int(rng.integers(6, 18)))
    path = smooth(
        np.array([[-w * 0.2, -h * 0.45], [-w * 0.12, -h * 0.68], [w * 0.12, -h * 0.68], [w * 0.2, -h * 0.45]])
    )
    return Bag(
        [
            Layer("polyethylene", rng.uniform(0.2, 0.7), [Part(outline)], "soft"),
            Layer("polyethylene", 0.25, [*folds, Part(closed(outline), 1.0, 0.35)]),
            strap(rng, "polyethylene", path, 2.0),
        ],
        w * 0.9,
        h * 0.9,
        (0.3, 1.2),
        0.5,
    )


BAGS: dict[Callable[[Rng], Bag], float] = {
    trolley: 0.47,
    backpack: 0.16,
    holdall: 0.12,
    tray: 0.03,
    carton: 0.12,
    carrier_bag: 0.10,
}
"""Kinds of bag, and their shares."""
