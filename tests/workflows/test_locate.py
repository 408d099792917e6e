"""Pipelines that learn from boxes where threats are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gbad
from gbad.data.labels import LabelList
from gbad.data.maps import smooth
from gbad.errors import DataError, GbadError, RunError
from gbad.pipeline import GBADPipeline
from gbad.training.run_folder import open_run, start_run
from gbad.workflows.locate import locate, peaks, position_maps
from gbad.workflows.train import train

Make = Callable[..., GBADPipeline]
TINY = {"position_weight": 0.5, "epochs": 1, "size": 32}


def test_the_centre_of_the_highest_cell() -> None:
    maps = np.zeros((1, 2, 2, 4), np.float32)
    maps[0, 0, 1, 3] = maps[0, 1, 0, 0] = 1.0
    np.testing.assert_array_equal(peaks(maps), [[[3.5 / 4, 1.5 / 2], [0.5 / 4, 0.5 / 2]]])


def test_fit_with_boxes_on_arrays_and_files(make_pipeline: Make, pixels: np.ndarray, tmp_path: Path) -> None:
    labels = np.zeros((40, 2), np.uint8)
    labels[10:20, 0] = labels[15:25, 1] = 1
    boxes: list[list[Any]] = [[] for _ in range(40)]
    for row in range(10, 19):  # row 19 and the stripes of rows 15 to 24 have none
        boxes[row] = [("Square", 8, 8, 24, 24)]
    names = ["Square", "Stripe"]
    run, wide = tmp_path / "run", pixels.repeat(2, axis=2)
    fitted = make_pipeline(**TINY).fit(pixels, labels, classes=names, boxes=boxes, run=run)
    fitted.save(tmp_path / "pipeline.joblib")
    loaded = gbad.load(tmp_path / "pipeline.joblib")
    assert loaded.fitted_.network.spec["position_weight"] == loaded.position_weight == 0.5
    np.testing.assert_array_equal(loaded.explain(pixels).log_gated, fitted.explain(pixels).log_gated)

    maps = position_maps(loaded, pixels)
    assert maps.shape == (40, 2, 8, 8)
    np.testing.assert_array_equal(maps, position_maps(fitted, pixels))
    shown = loaded.heatmaps(pixels)  # the same, blurred
    np.testing.assert_allclose(shown, [[smooth(one) for one in of_image] for of_image in maps], atol=1e-5)
    places = locate(loaded, pixels)
    np.testing.assert_allclose(places, peaks(shown) * 64)
    for row in range(2):
        Image.fromarray(wide[row]).save(tmp_path / f"{row}.png")
    from_files = locate(loaded, [tmp_path / "0.png", tmp_path / "1.png"])
    np.testing.assert_array_equal(from_files, locate(loaded, wide[:2]))
    assert (from_files < [128, 64]).all()

    with pytest.raises(RunError, match="another boxes"):
        make_pipeline(**TINY).fit(pixels, labels, classes=names, boxes=[[], *boxes[:10], [], *boxes[12:]], run=run)
    with pytest.raises(DataError, match=r"position_weight 0\.5 needs boxes: give fit one list per image"):
        make_pipeline(**TINY).fit(pixels, labels)
    with pytest.raises(DataError, match="boxes are given, but position_weight is 0"):
        make_pipeline().fit(pixels, labels, classes=names, boxes=boxes)
    with pytest.raises(DataError, match="no images"):
        locate(loaded, [])


def test_a_pipeline_without_boxes_locates_by_its_evidence(pipeline: GBADPipeline, pixels: np.ndarray) -> None:
    with pytest.raises(GbadError, match="knows no positions: train it with boxes and a position_weight"):
        position_maps(pipeline, pixels[:1])
    np.testing.assert_allclose(locate(pipeline, pixels[:3]), peaks(pipeline.heatmaps(pixels[:3])) * 64)


def test_a_run_folder_takes_the_boxes_of_its_data(
    own_dataset: Path, make_pipeline: Make, train_list: LabelList, tmp_path: Path
) -> None:
    """They are read before anything is written, and no longer needed once phase 1 is done."""
    run = start_run(tmp_path / "run", own_dataset, 10, make_pipeline(**TINY).settings)
    assert run.data.boxes is not None
    assert sorted(run.data.boxes) == np.flatnonzero(train_list.labels.any(1)).tolist()
    for row, boxes in run.data.boxes.items():
        assert {int(column) for column in boxes[:, 0]} == set(np.flatnonzero(train_list.labels[row]).tolist())
        assert (boxes[:, 1:3] < boxes[:, 3:5]).all()
    assert open_run(tmp_path / "run").data.boxes is not None
    train(run, last=1)
    assert len(pd.read_csv(tmp_path / "run" / "phase1" / "history.csv")) == 1
    shutil.rmtree(own_dataset / "Annotation")
    again = open_run(tmp_path / "run")
    assert again.data.boxes is None
    train(again)
    fitted = gbad.load(tmp_path / "run" / "pipeline.joblib")
    assert locate(fitted, np.zeros((1, 40, 60, 3), np.uint8)).shape == (1, 5, 2)
    with pytest.raises(DataError, match="Annotation: no box for any image with threats.*position_weight to 0"):
        start_run(tmp_path / "other", own_dataset, 10, make_pipeline(**TINY).settings)
    assert not (tmp_path / "other").exists()
