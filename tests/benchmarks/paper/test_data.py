from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gbad.benchmarks.paper.data import existing_data, simulated_data, without_mislabelled
from gbad.benchmarks.paper.scales import SCALES, ListSizes, Subset, scale_of
from gbad.data.groups import groups_path, write_groups
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.errors import DataError, GbadError, RunError

TINY = replace(
    SCALES["small"],
    lists={"10": ListSizes(6, 9, 3, 5), "100": ListSizes(6, 9, 3, 10)},
    subsets=(Subset("10", "10", 1, 10), Subset("100", "100", 1, 100), Subset("1000", "100", 10, 1000)),
    image_size=64,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "data"
    simulated_data(folder, TINY, 3, workers=1)
    return folder


def test_test_lists_share_threats_and_nest_the_others(folder: Path) -> None:
    small, large = (read_sixray(folder, name, "test") for name in ("10", "100"))
    assert (small.positive.sum(), (~small.positive).sum()) == (3, 5)
    assert (large.positive.sum(), (~large.positive).sum()) == (3, 10)
    assert set(small.names) < set(large.names)
    train = {name: read_sixray(folder, name, "train") for name in ("10", "100")}
    assert train["10"].names == train["100"].names
    assert len(train["10"]) == 15
    assert not set(train["10"].names) & set(large.names)
    assert all(path.is_file() for path in image_paths(folder, large.names))


def test_subsets_that_share_a_training_list_have_one_digest(folder: Path) -> None:
    data = existing_data(folder)
    assert [(s.name, s.list, s.negative_weight) for s in data.subsets] == [
        ("10", "10", 1), ("100", "100", 1), ("1000", "100", 10),
    ]  # fmt: skip
    assert len({data.train_digest(subset) for subset in data.subsets}) == 1
    assert data.is_generated
    assert any("counted ten times" in note for note in data.notes)


def test_finished_data_are_taken_and_others_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gbad.benchmarks.paper.data.simulate_dataset", lambda *args, **options: pytest.fail("simulated")
    )
    assert simulated_data(folder, TINY, 3).subsets == TINY.subsets
    with pytest.raises(RunError, match="a data set with another seed.*seed: there 3, asked for 4"):
        simulated_data(folder, TINY, 4)
    reworded = simulated_data(folder, replace(TINY, notes=("In other words.",)), 3)
    assert reworded.notes == ("In other words.",)


def test_a_folder_of_the_user_has_a_subset_for_each_pair_of_lists(dataset: Path, tmp_path: Path) -> None:
    data = existing_data(dataset)
    assert [(s.name, s.list, s.negative_weight, s.ratio) for s in data.subsets] == [("10", "10", 1, None)]
    with pytest.raises(DataError, match="no subset has both lists"):
        existing_data(tmp_path)


def test_replaced_images_of_a_folder_of_the_user_are_noticed(own_dataset: Path) -> None:
    for made in own_dataset.glob("*.json"):
        made.unlink()  # what a simulated folder is known by
    before = existing_data(own_dataset)
    subset = before.subsets[0]
    train, test = (before.read(subset, part).names for part in ("train", "test"))
    assert before.train_digest(subset) == existing_data(own_dataset).train_digest(subset)
    image, other = image_paths(own_dataset, (train[0], train[1]))
    image.write_bytes(other.read_bytes())
    after = existing_data(own_dataset)
    assert after.train_digest(subset) != before.train_digest(subset)
    assert after.images_digest(test) == before.images_digest(test)


def test_ratio_is_that_of_the_training_list_unless_the_subset_has_one(dataset: Path) -> None:
    data = existing_data(dataset)
    positive = data.read(data.subsets[0], "train").positive
    assert data.ratio(data.subsets[0]) == pytest.approx((~positive).sum() / positive.sum())
    assert data.ratio(replace(data.subsets[0], ratio=1000)) == 1000


def test_mislabelled_images_leave_the_lists_and_nothing_else_changes(dataset: Path, tmp_path: Path) -> None:
    data = existing_data(dataset)
    before = {part: data.read(data.subsets[0], part) for part in ("train", "test")}
    listed = tmp_path / "mislabelled.txt"
    listed.write_text(f"{before['train'].names[30]}.jpg # a knife\n{before['test'].names[20]}\nN9999999\n")
    cleaned = without_mislabelled(data, listed, tmp_path / "view")
    for part, row in (("train", 30), ("test", 20)):
        labels = cleaned.read(cleaned.subsets[0], part)
        assert labels.names == before[part].names[:row] + before[part].names[row + 1 :]
        np.testing.assert_array_equal(labels.labels, np.delete(before[part].labels, row, axis=0))
        assert all(path.is_file() for path in image_paths(cleaned.folder, labels.names))
    assert (cleaned.folder / "Annotation" / "P00001.xml").is_file()
    assert cleaned.train_digest(cleaned.subsets[0]) != data.train_digest(data.subsets[0])
    assert "2 images" in cleaned.notes[-1]
    without_mislabelled(data, listed, tmp_path / "view")  # again: links are there already
    (tmp_path / "view" / "Annotation").unlink()
    (tmp_path / "view" / "Annotation").symlink_to(tmp_path)  # of other data
    without_mislabelled(data, listed, tmp_path / "view")
    assert (cleaned.folder / "Annotation" / "P00001.xml").is_file()
    listed.write_text("N9999999\n")
    with pytest.raises(DataError, match="none of its 1 names"):
        without_mislabelled(data, listed, tmp_path / "other")


def test_groups_decide_the_networks_and_stay_without_mislabelled_images(own_dataset: Path, tmp_path: Path) -> None:
    before = existing_data(own_dataset)
    subset = before.subsets[0]
    names, digest = before.read(subset, "train").names, before.train_digest(subset)
    write_groups(own_dataset, subset.list, {names[0]: "a", names[1]: "a", names[2]: "b"})
    data = existing_data(own_dataset)
    assert data.train_digest(subset) != digest
    listed = tmp_path / "mislabelled.txt"
    listed.write_text(names[1])
    for folder, groups in ((own_dataset, ["a", "b", None]), (None, None)):
        if folder is None:
            groups_path(own_dataset, subset.list).unlink()
        view = without_mislabelled(data, listed, tmp_path / "view")
        assert (view.groups(subset) or [])[:3] == (groups or [])


def test_simulations_hold_all_lists() -> None:
    small = SCALES["small"].simulation()
    assert small == {
        "train_positives": 1200, "test_positives": 150, "negatives_per_positive": 10,
        "test_negatives_per_positive": 100,
    }  # fmt: skip
    full = SCALES["full"].simulation()
    for sizes in SCALES["full"].lists.values():
        assert full["train_positives"] * full["negatives_per_positive"] >= sizes.train_negatives
        assert full["test_positives"] * full["test_negatives_per_positive"] >= sizes.test_negatives
    with pytest.raises(GbadError, match="unknown scale 'big'; choose one of small, twice, backbones, full"):
        scale_of("big")
