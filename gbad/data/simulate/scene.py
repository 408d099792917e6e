"""One simulated scan, with labels, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gbad.data.annotations import box_of
from gbad.data.arrays import Mask, Pixels
from gbad.data.labels import SIXRAY_CLASSES
from gbad.data.simulate.decoys import decoy
from gbad.data.simulate.frequencies import draw_labels
from gbad.data.simulate.geometry import Layer, Pose
from gbad.data.simulate.looks import LOOK_SHARES, LOOKS
from gbad.data.simulate.packing import PlacedBag, anywhere, lay_bags, pack
from gbad.data.simulate.physics import as_shown, detect
from gbad.data.simulate.render import bounds, render
from gbad.data.simulate.texture import textures
from gbad.data.simulate.threats import THREATS, threat
from gbad.data.simulate.types import Depth, Rng
from gbad.errors import DataError


@dataclass(frozen=True, eq=False)
class Scan:
    """One simulated image, with labels, boxes and masks.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3), uint8
        Image in pseudo-colours.
    raw : ndarray of shape (2, height, width), uint16
        Low and high channel; `gbad.data.simulate.physics.WHITE_LEVEL` is air.
    classes : tuple of str
        Classes in the image, each once.
    boxes : list of (class, xmin, ymin, xmax, ymax)
        One for each threat, in pixels; the pixel (0, 0) covers [0, 1) x [0, 1).
    masks : list of ndarray of shape (height, width), bool
        Silhouette of each threat within the image, in the order of `boxes`.
    visible_fraction : list of float
        Share of each silhouette that lies in the image and changes its lightness noticeably, in [0, 1].
    """

    image: Pixels
    raw: npt.NDArray[np.uint16]
    classes: tuple[str, ...]
    boxes: list[tuple[str, float, float, float, float]]
    masks: list[Mask]
    visible_fraction: list[float]


def simulate_image(
    seed: int,
    index: int,
    labels: Sequence[str] | None = None,
    size: int = 256,
    *,
    load: float = 1.0,
    remove_threats: bool = False,
) -> Scan:
    """Simulate one scan. The same arguments always give the same scan.

    Parameters
    ----------
    seed, index : int
        0 or more. Each pair gives another scan.
    labels : sequence of str, optional
        Classes of the threats (a class that is given twice occurs at least twice). An empty sequence gives a
        threat-free image. None draws classes with the frequencies of SIXray.
    size : int
        Longer side in pixels, at least 32.
    load : float
        Amount of harmless things in the bags, relative to the default. Below 1 threats are easier to see.
    remove_threats : bool
        Leave out the threats, and keep everything else: bags, contents, colours, noise and labels. A threat-free image
        has decoys in place of threats; these are left out as well. So labels have nothing to do with the images.

    Returns
    -------
    Scan

    Raises
    ------
    DataError
        If a class cannot be simulated, or a number is out of range.

    Examples
    --------
    >>> scan = simulate_image(seed=0, index=1, labels=["Knife"], size=64)
    >>> max(scan.image.shape), scan.classes, scan.boxes[0][0]
    (64, ('Knife',), 'Knife')
    """
    if size < 32:
        raise DataError(f"size {size}: simulated images need at least 32 pixels on the longer side.")
    if not 0 <= load <= 10:
        raise DataError(f"load {load}: it must be between 0 (empty bags) and 10.")
    if seed < 0 or index < 0:
        raise DataError(f"seed {seed}, index {index}: both must be 0 or more.")
    wanted = draw_labels(seed, index) if labels is None else tuple(labels)
    for label in wanted:
        if label not in THREATS:
            raise DataError(f"class {label!r} cannot be simulated; choose from {', '.join(THREATS)}.")
    # Separate random streams for scene, places, threats and noise: a threat must not change its surroundings.
    scene, places, contents, noise = (np.random.default_rng([seed, index, stream]) for stream in range(4))

    bags, width, height = lay_bags(scene, size)
    depth = np.zeros((2, height, width), dtype=np.float32)
    fields = textures(scene, width, height)
    for placed in bags:
        pack(scene, placed, depth, fields, load)

    boxes, masks, visible = [], [], []
    # A threat-free image holds decoys of classes drawn in the same way, in the same kind of place.
    for label in _instances(places, wanted or draw_labels(seed + 1, index)):
        item = threat(contents, label) if wanted else decoy(contents, label)
        patch, x0, y0 = _place(places, item, bags, depth)
        if remove_threats:
            continue
        mask, share = _truth(patch, x0, y0, depth)
        inside, window = _clip(patch, x0, y0, depth)
        depth[:, *window] += inside
        if wanted:
            boxes.append((label, *box_of(mask)))
            masks.append(mask)
            visible.append(share)

    look = LOOKS[int(noise.choice(len(LOOKS), p=LOOK_SHARES))]
    look = replace(look, steepness=look.steepness * float(np.exp(noise.normal(0, 0.15))))  # brightness and contrast
    photons = 10 ** noise.uniform(3.7, 4.7)
    raw = detect(depth, noise, photons=photons, blur=noise.uniform(0.04, 0.16), scatter=noise.uniform(0.001, 0.004))
    image = as_shown(raw, look, shift=noise.normal(0, 0.5), sharpness=noise.uniform(0.6, 1.3))
    classes = tuple(name for name in SIXRAY_CLASSES if name in wanted)
    return Scan(image, raw, classes, boxes, masks, visible)


def _instances(rng: Rng, labels: Sequence[str]) -> list[str]:
    """One object for each label, sometimes two or three."""
    return [label for label in labels for _ in range(1 + int(rng.choice(3, p=[0.84, 0.13, 0.03])))]


def _place(rng: Rng, item: list[Layer], bags: list[PlacedBag], depth: Depth) -> tuple[Depth, int, int]:
    """Put an item into one of the bags: the first of a few tries where enough of it can be seen.

    Returns
    -------
    patch : ndarray of shape (2, h, w), float32
        Optical depth of the item alone.
    x0, y0 : int
        Pixel of the image that ``patch[:, 0, 0]`` covers.
    """
    areas = np.array([placed.bag.width * placed.bag.height for placed in bags])
    best, best_share = None, 0.0
    for _ in range(10):
        placed = bags[int(rng.choice(len(bags), p=areas / areas.sum()))]
        tilt = min(abs(rng.normal(0, 0.24)), 1.0)
        axis = 0.0 if rng.random() < 0.4 else rng.uniform(0, np.pi)  # long things often turn about their length
        at = anywhere(rng, item, placed, rng.uniform(0, 2 * np.pi), tilt, axis)
        patch = _patch(item, at)
        share = _truth(*patch, depth)[1]
        if share > best_share:
            best, best_share = patch, share
        if share > 0.85:
            break
    if best is None:  # out of the image, or behind something opaque
        middle = np.array(depth.shape[:0:-1]) / 2
        best = _patch(item, Pose(at.matrix, middle, at.depth, at.stretch))
    return best


def _patch(item: list[Layer], at: Pose) -> tuple[Depth, int, int]:
    x0, y0, x1, y1 = bounds(item, at)
    patch = np.zeros((2, y1 - y0, x1 - x0), dtype=np.float32)
    render(item, at, patch, origin=(x0, y0))
    return patch, x0, y0


def _clip(patch: Depth, x0: int, y0: int, depth: Depth) -> tuple[Depth, tuple[slice, slice]]:
    """Part of a patch that lies within the image, and its place."""
    _, height, width = depth.shape
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = (
        max(low, high)
        for low, high in ((left, min(patch.shape[2], width - x0)), (top, min(patch.shape[1], height - y0)))
    )
    return patch[:, top:bottom, left:right], (slice(y0 + top, y0 + bottom), slice(x0 + left, x0 + right))


_SILHOUETTE = 0.05  # optical depth at the high energy
_NOTICEABLE = 0.05  # share of full lightness


def _truth(patch: Depth, x0: int, y0: int, depth: Depth) -> tuple[Mask, float]:
    """Mask of an item within the image, and the visible share of its whole silhouette."""
    inside, window = _clip(patch, x0, y0, depth)
    mask = np.zeros(depth.shape[1:], dtype=bool)
    if inside.size == 0:
        return mask, 0.0
    limit = min(_SILHOUETTE, 0.5 * float(inside[1].max()))  # in a tiny image a thin blade is paler than the limit
    silhouette = inside[1] > limit
    mask[window] = silhouette
    behind = depth[:, *window].mean(axis=0)
    change = np.exp(-0.5 * behind) * (1 - np.exp(-0.5 * inside.mean(axis=0)))
    return mask, float((silhouette & (change > _NOTICEABLE)).sum() / max(1, (patch[1] > limit).sum()))
