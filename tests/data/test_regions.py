from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data.original import ArrayImage
from gbad.data.regions import RegionShape, choose_regions, cut_regions, region_shape, region_source
from gbad.data.source import ImageSource, source_from_array, source_from_paths, stream, stream_originals
from gbad.data.transforms import middle
from gbad.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 60, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize(("side", "expected"), [(60, 16.0), (384, 16.0), (768, 32.0)])
def test_files_larger_than_usual_are_scaled_down(tmp_path: Path, side: int, expected: float) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (side, side // 2)).save(tmp_path / name)
    source = source_from_paths([tmp_path / "a.png", tmp_path / "none.png", tmp_path / "b.png"], 32)
    shape = region_shape(source, 16)
    assert shape == RegionShape(16, expected, expected / side)


def test_a_region_is_never_larger_than_a_usual_image() -> None:
    assert region_shape(source_from_array(IMAGES, 32), 100).extent == 1.0


def test_no_readable_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of .* can be read"):
        region_shape(source_from_paths([tmp_path / "none.png"], 32), 16)


def test_sources_of_one_size_have_no_regions() -> None:
    source = ImageSource(["a"], 8, lambda row: IMAGES[0])
    with pytest.raises(DataError, match="one size only"):
        region_shape(source, 4)
    with pytest.raises(DataError, match="one size only"):
        next(stream_originals(source, [0]))


def test_near_places_share_a_region_and_far_ones_do_not() -> None:
    places = np.array([[0.5, 0.5], [0.59, 0.5], [0.61, 0.5], [0.1, 0.9]])
    middles, region = choose_regions(places, [3, 2, 1, 0], (100, 50), 20, 4)
    assert middles.tolist() == [0, 2, 3]
    assert region.tolist() == [0, 0, 1, 2]
    middles, region = choose_regions(places, [0, 1, 2, 3], (100, 50), 20, 2)
    assert middles.tolist() == [3, 2]
    assert region.tolist() == [-1, 1, 1, 0]  # the first place is too far from the third, which came before it


def test_regions_depend_on_the_order_of_importance_alone() -> None:
    generator = np.random.default_rng(1)
    places, importance = generator.random((6, 2)), generator.permutation(6)
    order = generator.permutation(6)
    middles, region = choose_regions(places, importance, (200, 100), 30, 3)
    again, of_order = choose_regions(places[order], importance[order], (200, 100), 30, 3)
    assert order[again].tolist() == middles.tolist()
    assert of_order.tolist() == region[order].tolist()


def test_a_source_of_regions_cuts_what_a_batch_cuts() -> None:
    shape = RegionShape(12, 12.0, 0.2)
    rows = np.array([0, 0, 3, 4])
    centres = np.random.default_rng(2).random((4, 2)).astype(np.float32)
    source = region_source(source_from_array(IMAGES, 32), rows, centres, shape)
    at_once = cut_regions(
        [ArrayImage(IMAGES[row]) for row in (0, 3, 4)], [centres[:2], centres[2:3], centres[3:]], shape
    )
    _, found, errors = next(stream(source, range(4)))
    np.testing.assert_array_equal(found, at_once)
    assert not errors
    assert len(set(source.names)) == 4
    larger = region_source(source_from_array(IMAGES, 32), rows, centres, shape, 1.5)
    assert larger.size == 18
    _, found, _ = next(stream(larger, range(4)))
    np.testing.assert_array_equal(middle(found, 12), at_once)
    assert cut_regions([], [], shape).shape == (0, 12, 12, 3)


def test_originals_come_with_their_images(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(IMAGES[number]).save(tmp_path / f"{number}.png")
    paths = [tmp_path / "0.png", tmp_path / "none.png", tmp_path / "2.png"]
    rows, images, originals, errors = next(stream_originals(source_from_paths(paths, 32), [0, 1, 2]))
    assert rows.tolist() == [0, 2]
    assert images.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(originals[1].pixels(), IMAGES[2])
    assert errors.keys() == {1}
