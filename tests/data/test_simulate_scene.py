from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gbad.data.labels import SIXRAY_CLASSES
from gbad.data.simulate import Scan, simulate_image
from gbad.data.simulate.bags import BAGS
from gbad.data.simulate.clutter import ITEMS
from gbad.data.simulate.decoys import DECOYS, decoy
from gbad.data.simulate.frequencies import LABEL_SETS, draw_labels
from gbad.data.simulate.geometry import pose
from gbad.data.simulate.materials import MATERIALS
from gbad.data.simulate.render import bounds
from gbad.data.simulate.threats import THREATS, threat
from gbad.errors import DataError


@pytest.fixture(scope="module")
def threats() -> list[Scan]:
    """Scans 0 to 39 of seed 4, with classes drawn for each."""
    return [simulate_image(4, index, size=96) for index in range(40)]


def same(a: Scan, b: Scan) -> bool:
    return np.array_equal(a.image, b.image) and np.array_equal(a.raw, b.raw) and a.boxes == b.boxes


def test_same_arguments_give_the_same_scan_and_others_another() -> None:
    first = simulate_image(3, 5, size=96)
    simulate_image(3, 6, size=96)
    assert same(first, simulate_image(3, 5, size=96))
    assert not same(first, simulate_image(4, 5, size=96))
    assert not same(first, simulate_image(3, 7, size=96))


def test_random_state_of_the_process_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    simulate_image(0, 0, size=64)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("size", [64, 160])
def test_sizes_and_types(size: int) -> None:
    for index in range(2):
        scan = simulate_image(0, index, size=size)
        height, width, _ = scan.image.shape
        assert max(height, width) == size
        assert scan.image.dtype == np.uint8
        assert scan.raw.dtype == np.uint16
        assert scan.raw.shape == (2, height, width)
        assert all(mask.shape == (height, width) and mask.dtype == bool for mask in scan.masks)


def test_labels_boxes_and_masks_agree(threats: list[Scan]) -> None:
    for index, scan in enumerate(threats):
        assert scan.classes == draw_labels(4, index)
        assert {label for label, *_ in scan.boxes} == set(scan.classes)
        assert len(scan.boxes) == len(scan.masks) == len(scan.visible_fraction)
        for (_, xmin, ymin, xmax, ymax), mask, visible in zip(
            scan.boxes, scan.masks, scan.visible_fraction, strict=True
        ):
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (xmin, ymin, xmax, ymax)
            assert 0 <= visible <= 1


def test_asked_labels_are_what_is_shown() -> None:
    scan = simulate_image(0, 2, labels=["Scissors", "Gun"], size=96)
    assert scan.classes == ("Gun", "Scissors")
    assert {label for label, *_ in scan.boxes} == {"Gun", "Scissors"}


def test_threat_free_images_have_no_threats() -> None:
    scan = simulate_image(0, 2, labels=[], size=96)
    assert (scan.classes, scan.boxes, scan.masks, scan.visible_fraction) == ((), [], [], [])


def test_removing_threats_changes_nothing_but_the_threats() -> None:
    with_threat = simulate_image(0, 11, labels=["Gun"], size=128)
    without = simulate_image(0, 11, labels=["Gun"], size=128, remove_threats=True)
    assert without.classes == ("Gun",)
    assert without.boxes == []
    assert with_threat.image.shape == without.image.shape
    near = np.zeros(with_threat.masks[0].shape, bool)
    for _, x0, y0, x1, y1 in with_threat.boxes:
        near[max(0, int(y0) - 4) : int(y1) + 4, max(0, int(x0) - 4) : int(x1) + 4] = True
    np.testing.assert_array_equal(with_threat.raw[:, ~near], without.raw[:, ~near])
    assert (with_threat.raw[:, with_threat.masks[0]] < without.raw[:, with_threat.masks[0]]).mean() > 0.8


def test_most_threats_can_be_seen(threats: list[Scan]) -> None:
    visible = [share for scan in threats for share in scan.visible_fraction]
    assert np.mean(np.array(visible) > 0.4) > 0.8


def test_frequencies_are_those_of_sixray() -> None:
    totals = Counter({label: sum(n for s, n in LABEL_SETS.items() if label in s) for label in SIXRAY_CLASSES})
    assert totals == {"Gun": 3131, "Knife": 1943, "Wrench": 2199, "Pliers": 3961, "Scissors": 983}
    assert sum(LABEL_SETS.values()) == 8929


@pytest.mark.parametrize("start", [1, 5000])
def test_drawn_labels_have_these_frequencies_on_every_stretch(start: int) -> None:
    drawn = Counter(label for index in range(start, start + 500) for label in draw_labels(9, index))
    for label, share in (("Gun", 0.351), ("Knife", 0.218), ("Wrench", 0.246), ("Pliers", 0.444), ("Scissors", 0.110)):
        assert drawn[label] / 500 == pytest.approx(share, abs=0.03)


def test_positives_and_negatives_have_equal_shapes_and_similar_metal(threats: list[Scan]) -> None:
    def statistics(scans: list[Scan]) -> np.ndarray:
        return np.array([[s.raw[0].size, (s.raw[0] < 12000).mean()] for s in scans]).mean(axis=0)

    free = [simulate_image(4, 1000 + index, [], size=96) for index in range(40)]
    np.testing.assert_allclose(statistics(threats), statistics(free), rtol=0.35)


@pytest.mark.parametrize("label", SIXRAY_CLASSES)
def test_threats_and_decoys_have_plausible_sizes(label: str) -> None:
    for seed in range(20):
        for layers in (threat(np.random.default_rng(seed), label), decoy(np.random.default_rng(seed), label)):
            x0, y0, x1, y1 = bounds(layers, pose())
            assert 5 < max(x1 - x0, y1 - y0) < 60
            assert all(layer.material in MATERIALS and layer.thickness > 0 for layer in layers)
            assert all(0 <= part.value <= 1 for layer in layers for part in layer.parts)


def test_every_bag_item_and_decoy_can_be_drawn() -> None:
    for seed in range(3):
        for bag in BAGS:
            assert bag(np.random.default_rng(seed)).width > 10
        for make in [*ITEMS, *(make for family in DECOYS.values() for make in family)]:
            layers = make(np.random.default_rng(seed))
            assert layers
            assert all(layer.parts and 0 <= part.value <= 1 for layer in layers for part in layer.parts), make.__name__
    assert list(THREATS) == list(SIXRAY_CLASSES)


def test_unknown_class_and_tiny_size_give_errors_with_a_remedy() -> None:
    with pytest.raises(DataError, match="'Hammer' cannot be simulated; choose from Gun"):
        simulate_image(0, 0, labels=["Hammer"])
    with pytest.raises(DataError, match="size 8: .* at least 32"):
        simulate_image(0, 0, size=8)


def test_a_lighter_load_leaves_less_in_the_bags_and_the_threats_where_they_were() -> None:
    def absorbed(load: float) -> float:
        scans = [simulate_image(6, index, [], size=96, load=load) for index in range(6)]
        return float(np.mean([255 - scan.image.mean() for scan in scans]))

    assert absorbed(0.0) < absorbed(0.3) < absorbed(1.0)
    usual, light = simulate_image(6, 1, ["Gun"], size=96), simulate_image(6, 1, ["Gun"], size=96, load=0.3)
    assert light.classes == usual.classes
    with pytest.raises(DataError, match="load -1"):
        simulate_image(6, 1, load=-1)
