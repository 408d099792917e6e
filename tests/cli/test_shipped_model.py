"""The pipeline that comes with gbad: by name, by default, and only as it was released."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_sample_images

import gbad
from gbad import GbadError, PipelineFileError, models
from gbad.cli.parameters import pipeline_or_images
from gbad.models import DEFAULT, SHIPPED, pipeline_path

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("given", "pipeline", "images"),
    [
        ([], None, []),
        (["run/pipeline.joblib", "bag.jpg"], "run/pipeline.joblib", ["bag.jpg"]),
        (["simulated-bags", "bag.jpg"], "simulated-bags", ["bag.jpg"]),
        (["bag.jpg"], None, ["bag.jpg"]),
        (["BAG.PNG", "other.jpg"], None, ["BAG.PNG", "other.jpg"]),
        (["scan.dcm#2"], None, ["scan.dcm#2"]),
        (["-"], None, ["-"]),
        (["bags/*"], None, ["bags/*"]),
        (["bags/day?", "bags/[12]"], None, ["bags/day?", "bags/[12]"]),
        (["no-such-pipeline", "bag.jpg"], "no-such-pipeline", ["bag.jpg"]),
    ],
)
def test_the_first_argument_is_a_pipeline_or_an_image(
    given: list[str], pipeline: str | None, images: list[str]
) -> None:
    first = Path(given[0]) if given else None
    expected = (None if pipeline is None else Path(pipeline), [Path(image) for image in images])
    assert pipeline_or_images(first, [Path(path) for path in given[1:]] or None) == expected


def test_a_folder_is_no_pipeline(tmp_path: Path) -> None:
    assert pipeline_or_images(tmp_path, None) == (None, [tmp_path])


def test_a_run_folder_is_not_taken_for_images(tmp_path: Path) -> None:
    (tmp_path / "pipeline.joblib").touch()
    with pytest.raises(GbadError, match=r"a run folder\. Name the pipeline in it, .*pipeline\.joblib"):
        pipeline_or_images(tmp_path, None)


def test_a_pipeline_may_have_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "model[1]").touch()
    assert pipeline_or_images(tmp_path / "model[1]", [Path("bag.jpg")])[0] == tmp_path / "model[1]"


def test_a_name_that_is_too_long_is_no_folder() -> None:
    path = Path("a" * 300 + ".jpg")
    assert pipeline_or_images(path, None) == (None, [path])


def test_a_folder_of_the_same_name_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    assert pipeline_path(DEFAULT).parent == models.FOLDER


def test_each_model_is_there_and_is_the_one_that_was_released() -> None:
    for name, (expected, *_) in SHIPPED.items():
        assert hashlib.sha256(pipeline_path(name).read_bytes()).hexdigest() == expected
        assert pipeline_path(name).stat().st_size < 15e6


def test_a_file_of_the_same_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(pipeline_file, tmp_path / DEFAULT)
    assert pipeline_path(DEFAULT) == Path(DEFAULT)
    assert gbad.load(DEFAULT).settings.backbone == "resnet18"


def test_another_file_in_its_place_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline_file: Path
) -> None:
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    with pytest.raises(PipelineFileError, match=r"simulated-bags cannot be read .*Install gbad again"):
        gbad.load(DEFAULT)
    shutil.copy(pipeline_file, tmp_path / f"{DEFAULT}.joblib")
    with pytest.raises(PipelineFileError, match="not the model simulated-bags that was released"):
        gbad.load(DEFAULT)


def test_a_simulated_bag_raises_an_alarm_with_a_box_and_a_photograph_a_warning(
    tmp_path: Path, gbad_command: Command
) -> None:
    from PIL import Image

    from gbad.data.labels import read_sixray
    from gbad.data.simulate import simulate_dataset

    simulate_dataset(
        tmp_path / "bags",
        10,
        train_positives=1,
        test_positives=3,
        negatives_per_positive=1,
        size=512,
        seed=77,
        workers=1,
    )
    test = read_sixray(tmp_path / "bags", 10, "test")
    shown = [str(tmp_path / "bags" / "JPEGImage" / f"{name}.jpg") for name in test.names]
    photograph = tmp_path / "china.jpg"
    Image.fromarray(load_sample_images().images[0]).save(photograph)
    out = tmp_path / "scores.jsonl"
    done = gbad_command("predict", *shown, photograph, "--out", out)
    assert "No pipeline is named: simulated-bags is taken" in done.out
    assert f"{photograph}  " in done.out
    assert done.out.count("BUT IT LOOKS LIKE NO TRAINING IMAGE") == 1
    assert "1 image of these look" in done.out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["unfamiliarity"] > 1 for row in rows] == [False] * len(shown) + [True]
    alarms = [row["alarm"] for row, positive in zip(rows, test.positive, strict=False) if positive]
    assert sum(alarms) >= 2
    assert all(row["boxes"] for row in rows[: len(shown)] if row["alarm"])
