"""Parts of bags: inner space, frames, walls, rails, straps, zips, rivets, castors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gbad.data.simulate.geometry import Layer, Part, ellipse, rectangle, rounded, taper, turned
from gbad.data.simulate.types import Points, Rng


@dataclass(frozen=True)
class Bag:
    """An empty bag around the origin.

    Parameters
    ----------
    layers : list of Layer
        Shell, frame and fittings, in cm.
    width, height : float
        The inner space: a rectangle around the origin, in cm.
    fill : tuple of float
        Smallest and largest number of things per 100 cm^2 of inner space.
    soft : float
        Probability that clothes line the bag, in [0, 1].
    """

    layers: list[Layer]
    width: float
    height: float
    fill: tuple[float, float]
    soft: float


def closed(outline: Points) -> Points:
    """Repeat the first points at the end, for a stroke all the way round."""
    return np.concatenate([outline, outline[:2]])


def frames_at(
    rng: Rng, w: float, h: float, radius: float, count: int, offset: float = 0.035, warp: float = 0.0
) -> list[Points]:
    """Draw outlines of the same case at different heights above the belt: oblique rays shift and magnify them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides shift, growth and warp.
    w, h, radius : float
        Size and corner radius of the lowest outline, in cm.
    count : int
        Number of outlines.
    offset : float
        Standard deviation of the shift between the lowest and the highest one, as a share of the size.
    warp : float
        How far the sides are bent, in cm.
    """
    shift, growth = rng.normal(0, offset, 2) * [w, h], rng.uniform(-0.06, 0.06)
    base = rounded(-w / 2, -h / 2, w / 2, h / 2, radius, 5)
    if warp:
        base = np.insert(base, [5, 10, 15, 20], (base[[4, 9, 14, 19]] + base[[5, 10, 15, 0]]) / 2, axis=0)
        phase = rng.uniform(0, 2 * np.pi, 4)
        base = base + warp * np.sin(base[:, ::-1] * [2.6 / h, 2.6 / w] + phase[:2])
        base = base + 0.3 * warp * np.sin(base[:, ::-1] * [9 / h, 9 / w] + phase[2:])
    shares = [k / max(1, count - 1) for k in range(count)]
    return [closed(base * (1 + growth * share) + shift * share) for share in shares]


def hull(points: Points) -> Points:
    """Convex hull, in order."""
    ordered = sorted(map(tuple, points.tolist()))
    chains = []
    for line in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in line:
            while len(chain) > 1 and (chain[-1][0] - chain[-2][0]) * (p[1] - chain[-2][1]) <= (
                chain[-1][1] - chain[-2][1]
            ) * (p[0] - chain[-2][0]):
                chain.pop()
            chain.append(p)
        chains += chain[:-1]
    return np.array(chains)


def walls(front: Points, back: Points, face: float = 0.55, side: float = 0.8) -> list[Part]:
    """Draw a hollow case: its side walls are seen from within, and darker than the front and back face together."""
    low, high = np.maximum(front.min(axis=0), back.min(axis=0)), np.minimum(front.max(axis=0), back.max(axis=0))
    (x0, y0), (x1, y1) = low.tolist(), high.tolist()
    inner = rounded(x0, y0, x1, y1, 4.0)
    return [Part(hull(np.concatenate([front, back])), side), Part(inner, face)]


def ribbon(path: Points, width: float) -> Points:
    """Outline of a flat band along a curve."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    side = along[:, ::-1] * [-0.5 * width, 0.5 * width]
    return np.concatenate([path + side, (path - side)[::-1]])


def strap(rng: Rng, material: str, path: Points, width: float) -> Layer:
    """Draw thin webbing with hemmed edges."""
    band = ribbon(path, width)
    n = len(path)
    hems = [Part(edge, 1.0, 0.22) for edge in (band[:n], band[n:])]
    return Layer(material, rng.uniform(0.3, 0.7), [Part(band, rng.uniform(0.2, 0.5)), *hems])


def creases(rng: Rng, outline: Points, count: int) -> list[Part]:
    """Draw folds of a soft wall: thin lines that follow a stretch of the outline further in or out."""
    n = len(outline)
    starts, lengths = rng.integers(n, size=count), (n * rng.uniform(0.12, 0.45, count)).astype(int) + 3
    shrinks, looks = rng.uniform(0.78, 1.03, (count, 2)), rng.uniform((0.5, 0.2), (1.0, 0.45), (count, 2)).tolist()
    wobble = rng.normal(0, 0.35, (n + 3, 2))
    parts = []
    for start, length, (s0, s1), (value, width) in zip(starts, lengths, shrinks, looks, strict=True):
        at = np.arange(start, start + length) % n
        line = outline[at] * np.linspace(s0, s1, length)[:, None] + wobble[:length]
        parts.append(Part(line, value, width))
    return parts


def rails(rng: Rng, w: float, h: float) -> list[Layer]:
    """Draw the two tubes that hold the handle of a trolley, with darker edges, sometimes with the handle pulled out."""
    material = str(rng.choice(["aluminium", "steel"], p=[0.85, 0.15]))
    gap, broad = rng.uniform(0.13, 0.24) * w, rng.uniform(1.5, 3.6)
    top, bottom = -h * rng.uniform(0.46, 0.5), h * rng.uniform(0.3, 0.49)
    slant, apart, aside = rng.normal(0, 1.4), rng.normal(0, 0.6), rng.normal(0, 0.05) * w
    bars, edges, holes = [], [], []
    for s in (-1, 1):
        start, stop = (s * gap + aside, top), (s * (gap + apart) + slant + aside, bottom)
        bar = taper(start, stop, broad, broad * rng.uniform(0.85, 1.0))
        bars.append(Part(bar, 0.6))
        edges += [Part(bar[[0, 1]], 1.0, 0.28), Part(bar[[3, 2]], 1.0, 0.28)]
        holes.append(Part(ellipse(*stop, 0.5, n=8)))
    if rng.random() < 0.25:  # a perforated strip between them
        x = aside + slant / 2
        edges += [Part(rectangle(x - 0.3, y, x + 0.3, y + 0.9), 0.5) for y in np.arange(top * 0.9, bottom * 0.9, 1.8)]
    thickness = rng.uniform(0.12, 0.26) * (2.0 if material == "aluminium" else 1.0)
    layers = [Layer(material, thickness, [*bars, *edges, *holes])]
    out = rng.uniform(8, 26) if rng.random() < 0.12 else 0.0
    left, right = aside - gap, aside + gap
    if out:
        rod = np.array([[left, top], [left, top - out], [right, top - out], [right, top]])
        layers.append(Layer("aluminium", 0.25, [Part(rod, 1.0, 0.9)]))
    grip = rounded(left - 2, top - out - 1.3, right + 2, top - out + 1.0, 0.9)
    layers.append(Layer("abs", 1.2, [Part(grip), Part(grip * [0.93, 1] + [0.07 * aside, 0.4], 0.5)]))
    return layers


def screws(rng: Rng, spots: Points) -> list[Part]:
    """Draw screws from the side, a head on a shaft, at the given places."""
    turns, lengths = rng.uniform(0, 2 * np.pi, len(spots)), rng.uniform(0.7, 1.6, (len(spots), 1))
    head, spots = np.stack([np.cos(turns), np.sin(turns)], axis=1), spots[:, None, :]
    shafts = spots + (lengths * head[:, ::-1] * [-1, 1])[:, None, :] * [[0.0], [1.0]]
    heads = spots + head[:, None, :] * [[-0.55], [0.55]]
    return [Part(line, 0.7, 0.32) for line in shafts] + [Part(line, 1.0, 0.4) for line in heads]


def rivets(rng: Rng, outline: Points, count: int) -> Layer:
    """Draw screws and rivets along an outline, from above (round) or from the side (a head on a shaft)."""
    parts = []
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(outline, axis=0).T))])
    places = rng.uniform(0, along[-1], count)
    spots = np.stack([np.interp(places, along, outline[:, k]) for k in range(2)], axis=1)
    spots *= rng.uniform(0.8, 1.0, (count, 1))
    upright = int(0.4 * count)
    parts = [Part(ellipse(x, y, 0.4, n=8)) for x, y in spots[:upright].tolist()]
    return Layer("steel", rng.uniform(0.25, 0.6), parts + screws(rng, spots[upright:]))


def zip_pullers(rng: Rng, w: float, h: float, count: int) -> list[Layer]:
    """Draw sliders with pullers of metal or plastic, on the rim or where pockets are; those of one bag are alike."""
    along, turns = rng.uniform(-0.5, 0.5, count).tolist(), rng.uniform(0, 2 * np.pi, count).tolist()
    sides = rng.integers(6, size=count)
    length, broad, value = rng.uniform(1.4, 3.0), rng.uniform(0.25, 0.6), rng.uniform(0.5, 1.0)
    shapes = [
        Part(taper((0, 0), (0.9, 0), 0.9, 0.6), 0.9),
        Part(rounded(0.8, -broad, 0.8 + length, broad, 0.3), value),
    ]
    if rng.random() < 0.5:
        shapes.append(Part(rounded(1.2, -broad * 0.5, 0.5 + length, broad * 0.5, 0.2), 0.1))
    parts = []
    for share, turn, side in zip(along, turns, sides, strict=True):
        at = (
            (share * w, -h / 2),
            (share * w, h / 2),
            (-w / 2, share * h),
            (w / 2, share * h),
            (share * w, h * 0.2),
            (share * w, -h * 0.2),
        )[side]
        parts += [Part(turned(p.points, turn) + at, p.value) for p in shapes]
    material = ("zinc", "zinc", "brass", "aluminium", "pvc")[int(rng.integers(5))]
    return [Layer(material, rng.uniform(0.12, 0.35), parts)]


def castors(rng: Rng, places: list[tuple[float, float]], outwards: float) -> list[Layer]:
    """Draw castors of one case: a pair of plastic discs on a short steel axle, under a plastic housing with screws.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides size and how the castors have swivelled.
    places : list of (x, y)
        Where they are fixed to the case.
    outwards : float
        1 if they stick out to growing y, -1 if to falling y.
    """
    r, thick = rng.uniform(2.0, 3.0), rng.uniform(1.4, 2.6)
    tyres, hubs, housings, metal = [], [], [], []
    for x, y in places:
        swivel, seen = rng.normal(0, 0.5), rng.uniform(0.3, 1.0)  # how much of the disc's face is seen
        middle = np.array([x + rng.normal(0, 0.3), y + outwards * rng.uniform(0.8, 1.3) * r])
        apart, disc = 0.6 * r * (1.2 - seen), turned(ellipse(0, 0, r * seen, r, n=14), swivel)
        across = turned(np.array([[1.0, 0.0], [0.0, 1.0]]), swivel)  # along the axle, and along the disc
        for s in (-1, 1):
            at = middle + s * apart * across[0]
            tyres += [Part(disc + at, 1.0), Part(disc * 0.75 + at, 0.65)]
            end = middle + s * (apart + 0.2 * r) * across[0]
            metal.append(Part(end + across[1] * [[-0.35], [0.35]], 0.9, 0.36))
        metal.append(Part(middle + (apart + 0.2 * r) * across[0] * [[-1], [1]], 0.9, 0.36))
        hubs.append(Part(taper((x, y - outwards * 0.8 * r), (float(middle[0]), float(middle[1])), 1.7 * r, 0.9 * r)))
        housings.append(Part(ellipse(x, y - outwards * 0.4 * r, 1.1 * r, 0.9 * r, n=14), 0.6))
    fixed = np.array(places) - [0, outwards * 0.5 * r]
    metal += screws(rng, np.repeat(fixed, 2, axis=0) + rng.normal(0, 0.5 * r, (2 * len(places), 2)))
    return [
        Layer("rubber" if rng.random() < 0.55 else "abs", thick, tyres),
        Layer("abs", rng.uniform(0.6, 1.1), [*housings, *hubs]),
        Layer("steel", rng.uniform(0.2, 0.55), metal),
    ]
