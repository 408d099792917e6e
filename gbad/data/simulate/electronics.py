"""Electronics that people pack, and their cables."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, ellipse, moved, rectangle, rod, rounded, shifted, smooth
from gbad.data.simulate.types import Rng


def cable(rng: Rng) -> list[Layer]:
    """Draw a cable: loose or coiled, with its plug."""
    if rng.random() < 0.5:
        n, r = int(rng.integers(12, 40)), rng.uniform(2.5, 6)
        t = np.linspace(0, n * 0.8, n * 5)
        wobble = 1 + 0.12 * np.sin(t * rng.uniform(0.3, 0.9)) + 0.01 * t
        path = np.stack([r * wobble * np.cos(t), r * rng.uniform(0.5, 1.0) * wobble * np.sin(t)], axis=1)
        path = path[: int(rng.integers(40, 110))]
    else:
        path = smooth(np.cumsum(rng.normal(0, 4.5, (int(rng.integers(5, 11)), 2)), axis=0), n=5)
        path -= path.mean(axis=0)
    wire = rng.uniform(0.10, 0.3)
    plug = path[0]
    return [
        Layer("copper", wire * 0.7, [Part(path, 1.0, wire * 1.2)]),
        Layer(
            "pvc",
            wire * 2,
            [
                Part(path, 1.0, wire * 2.5),
                Part(rounded(plug[0] - 1.6, plug[1] - 0.9, plug[0] + 1.6, plug[1] + 0.9, 0.4)),
            ],
        ),
        Layer("brass", 0.2, [Part(rectangle(plug[0] - 1.0, plug[1] - 0.5, plug[0] + 1.2, plug[1] + 0.5))]),
    ]


def charger(rng: Rng) -> list[Layer]:
    """Draw a power supply with coils, and its cord."""
    w, h = rng.uniform(2.2, 5.5), rng.uniform(1.8, 3.2)
    parts = [
        Part(rounded(x - 0.8, y - 0.7, x + 0.8, y + 0.7, 0.2), rng.uniform(0.4, 1))
        for x, y in rng.uniform(-0.6, 0.6, (4, 2)) * [w, h]
    ]
    return [
        Layer("abs", 1.0, [Part(rounded(-w, -h, w, h, 0.6))]),
        Layer("fr4", 0.3, [Part(rounded(-w * 0.85, -h * 0.8, w * 0.85, h * 0.8, 0.1))]),
        Layer("copper", rng.uniform(0.08, 0.3), parts),
        *cable(rng),
    ]


def circuit_board(rng: Rng, w: float, h: float, dense: float = 1.0) -> list[Layer]:
    """Draw a populated circuit board of 2w x 2h cm."""
    board = [Part(rectangle(-w, -h, w, h))]
    count = int(dense * rng.uniform(0.10, 0.22) * 4 * w * h) + 4
    centres = rng.uniform(-0.95, 0.95, (count, 2)) * [w, h]
    sizes = rng.exponential(0.45, (count, 2)) + 0.18
    values = rng.uniform(0.2, 1.0, count)
    chips = [
        Part(rectangle(x - a, y - b, x + a, y + b), v) for (x, y), (a, b), v in zip(centres, sizes, values, strict=True)
    ]
    third = count // 3
    layers = [
        Layer("fr4", rng.uniform(0.14, 0.3), board),
        Layer("copper", rng.uniform(0.08, 0.22), chips[:third]),
        Layer("steel", rng.uniform(0.08, 0.25), chips[third : 2 * third]),
        Layer("ceramic", rng.uniform(0.2, 0.6), chips[2 * third :]),
    ]
    pins = [
        Part(rectangle(x, y - 0.12, x + 0.12, y + 0.12)) for x in np.arange(-w * 0.8, w * 0.5, 0.35) for y in (h * 0.9,)
    ]
    return [*layers, Layer("solder", 0.05, pins)] if pins else layers


def laptop(rng: Rng) -> list[Layer]:
    """Draw a laptop: shell, screen, circuit board, battery cells, hinges, drive, fan."""
    w, h = rng.uniform(13, 18), rng.uniform(9.5, 12.5)
    shell = Layer(
        str(rng.choice(["aluminium", "abs"], p=[0.7, 0.3])), rng.uniform(0.25, 0.5), [Part(rounded(-w, -h, w, h, 0.8))]
    )
    screen = Layer("glass", rng.uniform(0.12, 0.25), [Part(rectangle(-w + 0.7, -h + 0.7, w - 0.7, h - 1.2))])
    cells = [
        Part(rounded(x, h * 0.25, x + w * 0.42, h * 0.9, 0.3), rng.uniform(0.8, 1))
        for x in np.arange(-w * 0.92, w * 0.8, w * 0.46)
    ]
    board = moved(circuit_board(rng, w * rng.uniform(0.6, 0.9), h * 0.42), (0, -h * 0.42), (1, -1))
    fan = Layer(
        "copper",
        0.25,
        [
            Part(ellipse(w * 0.6, -h * 0.5, 2.2, n=16), 0.6),
            Part(ellipse(w * 0.6, -h * 0.5, 0.7, n=10)),
            Part(rectangle(0, -h * 0.75, w * 0.6, -h * 0.65), 0.7),
        ],
    )
    hinges = Layer(
        "steel", 0.4, [Part(rectangle(s * w * 0.75 - 1.3, -h - 0.2, s * w * 0.75 + 1.3, -h + 0.8)) for s in (-1, 1)]
    )
    keys = Layer("abs", 0.4, [Part(rectangle(-w * 0.85, -h * 0.1, w * 0.85, h * 0.2), 0.8)])
    return [shell, screen, *board, Layer("cell", rng.uniform(0.35, 0.7), cells), fan, hinges, keys]


def phone(rng: Rng) -> list[Layer]:
    """Draw a telephone, tablet or power bank."""
    w, h = (
        (rng.uniform(3.3, 4.0), rng.uniform(6.5, 8)) if rng.random() < 0.7 else (rng.uniform(6, 9), rng.uniform(9, 12))
    )
    battery = Part(rounded(-w * 0.7, -h * 0.3, w * 0.6, h * 0.85, 0.3))
    return [
        Layer("aluminium", 0.2, [Part(rounded(-w, -h, w, h, 0.7))]),
        Layer("glass", 0.14, [Part(rounded(-w, -h, w, h, 0.7))]),
        Layer("cell", rng.uniform(0.3, 0.9), [battery]),
        *moved(circuit_board(rng, w * 0.8, h * 0.26), (0, -h * 0.62), thickness=0.7),
    ]


def device(rng: Rng) -> list[Layer]:
    """Draw a camera, radio, disk drive or other device in a case."""
    w, h = rng.uniform(4, 10), rng.uniform(3, 7)
    case = Layer(
        str(rng.choice(["abs", "aluminium"])),
        rng.uniform(0.3, 0.8),
        [Part(rounded(-w, -h, w, h, 0.8)), Part(rounded(-w + 0.4, -h + 0.4, w - 0.4, h - 0.4, 0.6), 0.7)],
    )
    layers = [case, *circuit_board(rng, w * 0.85, h * 0.85, dense=0.8)]
    if rng.random() < 0.5:
        x = rng.uniform(-0.4, 0.4) * w
        lens = [Part(ellipse(x, 0, h * s, n=18), v) for s, v in ((0.7, 0.5), (0.6, 1.0), (0.4, 0.6))]
        layers.append(Layer("glass", rng.uniform(0.6, 2.0), lens))
    if rng.random() < 0.5:
        layers.append(
            Layer(
                "cell",
                rng.uniform(0.5, 0.9),
                [p for y in (-0.5, 0.5) for p in shifted(rod(-w * 0.8, -w * 0.1, 0, 0.7, 2), 0, y * h)],
            )
        )
    return layers
