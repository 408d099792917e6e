from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from gbad.errors import DataError
from gbad.evaluation.localisation import per_region_overlap, pixel_roc_auc


def grid(*rows: str) -> np.ndarray:
    return np.array([[float(value) for value in row.split()] for row in rows])


def test_per_region_overlap_by_hand() -> None:
    # Two defects of 1 and 2 pixels, and 5 defect-free pixels, in one image of 2 x 4.
    masks = grid("1 0 0 1", "0 0 0 1")[None].astype(bool)
    maps = grid("9 7 1 8", "1 1 1 2")[None]
    # Threshold:  9 -> first defect whole:                 overlap 1/2 (1 + 0)   = 0.5,  rate 0
    #             8 -> half of the second one:             overlap 1/2 (1 + 1/2) = 0.75, rate 0
    #             7 -> a false positive:                   overlap 0.75,                 rate 1/5
    #             2 -> the rest of the second defect:      overlap 1,                    rate 1/5
    #             1 -> all that is left, four at once:     overlap 1,                    rate 1
    # Up to 0.2 the area is 0.2 x 0.75, on to 0.3 it is 0.1 x 1: together 0.25.
    assert per_region_overlap(maps, masks, limit=0.3) == pytest.approx(0.25 / 0.3)
    assert per_region_overlap(maps, masks, limit=0.2) == pytest.approx(0.75)
    assert per_region_overlap(maps, masks, limit=1.0) == pytest.approx(0.2 * 0.75 + 0.8)


def test_the_curve_is_cut_between_two_points() -> None:
    # One threshold takes the defect and half of the other pixels at once: a straight line from (0, 0) to (0.5, 1).
    masks = grid("1 0 0")[None].astype(bool)
    maps = grid("5 5 1")[None]
    # Up to 0.3 the line reaches 0.6: a triangle of 0.3 x 0.6 / 2.
    assert per_region_overlap(maps, masks, limit=0.3) == pytest.approx(0.09 / 0.3)


def test_small_and_large_defects_weigh_the_same() -> None:
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :5] = True  # 50 pixels
    masks[1, 9, 9] = True
    large, small = np.zeros(masks.shape), np.zeros(masks.shape)
    large[0, :5], small[1, 9, 9] = 1, 1
    assert per_region_overlap(large, masks) == pytest.approx(per_region_overlap(small, masks))
    assert pixel_roc_auc(large, masks) > pixel_roc_auc(small, masks)


def test_pixels_that_touch_at_a_corner_are_one_defect() -> None:
    masks = grid("1 0 0", "0 1 0", "0 0 0")[None].astype(bool)
    maps = grid("9 0 0", "0 0 0", "0 0 0")[None]
    # Half of one defect is found before any false positive, and the rest with all other pixels at once.
    assert per_region_overlap(maps, masks, limit=0.3) == pytest.approx(0.5 + 0.5 * 0.3 / 2)


def test_perfect_inverted_and_constant_maps() -> None:
    masks = np.zeros((3, 8, 8), bool)
    masks[1, 2:4, 2:5] = True
    masks[2, 7, 7] = True
    assert per_region_overlap(masks.astype(float), masks) == 1.0
    assert per_region_overlap(-masks.astype(float), masks) == 0.0
    assert per_region_overlap(np.zeros(masks.shape), masks) == pytest.approx(0.15)  # the diagonal up to 0.3
    assert pixel_roc_auc(masks.astype(float), masks) == 1.0


def test_against_the_definition_at_each_threshold() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((4, 12, 12)) < 0.15
    maps = (rng.random(masks.shape) + 0.5 * masks).round(1)  # many ties
    points = [(0.0, 0.0)]
    regions = [(number, label(mask, np.ones((3, 3)))[0]) for number, mask in enumerate(masks)]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        overlaps = [
            above[number][found == one].mean() for number, found in regions for one in range(1, found.max() + 1)
        ]
        points.append((above[~masks].mean(), float(np.mean(overlaps))))
    rate, overlap = np.array(points).T
    fine = np.linspace(0, 0.3, 300_001)
    expected = np.trapezoid(np.interp(fine, rate, overlap), fine) / 0.3
    assert per_region_overlap(maps, masks) == pytest.approx(expected, abs=1e-5)
    assert pixel_roc_auc(maps, masks) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)


def test_missing_and_wrong_input() -> None:
    nothing = np.zeros((1, 4, 4), bool)
    assert np.isnan(per_region_overlap(np.zeros((1, 4, 4)), nothing))
    assert np.isnan(pixel_roc_auc(np.zeros((1, 4, 4)), ~nothing))
    with pytest.raises(DataError, match="one bool mask for each map"):
        per_region_overlap(np.zeros((1, 4, 5)), nothing)
    with pytest.raises(DataError, match="not finite"):
        pixel_roc_auc(np.full((1, 4, 4), np.nan), nothing)
