"""Shapes of hand guns."""

from __future__ import annotations

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, ellipse, rectangle, rounded, smooth, taper
from gbad.data.simulate.types import Rng


def pistol(rng: Rng) -> list[Layer]:
    """Draw a self-loading pistol: slide, barrel, frame, trigger guard, grip with magazine."""
    length = rng.uniform(14.5, 22)
    slide = rng.uniform(2.0, 3.0)
    grip = rng.uniform(7.0, 10.0)
    depth = rng.uniform(3.6, 4.8)
    slant = rng.uniform(0.12, 0.40) * grip
    slim = rng.random() < 0.25  # a bare thin barrel in front of the frame
    polymer = rng.random() < 0.35
    front = length * (rng.uniform(0.5, 0.6) if slim else 1.0)
    guard = length * rng.uniform(0.40, 0.46) + 0.6
    back = rng.uniform(0.2, 1.0)
    grip_outline = np.array(
        [[back, 0.6], [back + depth, 0.9], [back + depth - slant, grip], [back - slant, grip + 0.4]]
    )
    if not slim:
        grip_outline = np.insert(grip_outline, 4, [back - slant * 0.35 - 0.3, grip * 0.45], axis=0)
    inner = grip_outline.mean(axis=0) + (grip_outline - grip_outline.mean(axis=0)) * [0.62, 0.9]
    ring = np.array([[back + depth, 1.2], [back + depth, 3.2], [guard - 1.0, 3.5], [guard, 2.4], [guard, 1.1]])
    x = rng.uniform(0.38, 0.5) * length
    barrel = rng.uniform(0.5, 0.75)
    steel = [
        Part(rectangle(0.1 * length, 0, front * rng.uniform(0.72, 0.97), rng.uniform(1.1, 1.7)), 0.55),
        Part(smooth(ring, n=3), 0.5, rng.uniform(0.35, 0.55)),
        Part(
            smooth(np.array([[back + depth + 1.0, 1.2], [back + depth + 1.4, 2.1], [back + depth + 0.9, 2.9]]), n=3),
            0.6,
            0.4,
        ),
        Part(rounded(0, -slide, front, 0.1, 0.35), rng.uniform(0.4, 0.6)),
        Part(rectangle(0.3, -slide * 0.55, length, -slide * 0.55 + 2 * barrel), 0.95),
        Part(rectangle(x, -slide * 0.55 + 0.6 * barrel, length, -slide * 0.55 + 1.4 * barrel), 0.6),
        Part(rectangle(x - 2.2, -slide, x + 0.4, -slide * 0.45), 0.4),
        Part(rectangle(x, -0.2, front * 0.93, 0.35), 0.95),
        Part(taper((0.3, -slide - 0.4), (1.2, -slide), 0.3, 0.6), 0.7),
        Part(rectangle(length - 0.9, -slide * 0.55 - 0.9, length - 0.4, -slide * 0.55), 0.6),
        Part(smooth(np.array([[0.1, -0.9], [-0.9, -1.3], [-1.1, -1.9]]), n=3), 0.8, 0.5),
    ]
    if not polymer:
        steel.append(Part(grip_outline, rng.uniform(0.4, 0.55)))
    steel.append(Part(inner, rng.uniform(0.25, 0.45)))
    if rng.random() < 0.6:  # cartridges in the magazine
        top, bottom = inner[:2].mean(axis=0), inner[2:4].mean(axis=0)
        for share in np.linspace(0.12, 0.85, int(rng.integers(4, 8))):
            middle = top + (bottom - top) * share
            steel.append(
                Part(taper((middle[0] - 1.2, middle[1] + 0.2), (middle[0] + 1.3, middle[1] - 0.15), 0.8, 0.5), 0.65)
            )
    steel += [
        Part(ellipse(px, py, 0.28, n=8), 1.0) for px, py in ((back + depth, 0.7), (0.6 * length, 0.7), (1.2, 0.5))
    ]
    layers = [Layer("steel", rng.uniform(0.65, 1.2), steel)]
    scales = str(rng.choice(["abs", "wood", "nylon"]))
    layers.append(Layer(scales, rng.uniform(1.2, 2.4), [Part(grip_outline), Part(inner, 0.7)]))
    return layers


def revolver(rng: Rng) -> list[Layer]:
    """Draw a revolver: barrel, drum, frame, trigger guard, curved grip."""
    barrel = rng.uniform(5, 15)
    drum = rng.uniform(3.4, 4.4)
    bore = rng.uniform(0.75, 1.0)
    grip = rng.uniform(6.5, 10)
    curve = np.array(
        [
            [0.2, -0.5],
            [2.6, 1.9],
            [2.0, 2.0 + 0.35 * grip],
            [0.6, 1.5 + 0.75 * grip],
            [-2.4, 1.6 + 0.85 * grip],
            [-2.9, 1.0 + 0.6 * grip],
            [-1.2, 0.4 + 0.3 * grip],
            [-0.9, 0.2],
        ]
    )
    grip_outline = smooth(curve, closed=True, n=3)
    end = 2.2 + drum
    ring = np.array([[2.2, 2.0], [2.6, 3.7], [4.6, 4.2], [end, 3.3], [end + 0.3, 1.8]])
    chambers = [Part(rectangle(2.3, y - 0.45, end - 0.2, y + 0.45), 0.78) for y in (-0.7, 0.55, 1.6)]
    steel = [
        Part(
            smooth(
                np.array([[0, -1.9], [1.0, -2.4], [end + 1.0, -2.5], [end + 1.4, 1.6], [2.4, 2.6], [0.4, 1.5]]),
                closed=True,
                n=3,
            ),
            0.55,
        ),
        Part(smooth(ring, n=3), 0.5, rng.uniform(0.35, 0.55)),
        Part(smooth(np.array([[3.6, 2.0], [4.2, 2.9], [3.9, 3.6]]), n=3), 0.6, 0.4),
        Part(rectangle(end + 0.6, -1.5 - bore, end + barrel, -1.5 + bore), 0.85),
        Part(rectangle(end + 0.6, -1.5 - 0.4 * bore, end + barrel, -1.5 + 0.4 * bore), 0.6),
        Part(taper((end + barrel - 1.4, -1.6 - bore), (end + barrel - 0.2, -1.9 - bore), 0.3, 0.8), 0.6),
        Part(rounded(2.0, -1.5, end, 2.3, 0.5), 1.0),
        *chambers,
        Part(smooth(np.array([[0.6, -1.5], [-0.6, -2.5], [-1.5, -2.6]]), n=3), 0.7, 0.6),
        Part(np.concatenate([grip_outline, grip_outline[:1]]), 0.35, 0.5),
    ]
    if rng.random() < 0.6:
        steel.insert(0, Part(rectangle(end + 0.6, -0.4, end + barrel * rng.uniform(0.4, 0.95), 0.6), 0.6))
    steel += [Part(ellipse(px, py, 0.3, n=8), 1.0) for px, py in ((1.2, 0.4), (end + 0.6, 1.0), (0.2, 0.5 * grip))]
    handle = str(rng.choice(["wood", "rubber", "abs", "stainless"], p=[0.4, 0.25, 0.2, 0.15]))
    return [
        Layer("steel", rng.uniform(0.75, 1.5), steel),
        Layer(handle, 0.4 if handle == "stainless" else rng.uniform(1.6, 2.8), [Part(grip_outline)]),
    ]
