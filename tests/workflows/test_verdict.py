"""From scores to alarms, classes, probabilities, places and pictures; operating points of a pipeline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit

import gbad
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.errors import GbadError
from gbad.explanation import Explanation
from gbad.phase3_gate import HeldOut, log_odds
from gbad.pipeline import GBADPipeline
from gbad.training.fitted import FittedGBAD
from gbad.training.phase3 import load_held_out
from gbad.training.run_folder import Run
from gbad.workflows.calibrate import calibrate, operating_table
from gbad.workflows.predict import predict
from gbad.workflows.verdict import Rule, judge, make_rule

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def own(pipeline: GBADPipeline) -> GBADPipeline:
    """The tiny pipeline, with enough held-out scores for rates of some percent."""
    generator = np.random.default_rng(0)
    labels = np.zeros((230, 5), np.uint8)
    labels[200:, 0] = 1
    odds = generator.normal(-3, 1, (230, 5)) + 4 * labels
    held_out = HeldOut(odds.max(1), odds, labels, 0.2)
    return GBADPipeline.from_fitted(pipeline.settings, replace(pipeline.fitted_, held_out=held_out))


def test_held_out_scores_are_those_of_the_validation_part(trained: Run) -> None:
    held_out = load_held_out(trained.folder)
    assert held_out is not None
    assert len(held_out.labels) == trained.data.validation.sum()
    assert held_out.labels.sum() == trained.data.labels[trained.data.validation].sum()
    assert held_out.prevalence == pytest.approx(trained.data.positive[trained.data.validation].mean())
    pipeline = gbad.load(trained.folder / "pipeline.joblib")
    kept = pipeline.fitted_.held_out
    assert kept is not None
    np.testing.assert_array_equal(kept.log_odds, held_out.log_odds)


def test_an_alarm_is_a_class_at_its_threshold(pipeline: GBADPipeline, train_paths: list[Path]) -> None:
    seen = pipeline.explain(train_paths[:20])
    verdict = judge(pipeline, seen, Rule())
    np.testing.assert_array_equal(verdict.present, pipeline.predict(train_paths[:20]) == 1)
    np.testing.assert_array_equal(verdict.alarm, verdict.present.any(1))
    np.testing.assert_allclose(verdict.probability, expit(seen.any_threat))
    before = pipeline.fitted_.held_out.prevalence  # type: ignore[union-attr]
    rare = judge(pipeline, seen, Rule(prevalence=before / 10)).probability
    assert (rare < verdict.probability).all()


def test_an_operating_point_decides_on_one_score(own: GBADPipeline, train_paths: list[Path]) -> None:
    seen = own.explain(train_paths[:40])
    for rate, about in ((0.05, None), (0.3, "Gun")):
        rule = make_rule(own, false_alarm_rate=rate, about=about)
        assert rule.point is not None
        score = seen.any_threat if about is None else log_odds(seen.log_gated)[:, 0]
        verdict = judge(own, seen, rule)
        np.testing.assert_array_equal(verdict.alarm, score >= rule.point.threshold)
        np.testing.assert_array_equal(verdict.present.any(1), verdict.alarm)  # each alarm names a class
        if about is not None:  # the class that was asked about is named
            assert verdict.present[verdict.alarm, 0].all()


def test_rules_that_cannot_be(own: GBADPipeline, pipeline: GBADPipeline) -> None:
    with pytest.raises(GbadError, match="not both"):
        make_rule(own, false_alarm_rate=0.1, recall=0.9)
    with pytest.raises(GbadError, match=r"0\.001 needs at least 999 held-out images threat-free, but there are 200"):
        make_rule(own, false_alarm_rate=0.001)
    with pytest.raises(GbadError, match="no class 'Axe'"):
        make_rule(own, recall=0.9, about="Axe")
    with pytest.raises(GbadError, match="Gun needs a false_alarm_rate or a recall"):
        make_rule(own, about="Gun")
    with pytest.raises(GbadError, match="prevalence must be above 0"):
        make_rule(own, prevalence=0.0)
    older = GBADPipeline.from_fitted(pipeline.settings, replace(pipeline.fitted_, held_out=None))
    with pytest.raises(GbadError, match="no scores of held-out images"):
        make_rule(older, recall=0.9)
    with pytest.raises(GbadError, match="not known for which prevalence"):
        make_rule(older, prevalence=0.1)


def test_alarms_have_places_and_pictures(own: GBADPipeline, dataset: Path, tmp_path: Path) -> None:
    paths = image_paths(dataset, read_sixray(dataset, 10, "test").names[:8])
    scores = own.explain(paths).any_threat
    held_out = own.fitted_.held_out
    assert held_out is not None
    some = HeldOut(np.sort(scores)[[2, 3]], np.zeros((2, 5)), np.zeros((2, 5), np.uint8), 0.2)
    half = GBADPipeline.from_fitted(own.settings, replace(own.fitted_, held_out=some))
    rule = make_rule(half, false_alarm_rate=0.34)  # above the higher of the two
    done = predict(half, paths, tmp_path / "scores.csv", rule=rule, pictures=tmp_path / "pictures")
    table = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    alarm = scores > np.sort(scores)[3]
    assert table["alarm"].tolist() == alarm.astype(int).tolist()
    assert done.alarms == alarm.sum() == 4
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {f"{row:06d}-{path.stem}.jpg" for row, path in enumerate(paths) if alarm[row]}
    for name in names:
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert max(picture.size) >= 640
    for row, line in zip(table.itertuples(), done.lines, strict=True):
        assert line.startswith(row.path)
        if not row.alarm:
            assert row.classes == row.boxes == ""
            assert "no alarm  any threat" in line
            continue
        boxes = json.loads(row.boxes)
        assert set(boxes) <= set(row.classes.split("; "))
        assert "ALARM" in line
        for name, (left, top, right, bottom) in boxes.items():
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64
            assert f"{name} " in line
            assert f"(x {left}-{right}, y {top}-{bottom})" in line
    all_drawn = tmp_path / "all"
    predict(half, paths, tmp_path / "again.csv", pictures=all_drawn, all_pictures=True)
    assert len(list(all_drawn.iterdir())) == len(paths)


def test_another_rule_does_not_go_on_with_the_rows_of_the_first(
    own: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gbad.workflows.scores_csv.complete", lambda *args: None)  # as if killed at the end
    out = tmp_path / "scores.csv"
    predict(own, train_paths[:40], out)
    predict(own, train_paths[:40], out, rule=make_rule(own, false_alarm_rate=0.3))
    assert (tmp_path / "scores.csv.part.1").exists()


def test_calibration_on_own_threat_free_images(pipeline: GBADPipeline, dataset: Path, tmp_path: Path) -> None:
    labels = read_sixray(dataset, 10, "train")
    free = image_paths(dataset, labels.select(~labels.positive).names)
    calibrated = calibrate(pipeline, free)
    held_out, before = calibrated.fitted_.held_out, pipeline.fitted_.held_out
    assert held_out is not None
    assert before is not None
    assert (~held_out.labels.any(1)).sum() == len(free)
    assert held_out.labels.any(1).sum() == before.labels.any(1).sum()
    rate = 2 / (len(free) + 1)
    alarms = judge(calibrated, calibrated.explain(free), make_rule(calibrated, false_alarm_rate=rate)).alarm
    assert alarms.sum() <= 2
    np.testing.assert_array_equal(calibrated.predict_proba(free[:3]), pipeline.predict_proba(free[:3]))
    assert len(operating_table(held_out).rows) >= 1
    calibrated.save(tmp_path / "calibrated.joblib")
    assert make_rule(gbad.load(tmp_path / "calibrated.joblib"), false_alarm_rate=rate).point is not None
    without = GBADPipeline.from_fitted(pipeline.settings, replace(pipeline.fitted_, held_out=None))
    older = calibrate(without, [*free, *free])  # an image counts once
    assert older.fitted_.held_out is not None
    assert len(older.fitted_.held_out.labels) == len(free)
    rule = make_rule(older, false_alarm_rate=rate)
    assert np.isnan(judge(older, older.explain(free[:2]), rule).probability).all()  # nobody knows for which prevalence


def test_a_picture_of_a_long_name(own: GBADPipeline, dataset: Path, tmp_path: Path) -> None:
    long = tmp_path / ("각" * 82 + ".jpg")
    long.write_bytes(image_paths(dataset, read_sixray(dataset, 10, "test").names)[0].read_bytes())
    predict(own, [long], tmp_path / "scores.csv", pictures=tmp_path / "out", all_pictures=True)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_the_commands(
    pipeline_file: Path, dataset: Path, tmp_path: Path, gbad_command: Command, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    labels = read_sixray(dataset, 10, "test")
    free = image_paths(dataset, labels.select(~labels.positive).names)
    done = gbad_command("calibrate", pipeline_file, *free, "--out", tmp_path / "calibrated.joblib")
    assert done.status == 0, done.err
    assert f"Behind these rates: {len(free)} threat-free images" in done.out
    paths = image_paths(dataset, labels.names[:3])
    out = tmp_path / "scores.csv"
    done = gbad_command("predict", tmp_path / "calibrated.joblib", *paths, tmp_path / "none.jpg", "--out", out,
                        "--false-alarm-rate", 0.2, "--prevalence", 0.01, "--pictures", tmp_path / "seen")  # fmt: skip
    assert done.status == 3  # one of the images cannot be used
    assert "none.jpg  CANNOT BE USED  missing" in done.out
    assert "4 images, " in done.out
    assert {"alarm", "classes", "threat_probability", "boxes"} <= set(pd.read_csv(out).columns)
    explain = FittedGBAD.explain

    def gone(fitted: FittedGBAD, images: np.ndarray) -> Explanation:
        image.unlink()
        return explain(fitted, images)

    image = Path(shutil.copy(paths[0], tmp_path / "gone.jpg"))
    with monkeypatch.context() as patched:
        patched.setattr(FittedGBAD, "explain", gone)
        done = gbad_command("predict", pipeline_file, image, "--out", out, "--pictures", tmp_path / "seen",
                            "--all-pictures")  # fmt: skip
    assert done.status == 3
    assert ", 0 that cannot be used" in done.out
    assert "1 image with scores could no longer be read for a place or picture" in done.out
    assert "gone.jpg: has scores, but no place and picture: no such file" in caplog.text
    refused = gbad_command("predict", pipeline_file, paths[0], "--pictures", paths[0].parent, "--out", out)
    assert refused.status == 1
    assert f"since {paths[0]} reaches it" in refused.err
    refused = gbad_command("predict", pipeline_file, paths[0], "--all-pictures", "--out", out)
    assert refused.status == 1
    assert "--all-pictures needs a folder for pictures, and none is given" in refused.err
    refused = gbad_command("predict", pipeline_file, paths[0], "--false-alarm-rate", 0.0001, "--out", out)
    assert refused.status == 1
    assert "needs at least 9,999 held-out images threat-free" in refused.err
