"""Patches and regions at the resolution of the files: Zaware et al. on MVTec-AD and on SIXray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data.annotations import read_voc_boxes
from gbad.data.images import image_paths, image_size, read_image
from gbad.data.labels import read_sixray
from gbad.data.one_class import load_all, read_classes
from gbad.data.one_class.class_data import chosen, joined, part
from gbad.data.one_class.native import Window, grid_of, source_of_windows, window_of, windows_with_defect
from gbad.data.source import ImageSource
from gbad.errors import DataError

RNG = np.random.default_rng(0)


def write_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """One category of images of 100 x 70 pixels: 3 x 2 patches of 32, with 2 and 3 pixels left over on each side."""
    folder = tmp_path / "tile"
    for kind, count in (("train/good", 2), ("test/good", 1), ("test/crack", 2)):
        for number in range(count):
            write_image(folder / kind / f"{number}.png", noise(70, 100, 3))
    for number, (top, left) in enumerate(((3, 2), (40, 50))):
        mask = np.zeros((70, 100), np.uint8)
        mask[top : top + 10, left : left + 12] = 255
        write_image(folder / "ground_truth" / "crack" / f"{number}_mask.png", mask)
    return folder


def corners(windows: Sequence[Window]) -> list[tuple[int, int]]:
    return [(one.left, one.top) for one in windows]


def test_patches_are_cut_without_scaling(mvtec: Path) -> None:
    path = mvtec / "train" / "good" / "0.png"
    assert corners(grid_of(path, 32, padded=False)) == [(2, 3), (34, 3), (66, 3), (2, 35), (34, 35), (66, 35)]
    (data,) = read_classes(mvtec, 32, units="patches")
    assert np.array_equal(load_all(data.train.images)[4], read_image(path)[35:67, 34:66])
    with pytest.raises(DataError, match="100 × 70 pixels, smaller than a patch of 128"):
        read_classes(mvtec, 128, units="patches")


def test_patches_of_mvtec_are_units_of_their_own(mvtec: Path) -> None:
    (data,) = read_classes(mvtec, 32, units="patches")
    assert (data.classes, data.normal) == (("good", "crack"), frozenset({"good"}))
    assert len(data.train) == 12
    assert data.train.image is not None
    assert data.train.image.tolist() == [0] * 6 + [1] * 6
    # All patches of the good image, and the one patch of each cracked image that shows the crack.
    assert data.test.labels.tolist() == [0] * 6 + [1, 1]
    assert data.test.unit.tolist() == list(range(8))
    assert data.test.image is not None
    assert data.test.image.tolist() == [0] * 6 + [1, 2]
    assert data.test.images.names[6].endswith("0.png#2,3,32")
    assert data.test.images.names[7].endswith("1.png#34,35,32")
    assert data.masks is not None
    assert not data.masks(0).any()
    expected = np.zeros((32, 32), bool)
    expected[:10, :12] = True
    assert np.array_equal(data.masks(6), expected)


def test_which_patches_show_a_defect() -> None:
    windows = [Window(Path("a"), left, 0, 10) for left in (0, 10, 20)]

    def shown(left: int, right: int, rows: int = 10) -> list[int]:
        mask = np.zeros((12, 32), bool)
        mask[:rows, left:right] = True
        return [one.left for one in windows_with_defect(windows, mask)]

    assert shown(9, 30) == [0, 10, 20]  # a tenth of the first patch
    assert shown(9, 30, rows=9) == [10, 20]  # less than a tenth of it
    assert shown(4, 6, rows=1) == [0]  # a small one lies in one patch
    assert shown(9, 12, rows=2) == [10]  # the larger part
    assert shown(30, 32) == []  # all of it lies beyond the patches


def test_regions_of_mvtec_lie_around_the_masks(mvtec: Path) -> None:
    (data,) = read_classes(mvtec, 32, units="regions")
    assert [name.split("#")[1] for name in data.test.images.names[6:]] == ["0,0,32", "40,29,32"]
    assert np.array_equal(load_all(data.test.images)[7], read_image(mvtec / "test" / "crack" / "1.png")[29:61, 40:72])


def test_regions_stay_in_the_image_and_grow_with_the_object(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", noise(60, 100, 3))
    assert window_of(path, (90, 50, 100, 60), 32) == Window(path, 68, 28, 32)
    assert window_of(path, (10, 10, 55, 20), 32) == Window(path, 10, 0, 45)
    assert window_of(path, (0, 0, 100, 20), 32) == Window(path, 0, -20, 100)  # longer than the image is high
    assert corners(grid_of(path, 64, padded=True)) == [(18, -2)]
    shown = load_all(source_of_windows(grid_of(path, 64, padded=True), 64))[0]
    assert (shown[:2] == 255).all()
    assert (shown[62:] == 255).all()
    assert np.array_equal(shown[2:62], read_image(path)[:, 18:82])


def test_mvtec_without_masks_has_no_patches(mvtec: Path) -> None:
    for path in (mvtec / "ground_truth" / "crack").glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="ground_truth: no masks in it"):
        read_classes(mvtec, 32, units="patches")


def test_a_mask_of_another_size_or_all_black_is_named(mvtec: Path) -> None:
    path = mvtec / "ground_truth" / "crack" / "1_mask.png"
    write_image(path, np.zeros((70, 100), np.uint8))
    with pytest.raises(DataError, match=r"1_mask\.png: the mask of a defective image is all black"):
        read_classes(mvtec, 32, units="patches")
    write_image(path, np.full((70, 99), 255, np.uint8))
    with pytest.raises(DataError, match=r"1_mask\.png: \(70, 99\) pixels for an image of \(70, 100\)"):
        read_classes(mvtec, 32, units="patches")


def test_regions_of_sixray_have_the_classes_of_their_boxes(own_dataset: Path) -> None:
    (data,) = read_classes(own_dataset, 32, units="regions")
    test = read_sixray(own_dataset, 10, "test")
    boxes = [
        (name, kind)
        for name in test.select(test.positive).names
        for kind, _ in read_voc_boxes(own_dataset / "Annotation" / f"{name}.xml")
    ]
    found = [
        (Path(name.split("#")[0]).stem, data.classes[label])
        for name, label in zip(data.test.images.names, data.test.labels.tolist(), strict=True)
        if label
    ]
    assert found == boxes
    assert data.classes[0] == "threat-free"
    paths = image_paths(own_dataset, test.select(~test.positive).names)
    patches = [max(1, width // 32) * max(1, height // 32) for width, height in map(image_size, paths)]
    assert (data.test.labels == 0).sum() == sum(patches)
    assert data.train.image is not None
    assert data.train.image.max() == 47


def test_regions_of_sixray_by_masks_and_without_either(own_dataset: Path) -> None:
    test = read_sixray(own_dataset, 10, "test")
    first, second, *others = test.select(test.positive).names
    for name in (first, second):
        (own_dataset / "Annotation" / f"{name}.xml").unlink()
    (own_dataset / "Mask" / f"{second}.png").unlink()
    (data,) = read_classes(own_dataset, 32, units="regions")
    shown = {
        Path(name.split("#")[0]).stem: data.classes[label]
        for name, label in zip(data.test.images.names, data.test.labels.tolist(), strict=True)
        if label
    }
    assert set(shown) == {first, *others}  # the second has neither
    row = test.labels[test.names.index(first)].astype(bool)
    present = [one for one, there in zip(test.classes, row.tolist(), strict=True) if there]
    assert shown[first] == (present[0] if len(present) == 1 else "threat")
    mask = read_image(own_dataset / "Mask" / f"{first}.png")[..., 0] > 0
    name = next(name for name in data.test.images.names if first in name and "#" in name)
    left, top, side = map(int, name.split("#")[1].split(","))
    assert mask[top : top + side, left : left + side].any()
    for path in [*(own_dataset / "Annotation").rglob("*.xml"), *(own_dataset / "Mask").glob("*.png")]:
        path.unlink()
    with pytest.raises(DataError, match="no test image with threats has boxes in Annotation or a mask in Mask"):
        read_classes(own_dataset, 32, units="regions")


def test_units_are_for_layouts_without_a_grid(mvtec: Path, dataset: Path) -> None:
    with pytest.raises(DataError, match="patches of the files' own resolution are cut from the layout mvtec"):
        read_classes(dataset, 32, units="patches")
    with pytest.raises(DataError, match="not from mvtec with a grid of 2"):
        read_classes(mvtec, 32, units="regions", grid=2)
    assert image_paths(dataset, read_sixray(dataset, 10, "test").names)  # untouched


def test_parts_are_joined_and_chosen() -> None:
    def source(name: str, count: int, first: int) -> ImageSource:
        return ImageSource(
            [f"{name} {row}" for row in range(count)], 32, lambda row: np.full((32, 32, 3), first + row, np.uint8)
        )

    both = joined(part(source("a", 3, 0), [0, 1, 0]), part(source("b", 2, 10), [1, 1]))
    assert both.images.names == ["a 0", "a 1", "a 2", "b 0", "b 1"]
    assert [int(both.images.load(row)[0, 0, 0]) for row in range(5)] == [0, 1, 2, 10, 11]
    assert (both.labels.tolist(), both.unit.tolist()) == ([0, 1, 0, 1, 1], [0, 1, 2, 3, 4])
    some = chosen(both, np.array([1, 3]))
    assert (some.images.names, some.labels.tolist(), some.unit.tolist()) == (["a 1", "b 0"], [1, 1], [0, 1])
