"""Bags, cases, boxes and trays, empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.bag_parts import Bag, frames_at, wheel, zip_pullers
from gbad.data.simulate.geometry import Layer, Part, blob, ellipse, rectangle, rounded, smooth

Rng = np.random.Generator


def trolley(rng: Rng) -> Bag:
    """Draw a wheeled case with two rails, a handle, a frame and four wheels."""
    w, h = rng.uniform(33, 48), rng.uniform(48, 68)
    outlines = frames_at(rng, w, h, rng.uniform(3, 7), 3)
    hard = rng.random() < 0.5
    shell_material = (
        str(rng.choice(["polycarbonate", "abs", "pvc", "aluminium"], p=[0.4, 0.3, 0.2, 0.1]))
        if hard
        else str(rng.choice(["coated_fabric", "nylon"], p=[0.75, 0.25]))
    )
    thickness = {"aluminium": rng.uniform(0.15, 0.3)}.get(shell_material, rng.uniform(0.8, 1.8))
    layers = [Layer(shell_material, thickness * 0.5, [Part(frame, 1.0)]) for frame in outlines[::2]]
    layers.append(
        Layer(
            shell_material,
            thickness * (1.6 if hard else 1.0),
            [Part(frame, 0.9, rng.uniform(0.8, 2.2)) for frame in outlines[::2]],
        )
    )
    wire = str(rng.choice(["steel", "aluminium", "pvc"], p=[0.5, 0.25, 0.25]))
    wires = [Part(frame, rng.uniform(0.6, 1), rng.uniform(0.25, 0.6)) for frame in outlines]
    layers.append(Layer(wire, rng.uniform(0.15, 0.4), wires))
    if hard:  # ribs of the shell
        ribs = [
            Part(np.array([[x, -h * 0.44], [x, h * 0.44]]), 0.6, 0.35)
            for x in np.linspace(-w * 0.4, w * 0.4, int(rng.integers(4, 11)))
        ]
        layers.append(Layer(shell_material, 0.35, ribs))
    rails = str(rng.choice(["aluminium", "steel", "none"], p=[0.5, 0.38, 0.12]))
    if rails != "none":
        gap, broad = rng.uniform(0.13, 0.22) * w, rng.uniform(1.6, 3.2)
        slant = rng.normal(0, 1.2)
        bars, edges = [], []
        for s in (-1, 1):
            x = s * gap
            bars.append(
                Part(
                    np.array(
                        [
                            [x - broad / 2, -h * 0.48],
                            [x + broad / 2, -h * 0.48],
                            [x + broad / 2 + slant, h * 0.46],
                            [x - broad / 2 + slant, h * 0.46],
                        ]
                    )
                )
            )
            edges += [
                Part(np.array([[x + k * broad / 2, -h * 0.48], [x + k * broad / 2 + slant, h * 0.46]]), 1.0, 0.25)
                for k in (-1, 1)
            ]
        strength = rng.uniform(0.10, 0.24) * (2.2 if rails == "aluminium" else 1.0)
        layers += [Layer(rails, strength, bars), Layer(rails, strength, edges)]
        if rng.random() < 0.2:  # handle pulled out
            out = rng.uniform(8, 26)
            rod = np.array([[-gap, -h / 2], [-gap, -h / 2 - out], [gap, -h / 2 - out], [gap, -h / 2]])
            layers += [Layer("aluminium", 0.3, [Part(rod, 1.0, 1.1)]), Layer("abs", 1.4, [Part(rod[1:3], 1.0, 2.6)])]
        else:
            layers.append(Layer("abs", 1.6, [Part(rounded(-gap - 2, -h / 2 - 1.8, gap + 2, -h / 2 + 1.2, 1.0))]))
    for s in (-1, 1):
        corners = (h / 2, -h / 2) if rng.random() < 0.35 else (h / 2,)
        for end in corners:
            y, r = end + np.sign(end) * rng.uniform(0.5, 2), rng.uniform(2.0, 3.0)
            x = s * w * 0.40
            layers += wheel(rng, x, y, r, float(np.sign(end)))
    screws = [Part(ellipse(x, y, 0.42, n=8)) for x, y in rng.uniform(-0.5, 0.5, (int(rng.integers(8, 22)), 2)) * [w, h]]
    layers += [Layer("steel", rng.uniform(0.3, 0.7), screws), *zip_pullers(rng, w, h, int(rng.integers(2, 6)))]
    return Bag(layers, w * 0.92, h * 0.92, (0.2, 1.0), 0.8)


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
        + rng.normal(0, 0.8, (8, 2)),
        closed=True,
        n=4,
    )
    fabric = str(rng.choice(["nylon", "coated_fabric", "cotton"]))
    density = {"nylon": 0.45, "coated_fabric": 0.8, "cotton": 1.5}[fabric]
    pocket = body * [0.8, 0.45] + [0, h * 0.2]
    layers = [
        Layer(fabric, density, [Part(body), Part(body * 0.95, 0.8)], "cloth"),
        Layer(fabric, density * 0.8, [Part(pocket), Part(pocket * 0.95, 0.6)], "cloth2"),
        Layer(fabric, density * 1.5, [Part(np.concatenate([o, o[:1]]), 1.0, 0.5) for o in (body, body * 0.97, pocket)]),
    ]
    for s in (-1, 1):
        sway = rng.uniform(0.3, 1.0, 3)
        strap = smooth(
            np.array(
                [
                    [s * w * 0.15, -h * 0.45],
                    [s * w * 0.5 * (1 + sway[0] * 0.4), -h * 0.2],
                    [s * w * (0.4 + sway[1] * 0.4), h * 0.3],
                    [s * w * 0.4, h * 0.5],
                ]
            )
        )
        layers.append(Layer("polyester", rng.uniform(0.8, 2.0), [Part(strap, 1.0, 4.5), Part(strap, 0.7, 3.6)]))
        x, y = strap[len(strap) * 2 // 3]
        layers.append(
            Layer(
                str(rng.choice(["abs", "zinc"])),
                0.4,
                [
                    Part(rounded(x - 2, y - 1.5, x + 2, y + 1.5, 0.4)),
                    Part(rounded(x - 1.4, y - 0.9, x + 1.4, y + 0.9, 0.3), 0.1),
                ],
            )
        )
    teeth = str(rng.choice(["pvc", "brass"]))
    arc = body[(body[:, 1] < h * 0.1)] * 0.93
    layers.append(
        Layer(
            teeth,
            0.25 if teeth == "pvc" else 0.12,
            [Part(arc[np.argsort(np.arctan2(arc[:, 1], arc[:, 0] + 1e-9))], 1.0, 0.5)],
        )
    )
    layers += zip_pullers(rng, w * 0.9, h * 0.9, int(rng.integers(2, 7)))
    return Bag(layers, w * 0.85, h * 0.85, (0.25, 1.0), 0.5)


def holdall(rng: Rng) -> Bag:
    """Draw a sports bag, handbag or briefcase with handles."""
    w, h = rng.uniform(32, 56), rng.uniform(22, 34)
    stiff = rng.random() < 0.4
    outline = (
        rounded(-w / 2, -h / 2, w / 2, h / 2, rng.uniform(3, 8)) if stiff else blob(rng, w * 0.52, h * 0.54, 11, 0.08)
    )
    closed = np.concatenate([outline, outline[:1]])
    material = str(rng.choice(["leather", "coated_fabric", "nylon"]))
    layers = [
        Layer(material, rng.uniform(0.6, 1.4), [Part(outline), Part(outline * 0.96, 0.8)], "cloth"),
        Layer(material, 1.0, [Part(closed, 1.0, 0.7), Part(closed * 0.95, 0.8, 0.4)]),
    ]
    if stiff:
        layers.append(
            Layer(
                str(rng.choice(["steel", "pvc"])),
                rng.uniform(0.12, 0.3),
                [Part(f, 1.0, 0.35) for f in frames_at(rng, w, h, 5.0, 2)],
            )
        )
    for lift in rng.uniform(5, 13, 2):
        handle = smooth(
            np.array(
                [[-w * 0.2, -h * 0.42], [-w * 0.12, -h / 2 - lift], [w * 0.12, -h / 2 - lift], [w * 0.2, -h * 0.42]]
            )
        )
        layers.append(Layer(material, 1.3, [Part(handle, 1.0, 2.0)]))
    rings = [
        Part(np.concatenate([o := ellipse(s * w * 0.2, -h * 0.42, 1.6, 1.2, n=12), o[:1]]), 1.0, 0.4) for s in (-1, 1)
    ]
    layers += [
        Layer("zinc", 0.4, rings),
        Layer("brass", 0.12, [Part(np.array([[-w * 0.42, -h * 0.3], [w * 0.42, -h * 0.3]]), 1.0, 0.5)]),
        *zip_pullers(rng, w * 0.9, h * 0.8, int(rng.integers(1, 6))),
    ]
    return Bag(layers, w * 0.86, h * 0.84, (0.25, 1.0), 0.5)


def tray(rng: Rng) -> Bag:
    """Draw a plastic tray or basket of the checkpoint, seen slightly from the side."""
    w, h = rng.uniform(30, 40), rng.uniform(42, 56)
    lean = rng.normal(0, 0.05, 2) * [w, h]
    rim, floor = rounded(-w / 2, -h / 2, w / 2, h / 2, 3), rounded(-w * 0.42, -h * 0.43, w * 0.42, h * 0.43, 3) + lean
    thickness = rng.uniform(0.25, 0.45)
    walls = [Part(rim), Part(floor, 0.55)]
    lines = [Part(np.concatenate([o, o[:1]]), 1.0, 0.7) for o in (rim, floor)]
    step = rng.uniform(1.6, 3.0)
    teeth = [
        Part(np.array([[s * w * 0.5, y], [s * w * 0.47, y]]), 0.8, 0.5)
        for y in np.arange(-h * 0.46, h * 0.46, step)
        for s in (-1, 1)
    ]
    if rng.random() < 0.5:
        teeth += [
            Part(np.array([[0, 0], [0.4 * w * np.cos(a), 0.4 * h * np.sin(a)]]) + lean, 0.5, 0.3)
            for a in np.linspace(0, 2 * np.pi, 9)[:-1]
        ]
        teeth.append(
            Part(np.concatenate([o := ellipse(float(lean[0]), float(lean[1]), w * 0.14, n=20), o[:1]]), 0.6, 0.4)
        )
    if rng.random() < 0.35:  # a basket
        teeth += [
            Part(np.array([[x, -h * 0.43], [x, h * 0.43]]) + lean, 0.5, 0.35) for x in np.arange(-w * 0.4, w * 0.4, 2.4)
        ]
    return Bag(
        [
            Layer("polyethylene", thickness * 3, walls),
            Layer("polyethylene", 1.0, lines),
            Layer("polyethylene", 0.8, teeth),
        ],
        w * 0.8,
        h * 0.82,
        (0.1, 0.7),
        0.1,
    )


def carton(rng: Rng) -> Bag:
    """Draw a cardboard or foam box with flaps and tape."""
    w, h = rng.uniform(26, 48), rng.uniform(24, 42)
    corner = rng.normal(0, 0.06, 2) * [w, h]
    front, back = rectangle(-w / 2, -h / 2, w / 2, h / 2), rectangle(-w * 0.47, -h * 0.47, w * 0.47, h * 0.47) + corner
    sides = [np.stack([front[k], front[(k + 1) % 4], back[(k + 1) % 4], back[k]]) for k in range(4)]
    material, thickness = (
        ("cardboard", rng.uniform(2.5, 5.0)) if rng.random() < 0.75 else ("polyethylene", rng.uniform(0.3, 0.6))
    )
    layers = [
        Layer(material, thickness, [Part(front)], "cloth"),
        Layer(material, thickness * 1.4, [Part(side) for side in sides]),
        Layer("paper", 0.25, [Part(rectangle(-w / 2, -1.5 + corner[1], w / 2, 1.5 + corner[1]))]),
    ]
    if rng.random() < 0.4:
        layers.append(
            Layer(
                "steel",
                0.1,
                [Part(rectangle(x, -0.1, x + 1.2, 0.1) + [0, y]) for x, y in rng.uniform(-0.45, 0.45, (5, 2)) * [w, h]],
            )
        )
    return Bag(layers, w * 0.88, h * 0.88, (0.25, 1.0), 0.45)


def carrier_bag(rng: Rng) -> Bag:
    """Draw a thin plastic or paper bag."""
    w, h = rng.uniform(24, 36), rng.uniform(26, 40)
    outline = blob(rng, w * 0.53, h * 0.53, 13, 0.12)
    folds = [Part(smooth(rng.uniform(-0.5, 0.5, (4, 2)) * [w, h], n=4), rng.uniform(0.4, 1), 0.25) for _ in range(8)]
    handle = smooth(
        np.array([[-w * 0.2, -h * 0.45], [-w * 0.12, -h * 0.68], [w * 0.12, -h * 0.68], [w * 0.2, -h * 0.45]])
    )
    return Bag(
        [
            Layer("polyethylene", 0.25, [Part(outline)], "cloth"),
            Layer(
                "polyethylene",
                0.2,
                [*folds, Part(np.concatenate([outline, outline[:1]]), 1.0, 0.4), Part(handle, 0.6, 2.0)],
            ),
        ],
        w * 0.8,
        h * 0.8,
        (0.3, 1.2),
        0.3,
    )


BAGS: dict[Callable[[Rng], Bag], float] = {
    trolley: 0.50,
    backpack: 0.18,
    holdall: 0.12,
    tray: 0.05,
    carton: 0.08,
    carrier_bag: 0.07,
}
"""Kinds of bag, and how often."""
