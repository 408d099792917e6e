"""How well anomaly maps point out defects: ROC-AUC over pixels, and per-region overlap (PRO)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from gbad.errors import DataError

MAX_FALSE_POSITIVE_RATE = 0.3

Maps = npt.NDArray[np.float32 | np.float64]
_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


def pixel_roc_auc(maps: Maps, masks: npt.NDArray[np.bool_]) -> float:
    """ROC-AUC over all pixels of all test images.

    Parameters
    ----------
    maps : ndarray of shape (n, height, width)
        Finite, higher = more abnormal.
    masks : ndarray of the same shape, bool
        True where an image is abnormal.

    Returns
    -------
    float
        In [0, 1]; NaN unless there are normal and abnormal pixels.
    """
    _check(maps, masks)
    if masks.all() or not masks.any():
        return float("nan")
    normal, abnormal = np.sort(maps[~masks]), maps[masks]
    # A pair of an abnormal and a normal pixel counts 1 if the abnormal one is higher, and 1/2 if they are equal.
    below, not_above = (np.searchsorted(normal, abnormal, side=side).mean() for side in ("left", "right"))
    return float((below + not_above) / 2 / len(normal))


def per_region_overlap(maps: Maps, masks: npt.NDArray[np.bool_], limit: float = MAX_FALSE_POSITIVE_RATE) -> float:
    """Area under the curve of per-region overlap against the false-positive rate (Bergmann et al., CVPR 2020).

    At each threshold, the overlap is the share of a connected defect that lies above it, averaged over all defects of
    all images, so that a small defect weighs as much as a large one; the false-positive rate is the share of all
    defect-free pixels that lies above it.

    Parameters
    ----------
    maps : ndarray of shape (n, height, width)
        Finite, higher = more abnormal.
    masks : ndarray of the same shape, bool
        True where an image is abnormal. Pixels that touch, also at a corner, are one defect.
    limit : float
        Integrate up to this false-positive rate, in (0, 1]; the area is divided by it.

    Returns
    -------
    float
        In [0, 1]; NaN unless there are normal and abnormal pixels.
    """
    _check(maps, masks)
    if masks.all() or not masks.any():
        return float("nan")
    shares = []  # each defective pixel's gain in mean overlap when the threshold falls to its value
    n_defects = 0
    for mask in masks:
        regions, count = label(mask, structure=_EIGHT_NEIGHBOURS)
        shares.append(1.0 / np.bincount(regions.ravel(), minlength=count + 1)[regions[mask]])
        n_defects += count
    normal, defective = np.sort(maps[~masks]), maps[masks]
    order = np.argsort(-defective, kind="stable")
    values, sums = defective[order], np.cumsum(np.concatenate(shares)[order]) / n_defects
    last_of_tie = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    # The overlap rises only at the values of defective pixels: the curve's points before and behind each are enough.
    after, at = sums[last_of_tie], values[last_of_tie]
    overlap = np.append(0.0, np.stack([np.append(0.0, after[:-1]), after], axis=1))
    above = [len(normal) - np.searchsorted(normal, at, side=side) for side in ("right", "left")]
    rate = np.append(0.0, np.stack(above, axis=1) / len(normal))
    return _area_up_to(np.append(rate, 1.0), np.append(overlap, overlap[-1]), limit) / limit


def _area_up_to(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], limit: float) -> float:
    """Area under the straight lines through points whose x does not fall, from x = 0 to `limit`."""
    inside = int(np.searchsorted(x, limit, side="right"))  # points with x <= limit
    if inside < len(x):
        # The line to the first point beyond the limit is cut at the limit.
        slope = (y[inside] - y[inside - 1]) / (x[inside] - x[inside - 1])
        x = np.append(x[:inside], limit)
        y = np.append(y[:inside], y[inside - 1] + slope * (limit - x[inside - 1]))
    return float(np.trapezoid(y, x))


def _check(maps: Maps, masks: npt.NDArray[np.bool_]) -> None:
    if maps.shape != masks.shape or maps.ndim != 3 or masks.dtype != bool:
        raise DataError(f"maps {maps.shape} and masks {masks.dtype} {masks.shape}: give one bool mask for each map.")
    if not np.isfinite(maps).all():
        raise DataError("the anomaly maps hold values that are not finite. Train with a lower learning rate.")
