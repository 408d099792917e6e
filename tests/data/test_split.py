from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from gbad.data.split import group_neighbours, split_validation
from gbad.errors import DataError


def one_hot(columns: list[int | None], n_classes: int) -> np.ndarray:
    labels = np.zeros((len(columns), n_classes), np.uint8)
    for row, column in enumerate(columns):
        if column is not None:
            labels[row, column] = 1
    return labels


# --- groups


def test_runs_end_where_a_number_is_left_out() -> None:
    names = ["P00001", "P00002", "P00004", "P00005", "P00006"]
    assert group_neighbours(names).tolist() == [0, 0, 1, 1, 1]


def test_runs_are_cut_at_the_longest_length() -> None:
    groups = group_neighbours([f"N{number}" for number in range(1, 96)], neighbours=30)
    assert np.bincount(groups).tolist() == [30, 30, 30, 5]
    assert (np.diff(groups) >= 0).all()


def test_order_of_the_list_does_not_matter() -> None:
    names = [f"P{number}" for number in (1, 2, 3, 7, 8, 20)] + [f"N{number}" for number in (2, 3, 4)]
    groups = dict(zip(names, group_neighbours(names), strict=True))
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    again = dict(zip(shuffled, group_neighbours(shuffled), strict=True))
    for one in names:
        for other in names:
            assert (groups[one] == groups[other]) == (again[one] == again[other])


def test_prefixes_and_names_without_number_are_kept_apart() -> None:
    assert group_neighbours(["A1", "B1", "B2", "A2", "bag", "other", "bag1", "bag2"]).tolist() == [
        0,
        1,
        1,
        0,
        2,
        3,
        4,
        4,
    ]


def test_very_long_numbers_and_padding() -> None:
    long = "9" * 30
    assert len(set(group_neighbours([long, "8" * 30, "scan" + long]))) == 3
    assert group_neighbours(["P009", "P10", "P0011"]).tolist() == [0, 0, 0]
    assert group_neighbours([]).tolist() == []


def test_equal_contents_join_groups_and_so_on(tmp_path: Path) -> None:
    names = ["P1", "P2", "P50", "P90", "P91", "N1"]
    contents = ["a", "b", "b", "c", "b", "d"]  # P2 = P50 = P91, so P1, P2, P50, P90 and P91 belong together
    paths = [tmp_path / f"{name}.jpg" for name in names]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    assert group_neighbours(names).tolist() == [0, 0, 1, 2, 2, 3]
    groups = group_neighbours(names, paths)
    assert len(set(groups[:5])) == 1
    assert groups[5] != groups[0]
    assert sorted(set(groups)) == [0, 1]


def test_missing_files_join_nothing(tmp_path: Path) -> None:
    names = ["P1", "P10", "P20"]
    assert group_neighbours(names, [tmp_path / name for name in names]).tolist() == [0, 1, 2]


def test_given_groups_count_in_the_place_of_numbers(tmp_path: Path) -> None:
    names = ["P1", "P2", "P3", "P4", "P5", "P6"]
    groups = ["a", "b", "a", None, None, "b"]
    assert group_neighbours(names, groups=groups).tolist() == [0, 1, 0, 2, 2, 1]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_text(path.name.replace("P6", "P4"))  # P4 = P6: the run of P4 and P5 belongs to b
    assert group_neighbours(names, paths, groups=groups).tolist() == [0, 1, 0, 1, 1, 1]
    assert group_neighbours(names, groups=[None] * 6).tolist() == group_neighbours(names).tolist()


# --- split


def sixray_like(
    rng: np.random.Generator, n_positive: int = 400, n_negative: int = 2000
) -> tuple[list[str], np.ndarray]:
    names = [f"P{number:05d}" for number in range(n_positive)] + [f"N{number:07d}" for number in range(n_negative)]
    labels = np.zeros((len(names), 5), np.uint8)
    labels[:n_positive] = rng.random((n_positive, 5)) < [0.35, 0.2, 0.25, 0.4, 0.1]
    labels[:n_positive, 0] |= ~labels[:n_positive].any(axis=1)
    return names, labels


def test_groups_stay_whole_and_shares_are_close() -> None:
    names, labels = sixray_like(np.random.default_rng(0))
    validation = split_validation(names, labels, neighbours=10)
    assert validation.dtype == bool
    assert validation.shape == (len(names),)
    groups = group_neighbours(names, neighbours=10)
    assert not set(groups[validation]) & set(groups[~validation])
    shares = labels[validation].sum(axis=0) / labels.sum(axis=0)
    assert np.abs(shares - 0.2).max() < 0.04
    assert abs((~labels.any(axis=1))[validation].sum() / 2000 - 0.2) < 0.01


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.8])
def test_fraction_is_kept(fraction: float) -> None:
    names, labels = sixray_like(np.random.default_rng(0))
    assert abs(split_validation(names, labels, fraction=fraction).mean() - fraction) < 0.03


def test_the_seed_decides() -> None:
    names, labels = sixray_like(np.random.default_rng(0))
    first = split_validation(names, labels, seed=1)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(first, split_validation(names, labels, seed=1))
    assert (first != split_validation(names, labels, seed=2)).any()
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("seed", range(10))
def test_a_class_with_two_groups_is_on_both_sides(seed: int) -> None:
    columns: list[int | None] = [None] * 300 + [0, 0, 1, 1, 2, 2]
    names = [f"N{3 * number}" for number in range(300)] + [f"P{10 * number}" for number in range(6)]
    labels = one_hot(columns, 3)
    validation = split_validation(names, labels, seed=seed)
    assert labels[validation].sum(axis=0).tolist() == [1, 1, 1]
    assert 0 < validation[:300].sum() < 300


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_a_single_draw_keeps_both_sides_of_a_class(fraction: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gbad.data.split._MIN_DRAWS", 1)
    monkeypatch.setattr("gbad.data.split._MAX_DRAWN", 1)  # as with a million groups, where draws are few
    labels = one_hot([None] * 60 + [0, 0, 1, 1, 2, 2], 3)
    names = [f"P{10 * number}" for number in range(66)]
    for seed in range(20):
        inside = labels[split_validation(names, labels, fraction=fraction, seed=seed)]
        assert inside.sum(axis=0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("seed", range(10))
def test_classes_that_share_their_groups_are_on_both_sides(seed: int) -> None:
    labels = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1], *[[0, 0, 0]] * 50], np.uint8)
    names = [f"P{10 * number}" for number in range(len(labels))]
    inside = labels[split_validation(names, labels, seed=seed)].sum(axis=0)
    assert inside.tolist() == [1, 1, 1]


def test_a_class_in_one_group_does_not_prevent_the_split() -> None:
    names = ["P1", "P2", *(f"N{10 * number}" for number in range(50))]
    validation = split_validation(names, one_hot([0, 0] + [None] * 50, 1))
    assert validation[0] == validation[1]
    assert 0 < validation.sum() < 52


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("seed", range(5))
def test_neither_side_is_ever_empty(fraction: float, seed: int) -> None:
    for columns in ([0, None], [0, 1], [None, None], [0, 0]):
        validation = split_validation(["P1", "P10"], one_hot(columns, 2), fraction=fraction, seed=seed)
        assert validation.sum() == 1
    names = ["P1", "P2", "P3", "P10"]
    assert split_validation(names, one_hot([0] * 4, 1), fraction=fraction, seed=seed).sum() in (1, 3)


def test_equal_bytes_are_on_one_side(tmp_path: Path) -> None:
    names = [f"P{10 * number}" for number in range(40)]
    paths = [tmp_path / name for name in names]
    for number, path in enumerate(paths):
        path.write_text(str(number % 20))
    for seed in range(5):
        validation = split_validation(names, one_hot([0] * 40, 1), paths, seed=seed)
        np.testing.assert_array_equal(validation[:20], validation[20:])


def test_given_groups_stay_whole_shares_are_close_and_the_seed_decides() -> None:
    names, labels = sixray_like(np.random.default_rng(0))
    groups = np.array([f"train-{k}" for k in np.random.default_rng(1).integers(10, size=len(names))])
    chosen = set()
    for seed in range(8):
        validation = split_validation(names, labels, groups=groups.tolist(), seed=seed)
        inside = frozenset(groups[validation].tolist())
        assert not inside & set(groups[~validation])
        assert len(inside) == 2
        assert abs(validation.mean() - 0.2) < 0.02
        chosen.add(inside)
    assert len(chosen) > 3


def test_one_given_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="2 images in 1 group.*divide the group"):
        split_validation(["P1", "P9"], np.ones((2, 1), np.uint8), groups=["a", "a"])


@pytest.mark.parametrize("n_images", [0, 1, 5])
def test_one_group_cannot_be_split(n_images: int) -> None:
    names = [f"P{number}" for number in range(n_images)]
    with pytest.raises(DataError, match=rf"{n_images} images? in .* group"):
        split_validation(names, np.ones((n_images, 1), np.uint8))


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 20, float("nan")])
def test_fraction_outside_its_range(fraction: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        split_validation(["P1", "P5"], np.ones((2, 1), np.uint8), fraction=fraction)


def test_run_length_outside_its_range() -> None:
    with pytest.raises(DataError, match="is 0"):
        split_validation(["P1", "P5"], np.ones((2, 1), np.uint8), neighbours=0)


def test_large_lists_are_split_quickly() -> None:
    names, labels = sixray_like(np.random.default_rng(0), 9000, 200_000)
    start = time.process_time()
    validation = split_validation(names, labels)
    assert time.process_time() - start < 5  # about 0.4 s
    assert abs(validation.mean() - 0.2) < 0.001
