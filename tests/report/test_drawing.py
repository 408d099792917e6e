"""Pictures of findings: boxes and outlines lie where the evidence is, whatever the size of the image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from gbad.data.maps import smooth
from gbad.report.drawing import COLOURS, LARGEST, SMALLEST, Finding, box_around_peak, drawn


def evidence() -> np.ndarray:
    heatmap = np.zeros((20, 40))
    heatmap[4:8, 10:16] = 0.8
    heatmap[5, 12] = 1.0
    heatmap[15, 30] = 0.9  # as high, but elsewhere
    return heatmap


def test_the_box_is_the_place_with_the_most_evidence() -> None:
    box = box_around_peak(evidence())
    assert box is not None
    np.testing.assert_allclose(box, [10 / 40, 4 / 20, 16 / 40, 8 / 20])
    one_cell = box_around_peak(evidence(), level=1.0)
    assert one_cell is not None
    np.testing.assert_allclose(one_cell, [12 / 40, 5 / 20, 13 / 40, 6 / 20])
    assert box_around_peak(np.zeros((3, 3))) is None
    assert box_around_peak(np.empty((0, 0))) is None


def test_a_single_cell_of_evidence_becomes_a_place() -> None:
    heatmap = np.zeros((50, 50))
    heatmap[20, 30] = 1.0
    box = box_around_peak(smooth(heatmap))
    assert box is not None
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [30.5 / 50, 20.5 / 50])
    np.testing.assert_allclose(box[2:] - box[:2], 0.1, atol=0.03)


@pytest.mark.parametrize("size", [(60, 120), (800, 1000), (3000, 2000)])
def test_colours_are_where_the_evidence_is(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    heatmap = evidence()
    found = Finding("Gun", 0.987, 1, box_around_peak(heatmap), heatmap)
    picture = drawn(image, [found], title="bag.jpg")
    assert SMALLEST <= max(picture.size) <= LARGEST + 200
    pixels = np.asarray(picture)[-round(picture.width * size[0] / size[1]) :]  # below the title
    rows, columns = np.nonzero((pixels == ImageColor.getrgb(COLOURS[1])).all(2))
    height, width = pixels.shape[:2]
    margin = 0.12  # the name stands above or below the box
    assert 10 / 40 - margin < columns.min() / width < columns.max() / width < 16 / 40 + margin
    assert 4 / 20 - margin < rows.min() / height < rows.max() / height < 8 / 20 + margin
    assert (image == 200).all()  # the image itself is left alone


def test_findings_without_a_place_are_named() -> None:
    blank = drawn(np.full((300, 300, 3), 255, np.uint8), [])
    named = drawn(np.full((300, 300, 3), 255, np.uint8), [Finding("Knife", 0.5, 0), Finding("Gun", 0.4, 1)])
    assert (np.asarray(blank) == 255).all()
    for column in (0, 1):
        assert (np.asarray(named) == ImageColor.getrgb(COLOURS[column])).all(2).any()


def test_names_do_not_cover_one_another() -> None:
    box = np.array([0.3, 0.3, 0.5, 0.5])
    names = [Finding("Gun", 0.9, 0, box), Finding("Knife", 0.8, 1, box), Finding("Wrench", 0.7, 2, box + 0.01)]
    both = np.asarray(drawn(np.full((640, 640, 3), 255, np.uint8), names))
    for finding in names:
        alone = np.asarray(drawn(np.full((640, 640, 3), 255, np.uint8), [finding]))
        areas = [(picture == ImageColor.getrgb(COLOURS[finding.column])).all(2).sum() for picture in (both, alone)]
        assert areas[0] > 0.3 * areas[1]  # the lines of equal boxes cover one another, the names stand free


def test_a_name_at_the_border_stays_in_the_picture() -> None:
    for box in ([0.0, 0.0, 0.1, 0.1], [0.95, 0.95, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]):
        picture = drawn(np.zeros((100, 100, 3), np.uint8), [Finding("Scissors", 1.0, 2, np.array(box))])
        assert picture.size == (SMALLEST, SMALLEST)
