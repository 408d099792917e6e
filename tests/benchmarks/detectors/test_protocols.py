from __future__ import annotations

import numpy as np
import pytest

from gbad.benchmarks.detectors.protocols import PROTOCOLS, make_task, make_tasks, unit_scores
from gbad.data.one_class.class_data import ClassData, Part, part
from gbad.data.source import ImageSource
from gbad.errors import DataError


def source(name: str, count: int) -> ImageSource:
    return ImageSource([f"{name} {row}" for row in range(count)], 32, lambda row: np.full((32, 32, 3), row, np.uint8))


@pytest.fixture
def pets() -> ClassData:
    """Training: cat cat dog emu. Test: dog cat emu dog."""
    return ClassData(
        "pets", ("cat", "dog", "emu"), part(source("train", 4), [0, 0, 1, 2]), part(source("test", 4), [1, 0, 2, 1])
    )


def test_one_vs_rest_the_class_is_normal(pets: ClassData) -> None:
    tasks = {task.name: task for task in make_tasks([pets], "one-vs-rest")}
    assert list(tasks) == ["cat", "dog", "emu"]
    cat = tasks["cat"]
    assert cat.train.names == ["train 0", "train 1"]
    # The only cat of the test part comes first; dog, emu and dog are abnormal.
    assert cat.test.names == ["test 1", "test 0", "test 2", "test 3"]
    assert cat.abnormal.tolist() == [False, True, True, True]


def test_leave_one_class_out_the_class_is_abnormal(pets: ClassData) -> None:
    (cat,) = make_tasks([pets], "leave-one-class-out", classes=["cat"])
    assert cat.train.names == ["train 2", "train 3"]  # dog and emu
    assert cat.test.names == ["test 0", "test 2", "test 3", "test 1"]
    assert cat.abnormal.tolist() == [False, False, False, True]


def test_the_two_directions_are_complements(pets: ClassData) -> None:
    for one, left_out in zip(*(make_tasks([pets], protocol) for protocol in PROTOCOLS[:2]), strict=True):
        assert one.name == left_out.name
        labels = [dict(zip(task.test.names, task.abnormal.tolist(), strict=True)) for task in (one, left_out)]
        assert all(labels[0][name] != labels[1][name] for name in pets.test.images.names)
        assert sorted([*one.train.names, *left_out.train.names]) == pets.train.images.names


def test_normal_vs_abnormal_takes_the_users_or_the_data_sets_normal_classes(pets: ClassData) -> None:
    (task,) = make_tasks([pets], "normal-vs-abnormal", normal=["cat", "dog"])
    assert (task.name, task.train.names) == ("pets", ["train 0", "train 1", "train 2"])
    assert task.abnormal.tolist() == [False, False, False, True]
    with pytest.raises(DataError, match="does not say which classes are normal. Name them, out of cat, dog, emu"):
        make_tasks([pets], "normal-vs-abnormal")
    own = ClassData("own", pets.classes, pets.train, pets.test, frozenset({"emu"}))
    assert make_tasks([own], "normal-vs-abnormal")[0].train.names == ["train 3"]


def test_no_training_image_is_tested(pets: ClassData) -> None:
    for protocol in PROTOCOLS[:2]:
        for task in make_tasks([pets], protocol):
            assert not set(task.train.names) & set(task.test.names)


def test_subsamples_are_the_same_images_for_all_classes() -> None:
    labels = np.arange(200) % 4
    data = ClassData("many", tuple("abcd"), part(source("train", 200), labels), part(source("test", 200), labels))
    tasks = make_tasks([data], "one-vs-rest", max_train=20, max_test=50)
    assert [len(task.train) for task in tasks] == [20] * 4
    assert len({tuple(sorted(task.test.names)) for task in tasks}) == 1
    again = make_tasks([data], "one-vs-rest", max_train=20, max_test=50)
    assert [task.train.names for task in tasks] == [task.train.names for task in again]


def test_patches_of_an_image_stay_together() -> None:
    unit = np.repeat(np.arange(6), 4)
    labels = np.repeat([0, 1, 0, 1, 0, 1], 4)
    data = ClassData(
        "tiles", ("good", "bad"), Part(source("train", 24), labels, unit), Part(source("test", 24), labels, unit),
        frozenset({"good"}), lambda row: np.full((2, 2), row >= 4),
    )  # fmt: skip
    task = make_task("tiles", data, frozenset({"good"}), max_train=2, max_test=5)
    assert np.bincount(task.train_unit).tolist() == [4, 4]
    assert np.bincount(task.unit).tolist() == [4] * 5
    assert task.abnormal.tolist() == sorted(task.abnormal.tolist())
    for row, name in enumerate(task.test.names):
        number = int(name.split()[1])
        assert task.abnormal[task.unit[row]] == labels[number]
        assert task.mask is not None
        assert task.mask(row).all() == (number >= 4)


def test_units_know_their_image() -> None:
    image = np.array([0, 0, 1, 2, 2, 2])
    patches = Part(source("test", 6), np.array([1, 1, 0, 0, 0, 0]), np.arange(6), image=image)
    data = ClassData("bags", ("good", "bad"), part(source("train", 2), [0, 0]), patches)
    task = make_task("bags", data, frozenset({"good"}))
    assert task.test.names == ["test 2", "test 3", "test 4", "test 5", "test 0", "test 1"]
    assert task.image.tolist() == [1, 2, 2, 2, 0, 0]
    # Without several units an image, units are images, and patches of one unit count once.
    whole = ClassData("bags", data.classes, data.train, Part(patches.images, patches.labels, image))
    assert make_task("bags", whole, frozenset({"good"})).image.tolist() == [1, 2, 0]


def test_the_highest_patch_decides() -> None:
    assert unit_scores(np.array([-3.0, -1.0, -2.0, 5.0]), np.array([0, 0, 1, 1])).tolist() == [-1.0, 5.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "one-class"}, "protocol 'one-class' is unknown. Choose one of one-vs-rest, leave-one-class-out"),
        ({"protocol": "one-vs-rest", "normal": ["cat"]}, "Leave out the list of normal classes"),
        ({"protocol": "one-vs-rest", "classes": ["cow"]}, "no class or category 'cow'. There are: cat, dog, emu"),
        ({"protocol": "normal-vs-abnormal", "normal": ["cow"]}, "has no class 'cow'"),
        ({"protocol": "normal-vs-abnormal", "normal": ["cat", "dog", "emu"]}, "no abnormal test image"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str, pets: ClassData) -> None:
    with pytest.raises(DataError, match=message):
        make_tasks([pets], **arguments)  # type: ignore[arg-type]
