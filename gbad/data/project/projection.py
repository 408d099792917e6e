"""Project a patch into a bag: transmittances along a ray multiply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from gbad.data.annotations import Box, box_of
from gbad.data.arrays import Mask, Pixels

_NOTICEABLE = 12  # levels of 255, in the channel that changes most
_ON_BAG = 0.95
_VISIBLE = 0.6
_TRIES = 12


@dataclass(frozen=True, eq=False)
class Placement:
    """A patch and its place.

    Parameters
    ----------
    patch : ndarray of shape (h, w, 3), uint8
        Darkness.
    x, y : int
        Pixel of the image that ``patch[0, 0]`` covers.
    """

    patch: Pixels
    x: int
    y: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the patch covers."""
        return slice(self.y, self.y + self.patch.shape[0]), slice(self.x, self.x + self.patch.shape[1])


@dataclass(frozen=True, eq=False)
class Truth:
    """Visible part of one patch in the finished image.

    Parameters
    ----------
    mask : ndarray of shape (height, width), bool
        Pixels of the bag that the patch alone would change by at least one level.
    box : (float, float, float, float)
        xmin, ymin, xmax, ymax; the pixel (0, 0) covers [0, 1) x [0, 1).
    visible : float
        Share of the mask where the finished image would differ noticeably without the patch, in [0, 1].
    """

    mask: Mask
    box: Box
    visible: float


def multiply(image: Pixels, darkness: Pixels) -> Pixels:
    """Give ``image * (1 - darkness)``; both uint8 of equal shape, darkness 255 = opaque.

    Examples
    --------
    >>> multiply(np.uint8([200]), np.uint8([51])).tolist()
    [160]
    """
    product = image.astype(np.uint16) * (255 - darkness.astype(np.uint16))
    return ((product + 127) // 255).astype(np.uint8)


def pose_patch(patch: Pixels, rng: np.random.Generator, scale: float) -> Pixels:
    """Flip, foreshorten, scale and turn a darkness patch at random. New pixels are 0.

    Parameters
    ----------
    patch : ndarray of shape (h, w, 3), uint8
    rng : numpy.random.Generator
    scale : float
        Pixels of the result per pixel of the patch.

    Returns
    -------
    ndarray of shape (h', w', 3), uint8
    """
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    factors = scale * np.array([1.0, rng.uniform(0.8, 1.0)])[rng.permutation(2)]
    height, width = patch.shape[:2]
    size = (max(2, round(width * factors[1])), max(2, round(height * factors[0])))
    image = Image.fromarray(np.ascontiguousarray(patch)).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    image = image.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    return np.asarray(image)


def background(image: Pixels) -> npt.NDArray[np.float64]:
    """Colour of the belt: median of the brighter half of the border, float64 (3,) in [0, 255]."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(int)
    lightness = border.sum(axis=1)
    return np.asarray(np.median(border[lightness >= np.median(lightness)], axis=0))


def foreground(image: Pixels) -> Mask:
    """Whether a pixel differs from the background: bool (height, width)."""
    return np.asarray(np.abs(image - background(image)).max(axis=2) > 14)


def place(image: Pixels, patch: Pixels, rng: np.random.Generator, on: Mask | None = None) -> Placement:
    """Find a place for a patch where it lies on the bag and can be seen.

    Several random places are tried. The first is taken where 95 % of the patch lies on the bag and 60 % of the patch
    changes the image noticeably, or else the best one.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3), uint8
    patch : ndarray of shape (h, w, 3), uint8
        Darkness. It is shrunk if it is larger than the image.
    rng : numpy.random.Generator
    on : ndarray of shape (height, width), bool, optional
        Pixels of the bag; by default `foreground` of the image.
    """
    height, width = image.shape[:2]
    on = foreground(image) if on is None else on
    shrink = min(1.0, 0.9 * height / patch.shape[0], 0.9 * width / patch.shape[1])
    if shrink < 1:
        size = (max(1, int(patch.shape[1] * shrink)), max(1, int(patch.shape[0] * shrink)))
        patch = np.asarray(Image.fromarray(patch).resize(size, Image.Resampling.BILINEAR))
    h, w = patch.shape[:2]
    silhouette = patch.max(axis=2) > 0
    area = max(1, int(silhouette.sum()))
    centres = np.argwhere(on)
    best, best_score = Placement(patch, 0, 0), -1.0
    for _ in range(_TRIES):
        at = centres[int(rng.integers(len(centres)))] if len(centres) else np.array([height // 2, width // 2])
        y, x = int(np.clip(at[0] - h // 2, 0, height - h)), int(np.clip(at[1] - w // 2, 0, width - w))
        tried = Placement(patch, x, y)
        window = image[tried.window]
        inside = (on[tried.window] & silhouette).sum() / area
        visible = (silhouette & (_change(window, multiply(window, patch)) >= _NOTICEABLE)).sum() / area
        score = min(1.0, inside / _ON_BAG) + min(1.0, visible / _VISIBLE)
        if score > best_score:
            best, best_score = tried, score
        if score >= 2:
            break
    return best


def project(image: Pixels, placement: Placement) -> Pixels:
    """Multiply a placed patch into a copy of an image, uint8 (height, width, 3)."""
    result = image.copy()
    result[placement.window] = multiply(image[placement.window], placement.patch)
    return result


def truth(bag: Pixels, placements: Sequence[Placement], which: int) -> Truth:
    """Measure what can be seen of one patch in the image with all patches.

    Parameters
    ----------
    bag : ndarray of shape (height, width, 3), uint8
        Image before any patch.
    placements : sequence of Placement
        All patches of the image, threats or not.
    which : int
        Number of the patch.
    """
    of = placements[which]
    without = bag
    for number, other in enumerate(placements):
        if number != which:
            without = project(without, other)
    mask = (project(bag, of) != bag).any(axis=2)
    change = _change(without[of.window], multiply(without[of.window], of.patch))
    seen = (change >= _NOTICEABLE) & mask[of.window]
    height, width = of.patch.shape[:2]
    behind_opaque = (float(of.x), float(of.y), float(of.x + width), float(of.y + height))
    return Truth(mask, box_of(mask) if mask.any() else behind_opaque, float(seen.sum() / max(1, mask.sum())))


def _change(before: Pixels, after: Pixels) -> npt.NDArray[np.int64]:
    """Levels by which an image became darker, in the channel that changes most: int64 (h, w)."""
    return np.asarray((before.astype(int) - after).max(axis=2))
