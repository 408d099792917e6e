"""Where a pipeline points, against true boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from gbad.data.labels import read_sixray
from gbad.pipeline import GBADPipeline


def test_a_peak_and_a_box_against_true_boxes(script: Callable[[str], ModuleType]) -> None:
    module = script("studies/places.py")
    boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 0.75]])
    assert module.in_box(np.array([0.6, 0.7]), boxes)
    assert not module.in_box(np.array([0.6, 0.8]), boxes)
    assert module.overlap(np.array([0.0, 0.25, 0.5, 0.75]), boxes) == pytest.approx(1 / 3)
    assert module.overlap(np.array([0.5, 0.0, 1.0, 0.5]), boxes) == 0
    assert module.overlap(None, boxes) == 0
    one = np.zeros((module.CELLS, module.CELLS))
    one[24, 72] = 1
    np.testing.assert_allclose(module.peak(one), [0.75, 0.25], atol=0.5 / module.CELLS + 1e-9)
    fine, coarse = np.zeros((1, 4, 4)), np.zeros((1, 1, 1))
    fine[0, 1, 2], coarse[0] = 5, 9
    np.testing.assert_allclose(module.together([fine, coarse])[0], 1 + fine[0] / 5)


def test_detected_threats_are_judged(
    script: Callable[[str], ModuleType], pipeline: GBADPipeline, dataset: Path, tmp_path: Path
) -> None:
    module = script("studies/places.py")
    test = read_sixray(dataset, 10, "test")
    some = test.select(test.positive)
    names = ["first look, HiResCAM, blur 0", "second look, L4, blur 0.02"]
    table = module.judged(pipeline, dataset, some, names)
    found = pipeline.predict([dataset / "JPEGImage" / f"{name}.jpg" for name in some.names]) & some.labels
    assert table["threat"].nunique() == found.sum() > 0
    chance = table[table["map"] == "chance"]["in_box"]
    assert chance.between(0, 1).all()
    result = module.summary(table, "test").set_index("map")
    assert result.loc[names[0], "threats"] == found.sum()
    assert result.loc[names[0], "low"] <= result.loc[names[0], "in_box"] <= result.loc[names[0], "high"]
    assert result["looked_twice"].eq(0).all()  # without a second look, its map is that of the first

    lists = {"validation": some, "test": some}
    module.report(pipeline, dataset, lists, tmp_path / "out" / "tiny", [])
    written = pd.read_csv(tmp_path / "out" / "tiny.csv")
    assert set(written["part"]) == {"validation", "test"}
    assert set(module.REPORTED) <= set(written["map"])
    assert (tmp_path / "out" / "tiny.json").exists()
