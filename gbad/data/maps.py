"""Maps over images: cells that cover the image, each with the evidence for something at its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

Map = npt.NDArray[np.floating[Any]]

BLUR = 0.04
"""Width of the blur of evidence, as a share of the image's side: that of a maximum-pooled pyramid is single cells."""


def smooth(heatmap: Map, blur: float = BLUR) -> npt.NDArray[np.float64]:
    """Evidence with its surroundings: a Gaussian blur whose deviation is a share of each side."""
    return np.asarray(gaussian_filter(heatmap.astype(np.float64), [blur * side for side in heatmap.shape]))


def within(heatmap: Map, box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A map (h, w) with nothing outside of a box; as it is where the box holds no evidence.

    Parameters
    ----------
    heatmap : float array (h, w)
        0 or larger.
    box : float64 array (4,)
        Left, top, right and bottom as shares of the image's width and height.
    """
    (left, right), (top, bottom) = (
        (box[axis] * side, box[axis + 2] * side) for axis, side in enumerate(reversed(heatmap.shape))
    )
    rows, columns = (np.arange(side) + 0.5 for side in heatmap.shape)
    inside = np.outer((rows >= top) & (rows <= bottom), (columns >= left) & (columns <= right))
    return np.asarray(np.where(inside, heatmap, 0.0) if heatmap[inside].any() else heatmap, np.float64)


def in_their_images(maps: Map, boxes: Map, cells: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Put maps of regions into the places of the regions, by bilinear interpolation.

    Parameters
    ----------
    maps : float array (m, k, l)
        A map of each region: its cells cover the region.
    boxes : float array (m, 4)
        Left, top, right and bottom of each region as shares of the image's width and height; a region may reach beyond
        the image.
    cells : (int, int)
        Rows and columns of the result, whose cells cover the image.

    Returns
    -------
    float64 array (m, rows, columns)
        0 outside of the regions.

    Examples
    --------
    >>> in_their_images(np.ones((1, 1, 1)), np.array([[0.5, 0.0, 1.0, 0.5]]), (2, 4))[0].tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    placed = np.zeros((len(maps), *cells))
    for own, one, box in zip(placed, maps.astype(np.float64), boxes, strict=True):
        # Where the middles of the image's cells lie in the region, as shares of its height and width.
        y, x = (
            ((np.arange(count) + 0.5) / count - low) / (high - low)
            for count, low, high in zip(cells, box[1::-1], box[:1:-1], strict=True)
        )
        inside = np.ix_((y >= 0) & (y <= 1), (x >= 0) & (x <= 1))
        rows, columns = (
            share[(share >= 0) & (share <= 1)] * count - 0.5 for share, count in zip((y, x), one.shape, strict=True)
        )
        own[inside] = map_coordinates(one, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    return placed
