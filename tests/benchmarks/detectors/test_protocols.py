from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gbad.benchmarks.detectors.curves import equal_error_rate
from gbad.benchmarks.detectors.protocols import check_layout
from gbad.benchmarks.detectors.tasks import make_task, make_tasks, unit_scores
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
    for one, left_out in zip(
        *(make_tasks([pets], protocol) for protocol in ("one-vs-rest", "leave-one-class-out")), strict=True
    ):
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
    for protocol in ("one-vs-rest", "leave-one-class-out"):
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


# ---- protocols as published -----------------------------------------------------------------------------------------


@pytest.fixture
def tenths() -> ClassData:
    """CIFAR-10 in small: ten classes, 50 and 10 images each (5,000 and 1,000 there)."""
    train, test = np.arange(500) % 10, np.arange(100) % 10
    return ClassData("tenths", tuple("abcdefghij"), part(source("train", 500), train), part(source("test", 100), test))


def test_leave_one_class_out_tests_the_abnormal_images_of_both_parts(tenths: ClassData) -> None:
    """Liu et al., Section 3: 45,000 normal images to train on, 9,000 normal and 6,000 abnormal ones to test."""
    tasks = make_tasks([tenths], "leave-one-class-out-all")
    assert [task.name for task in tasks] == list("abcdefghij")
    for label, task in enumerate(tasks):
        assert (len(task.train), (~task.abnormal).sum(), task.abnormal.sum()) == (450, 90, 60)
        assert not set(task.train.names) & set(task.test.names)
        assert set(task.kinds[:90]) == set("abcdefghij") - {task.name}
        # As in the published code: normal, abnormal of the training part, abnormal of the test part.
        assert task.test.names[90:140] == [f"train {row}" for row in range(label, 500, 10)]
        assert task.test.names[140:] == [f"test {row}" for row in range(label, 100, 10)]
        assert task.test.load(90)[0, 0, 0] == label
        assert task.test.load(140)[0, 0, 0] == label


def test_a_pooled_split_tests_a_fifth_of_each_class_of_both_parts(tenths: ClassData) -> None:
    """PANDA, Section IV-A: {80 % : 20 %} of MNIST and CIFAR-10."""
    tasks = make_tasks([tenths], "leave-one-class-out-80-20")
    for task in tasks:
        assert (len(task.train), (~task.abnormal).sum(), task.abnormal.sum()) == (9 * 48, 9 * 12, 12)
        assert not set(task.train.names) & set(task.test.names)
    assert len({tuple(sorted(task.test.names)) for task in tasks}) == 1  # all tasks test the same images
    assert {name.split()[0] for name in tasks[0].test.names} == {"train", "test"}
    again = make_tasks([tenths], "leave-one-class-out-80-20")
    assert [task.test.names for task in again] == [task.test.names for task in tasks]


@pytest.fixture
def leaves() -> ClassData:
    """Plant Village in small: 30 healthy and 50 diseased images of two plants."""
    labels = np.repeat([0, 1, 2, 3], [20, 40, 10, 10])
    names = ("Apple___healthy", "Apple___Black_rot", "Corn___healthy", "Corn___Rust")
    rows = np.random.default_rng(1).permutation(80)
    return ClassData(
        "leaves", names, part(source("a", 60), labels[rows[:60]]), part(source("b", 20), labels[rows[60:]])
    )


def test_healthy_vs_diseased_draws_its_lists_by_numbers(leaves: ClassData) -> None:
    (task,) = make_tasks([leaves], "healthy-vs-diseased", counts=(21, 9, 50))
    assert task.name == "leaves"
    assert (len(task.train), (~task.abnormal).sum(), task.abnormal.sum()) == (21, 9, 50)
    assert not set(task.train.names) & set(task.test.names)
    assert {kind for kind, odd in zip(task.kinds, task.abnormal.tolist(), strict=True) if odd} == {
        "Apple___Black_rot", "Corn___Rust",
    }  # fmt: skip
    (rest,) = make_tasks([leaves], "healthy-vs-diseased", counts=("rest", 5, "rest"))
    assert (len(rest.train), (~rest.abnormal).sum(), rest.abnormal.sum()) == (25, 5, 50)
    with pytest.raises(DataError, match=r"leaves: 30 normal images, and the lists ask for 16,182\. .* by --split"):
        make_tasks([leaves], "healthy-vs-diseased")
    unhealthy = replace(leaves, classes=("Apple_healthy", "Apple_unhealthy", "Healthy", "Corn"))
    (task,) = make_tasks([unhealthy], "healthy-vs-diseased", counts=("rest", 5, "rest"))
    assert set(task.kinds[task.abnormal.argmax() :]) == {"Apple_unhealthy", "Corn"}
    with pytest.raises(DataError, match=r"50 abnormal images, and the lists ask for 51"):
        make_tasks([leaves], "healthy-vs-diseased", counts=(21, 9, 51))


def test_printed_numbers_of_plant_village() -> None:
    """PANDA, Section IV-A: {13,593 : 2,589 : 12,661}."""
    labels = np.repeat([0, 1], [16_200, 12_661])
    data = ClassData(
        "plants", ("a healthy", "a rust"), part(source("a", 20_000), labels[:20_000]),
        part(source("b", 8_861), labels[20_000:]),
    )  # fmt: skip
    (task,) = make_tasks([data], "healthy-vs-diseased")
    assert (len(task.train), (~task.abnormal).sum(), task.abnormal.sum()) == (13_593, 2_589, 12_661)


def test_protocols_are_for_layouts(leaves: ClassData, pets: ClassData) -> None:
    for name, layout in (("frames", "classes"), ("patches", "sixray"), ("regions", "idx")):
        with pytest.raises(DataError, match=f"the protocol {name} is for data in the layout"):
            check_layout(name, layout)
    check_layout("one-vs-rest", "mvtec")
    with pytest.raises(DataError, match="one-vs-rest says itself which images are for training .* Leave out --split"):
        make_tasks([pets], "one-vs-rest", counts=(1, 1, 1))
    with pytest.raises(DataError, match="pets does not say which classes are normal"):
        make_tasks([pets], "healthy-vs-diseased", counts=(1, 1, 1))
    tiles = Part(source("a", 8), np.zeros(8, np.int64), np.repeat(np.arange(4), 2))
    with pytest.raises(DataError, match="draws whole images"):
        make_tasks([ClassData("tiles", ("a", "b"), tiles, tiles)], "leave-one-class-out-80-20")


def test_a_limit_on_training_images_keeps_all_patches_of_an_image() -> None:
    image = np.repeat(np.arange(5), 3)
    train = Part(source("train", 15), np.zeros(15, np.int64), np.arange(15), image=image)
    data = ClassData("bags", ("good", "bad"), train, part(source("test", 2), [0, 1]))
    task = make_task("bags", data, frozenset({"good"}), max_train=2)
    assert len(task.train) == 6
    assert len({int(name.split()[1]) // 3 for name in task.train.names}) == 2
    assert task.train_unit.tolist() == list(range(6))  # each patch by itself


def test_equal_error_rate_by_hand() -> None:
    abnormal = np.array([False] * 4 + [True] * 4)
    # Alarms above 0.45: one of four normal units, and three of four abnormal ones: 25 % of each are wrong.
    assert equal_error_rate(abnormal, np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.5, 0.7, 0.8])) == 0.25
    assert equal_error_rate(abnormal, np.zeros(8)) == 0.5
    assert equal_error_rate(abnormal, np.where(abnormal, 1.0, 0.0)) == 0.0
    assert equal_error_rate(abnormal, np.where(abnormal, 0.0, 1.0)) == 1.0
