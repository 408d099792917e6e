from __future__ import annotations

import numpy as np

from gbad.data.maps import in_their_images, smooth, within


def test_maps_of_regions_lie_where_the_regions_were_cut() -> None:
    """A ramp over an image, cut out and put back, is the ramp; half of the second region is beyond the image."""
    ramp = (np.arange(40)[:, None] + 100 * np.arange(60)) / 10
    corners = np.array([[10, 5], [50, 30]])  # of squares of 20 px
    boxes = np.concatenate([corners, corners + 20], 1) / np.tile([60, 40], 2)
    padded = np.pad(ramp, 20)
    maps = np.stack([padded[y + 20 : y + 40, x + 20 : x + 40] for x, y in corners])
    first, second = in_their_images(maps, boxes, (40, 60))
    np.testing.assert_allclose(first[5:25, 10:30], ramp[5:25, 10:30])
    np.testing.assert_allclose(second[30:, 50:], ramp[30:, 50:])
    first[5:25, 10:30] = second[30:, 50:] = 0
    assert not first.any()
    assert not second.any()


def test_a_coarse_map_has_its_peak_in_the_middle_of_its_cell() -> None:
    maps = np.zeros((1, 3, 3))
    maps[0, 1, 2] = 1.0
    (placed,) = in_their_images(maps, np.array([[0.2, 0.2, 0.8, 0.8]]), (30, 30))
    row, column = np.divmod(placed.argmax(), 30)
    assert (row, column) == (14, 21) or (row, column) == (15, 21)
    assert 0 < placed[14, 20] < placed[14, 22] == placed[14, 23]  # no fall towards the region's border


def test_within_a_box_of_an_image() -> None:
    heatmap = np.arange(12.0).reshape(3, 4)
    assert within(heatmap, np.array([0.5, -1.0, 2.0, 0.4])).tolist() == [[0, 0, 2, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(within(heatmap, np.array([0.4, 0.1, 0.6, 0.2])), heatmap)  # no cell's middle in it


def test_the_blur_keeps_the_sum() -> None:
    heatmap = np.zeros((50, 100))
    heatmap[25, 50] = 1.0
    blurred = smooth(heatmap)
    assert np.isclose(blurred.sum(), 1.0)
    assert blurred.argmax() == heatmap.argmax()
    rows, columns = np.indices(blurred.shape)
    assert np.isclose(((rows - 25) ** 2 * blurred).sum(), 2.0**2, rtol=0.02)
    assert np.isclose(((columns - 50) ** 2 * blurred).sum(), 4.0**2, rtol=0.02)
