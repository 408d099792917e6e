"""Regions of images: squares, cut from the files or from smaller copies, for each place that may hold a threat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Pixels, Rows
from gbad.data.original import Original, cut_region
from gbad.data.source import ImageSource, opened
from gbad.errors import DataError, ImageError

USUAL_SIDE = 384
"""Longer side in pixels of a usual image from which regions are cut; larger files are scaled down.

A region of 128 px is then a third of the image, so that most threats fit into it. At the full resolution of files of
640 px it would be a fifth: smaller than half of the threats of SIXray's scanners.
"""

_SAMPLE = 200  # images whose sizes say how large the images of a list are
_OPEN = 16  # decoded images that wait for their next region: the regions of an image come one after the other


@dataclass(frozen=True)
class RegionShape:
    """How regions are cut, the same for all images: scanners give things of equal size equally many pixels.

    Attributes
    ----------
    size : int
        Side of a region in pixels, as a classifier sees it.
    side : float
        Its side in pixels of the image file.
    extent : float
        Its side as a share of the longer side of a usual image, in (0, 1].
    """

    size: int
    side: float
    extent: float


def region_shape(source: ImageSource, size: int) -> RegionShape:
    """Choose how regions of a list's images are cut.

    Regions have the resolution of the files, unless the median of the longer sides is above `USUAL_SIDE` pixels: all
    files are then scaled down by the same factor.

    Parameters
    ----------
    source : ImageSource
        The training list; up to 200 images, evenly spaced, are looked at.
    size : int
        Side of a region in pixels, as a classifier sees it.

    Raises
    ------
    DataError
        If none of these images can be read.
    """
    sides = []
    for row in np.unique(np.linspace(0, len(source) - 1, _SAMPLE).astype(int)).tolist():
        try:
            sides.append(max(opened(source, row).size))
        except ImageError:
            continue
    if not sides:
        raise DataError(f"none of {_SAMPLE} images, evenly spaced over the list, can be read: run `gbad check` on it.")
    usual = float(np.median(sides))
    side = size * max(1.0, usual / USUAL_SIDE)
    return RegionShape(size, side, min(1.0, side / usual))


def choose_regions(
    places: npt.ArrayLike, importance: npt.ArrayLike, image_size: tuple[int, int], side: float, most: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose which places of an image become the middles of regions.

    Parameters
    ----------
    places : float array (k, 2)
        x and y as shares of the width and height: one place for each class, for instance.
    importance : float array (k,)
        The most important place becomes a region first. A place less than half a side away from the middle of a region,
        both along x and along y, belongs to that region.
    image_size : (int, int)
        Width and height in pixels of the file.
    side : float
        Side of a region in pixels of the file.
    most : int
        Largest number of regions; less important places then have none.

    Returns
    -------
    middles : int array (r,)
        Places in the middle of regions, the most important first.
    region : int array (k,)
        Region of each place, -1 for none.

    Examples
    --------
    >>> middles, region = choose_regions([[0.5, 0.5], [0.55, 0.5], [0.1, 0.1]], [1, 2, 0], (100, 100), 20, 2)
    >>> middles.tolist(), region.tolist()
    ([1, 2], [0, 0, 1])
    """
    pixels = np.asarray(places, np.float64) * image_size
    middles: list[int] = []
    region = np.full(len(pixels), -1)
    for place in np.argsort(-np.asarray(importance, np.float64), kind="stable").tolist():
        away = np.abs(pixels[middles] - pixels[place]).max(1) if middles else np.empty(0)
        if len(away) and away.min() < side / 2:
            region[place] = int(away.argmin())
        elif len(middles) < most:
            region[place] = len(middles)
            middles.append(place)
    return np.array(middles, np.intp), region.astype(np.intp)


def region_source(
    images: ImageSource, rows: Rows, centres: npt.NDArray[np.float32], shape: RegionShape, margin: float = 1.0
) -> ImageSource:
    """Source of regions, in the order of `rows`.

    Parameters
    ----------
    images : ImageSource
    rows : int array (m,)
        Image of each region.
    centres : float32 array (m, 2)
        x and y as shares of the image's width and height.
    shape : RegionShape
    margin : float
        From 1: a region is cut this many times as large, with what surrounds it.
    """
    size = round(shape.size * margin / 2) * 2  # even, as the sides of regions are: both have the same middle
    places = zip(rows.tolist(), centres.tolist(), strict=True)
    names = [f"{number}: {images.names[row]} at {x:.6f}, {y:.6f}" for number, (row, (x, y)) in enumerate(places)]
    decoded = lru_cache(_OPEN)(lambda row: _DecodedOnce(images, row))

    def load(number: int) -> Pixels:
        pixels = decoded(int(rows[number])).pixels()
        return cut_region(pixels, centres[number], shape.side * size / shape.size, size)

    return ImageSource(names, size, load)


class _DecodedOnce:
    """An image whose regions several threads cut: the first decodes it, the others wait."""

    def __init__(self, images: ImageSource, row: int) -> None:
        self._images, self._row = images, row
        self._lock = Lock()
        self._pixels: Pixels | None = None

    def pixels(self) -> Pixels:
        with self._lock:
            if self._pixels is None:
                self._pixels = opened(self._images, self._row).pixels()
            return self._pixels


def cut_regions(
    originals: Sequence[Original], centres: Sequence[npt.NDArray[np.float32]], shape: RegionShape
) -> Pixels:
    """Cut the regions of a batch of images, one image after the other: uint8 (m, size, size, 3).

    Parameters
    ----------
    originals : sequence of n Original
    centres : sequence of n float32 arrays (r_i, 2)
        x and y of the regions of each image, as shares of its width and height.
    shape : RegionShape
    """
    cut = []
    for original, of_image in zip(originals, centres, strict=True):
        if len(of_image):
            pixels = original.pixels()
            cut += [cut_region(pixels, centre, shape.side, shape.size) for centre in of_image]
            del pixels  # before the next one is decoded: they may be large
    return np.stack(cut) if cut else np.empty((0, shape.size, shape.size, 3), np.uint8)
