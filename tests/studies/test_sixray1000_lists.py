"""SIXray1000 on many lists: which images are on them, hand-computed precisions, resamples."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gbad.evaluation.bootstrap import bootstrap_average_precision

Script = Callable[[str], ModuleType]


@pytest.fixture
def module(script: Script) -> ModuleType:
    return script("studies/sixray1000_lists.py")


def test_each_list_has_its_own_threats_and_all_threat_free_images(module: ModuleType) -> None:
    y_true = np.array([[1, 0], [0, 0], [0, 1], [1, 1], [0, 0], [0, 1], [1, 0]], bool)
    lists = module.lists_of(y_true, 2)
    assert [rows.tolist() for rows in lists] == [[0, 2, 1, 4], [3, 5, 1, 4]]  # the fifth threat fills no list


def test_average_precision_is_the_mean_over_the_lists_that_show_a_class(module: ModuleType) -> None:
    y_true = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    scores = np.array([[[0.9, 0.5], [0.2, 0.4], [0.5, 0.3], [0.1, 0.6]]])
    lists = module.lists_of(y_true, 1)
    # First class: ahead of both threat-free images, then behind one: 1 and 1/2. Second class: behind one, in one list.
    np.testing.assert_allclose(module.average_precisions(y_true, scores, lists), [[0.75, 0.5]])


def test_resamples_of_one_list_are_those_of_the_bootstrap(module: ModuleType) -> None:
    generator = np.random.default_rng(0)
    y_true = np.zeros((220, 2), bool)
    y_true[:12, 0] = y_true[8:20, 1] = True
    scores = generator.standard_normal((1, 220, 2)) + 2 * y_true
    lists = module.lists_of(y_true, 20)
    own = module.resampled(y_true, scores, lists, 20, 800)
    other = bootstrap_average_precision(y_true, scores, resamples=800, seed=1)
    np.testing.assert_allclose(own.mean(0), other.mean(0), atol=0.02)
    np.testing.assert_allclose(own.std(0), other.std(0), atol=0.02)


def test_many_lists_tell_more_than_one(module: ModuleType) -> None:
    generator = np.random.default_rng(0)
    y_true = np.zeros((500, 1), bool)
    y_true[:100] = True
    scores = generator.standard_normal((1, 500, 1)) + 1.5 * y_true
    lists = module.lists_of(y_true, 10)
    one, all_of_them = (module.resampled(y_true, scores, some, 10, 300).std() for some in (lists[:1], lists))
    assert all_of_them < one / 2


def test_estimates_of_methods_and_their_difference(module: ModuleType) -> None:
    generator = np.random.default_rng(0)
    y_true = np.zeros((60, 2), bool)
    y_true[:8, 0] = True  # no image shows the second class
    good = y_true + 0.1 * generator.random((3, 60, 2))
    group = SimpleNamespace(
        y_true=y_true, scores={"gbad": good, "cnn_balanced": generator.random((3, 60, 2))}, seeds=(0, 1, 2),
        classes=("Gun", "Knife"), subset=SimpleNamespace(name="1000"), backbone="resnet18",
    )  # fmt: skip
    table = module.estimates(group, 4, 50).set_index(["row", "class"])
    assert table.loc[("gbad", "Gun"), "value"] == table.loc[("gbad", "mean"), "low"] == 1.0
    assert np.isnan(table.loc[("gbad", "Knife"), "value"])
    first, second = (table.loc[(row, "mean"), "value"] for row in ("gbad", "cnn_balanced"))
    difference = table.loc[("gbad - cnn_balanced", "mean")]
    assert difference["value"] == pytest.approx(first - second)
    assert 0 < difference["low"] <= difference["value"] <= difference["high"] + 0.1
