"""The report of an evaluation, from a pipeline and a test list."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import assert_fits

from gbad.data.labels import read_sixray
from gbad.phase3_gate import HeldOut, at_false_alarm_rate
from gbad.pipeline import GBADPipeline
from gbad.report.evaluation import Evaluation
from gbad.report.numbers import signed
from gbad.workflows import evaluation_report
from gbad.workflows.evaluate import evaluate


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gbad.workflows.evaluate.save_plots", lambda *args, **options: None)


def texts(page: Path) -> str:
    """Visible text of a page."""
    source = page.read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", source, flags=re.DOTALL)).split())


@pytest.mark.usefixtures("no_plots")
def test_report_names_data_and_model_and_prints_thresholds(
    pipeline: GBADPipeline, dataset: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros((230, 5), np.uint8)
    labels[200:, 0] = 1
    odds = generator.normal(-3, 1, (230, 5)) + 4 * labels
    held_out = HeldOut(odds.max(1), odds, labels, 0.2)
    own = GBADPipeline.from_fitted(pipeline.settings, replace(pipeline.fitted_, held_out=held_out))
    evaluate(own, dataset, 10, tmp_path / "out")
    text = texts(tmp_path / "out" / "report.html")
    assert f"GBAD (resnet18, 64 px) on simulated bags {dataset.parent.name}/data, subset 10" in text
    for threshold in pipeline.thresholds_:
        assert f"{threshold:.3f}" in text
    for rate in (0.1, 0.05, 0.02, 0.01):
        point = at_false_alarm_rate(held_out, rate)
        low, high = (100 * bound for bound in point.false_alarm_interval)
        held = f"{100 * point.false_alarm_rate:.1f} % {low:.1f} to {high:.1f}"
        assert f"{100 * rate:.1f} % {signed(point.threshold, 3)} {held}" in text
    assert "from 200 threat-free images and 30 with threats that were held out" in text
    made = text[text.index("How it was made") :]
    assert "None" not in made
    assert "epochs 2" in made
    assert_fits(tmp_path / "out" / "report.html", tmp_path, images=3)


@pytest.mark.usefixtures("no_plots")
def test_report_without_held_out_scores_and_with_damaged_boxes(
    pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    annotation = next((own_dataset / "Annotation").glob(f"{read_sixray(own_dataset, 10, 'test').names[0]}*"))
    annotation.write_text("<annotation>")
    older = GBADPipeline.from_fitted(pipeline.settings, replace(pipeline.fitted_, held_out=None))
    evaluate(older, own_dataset, 10, tmp_path / "out")
    assert "no scores of held-out images" in texts(tmp_path / "out" / "report.html")
    assert "no true boxes are shown" in caplog.text
    shutil.rmtree(own_dataset / "Annotation")
    evaluate(older, own_dataset, 10, tmp_path / "out")


def test_pictures_get_the_findings_of_predict_and_the_true_boxes(
    pipeline: GBADPipeline, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def written(path: Path, evaluation: Evaluation, **options: Any) -> None:
        given.update(options, evaluation=evaluation)

    monkeypatch.setattr(evaluation_report, "write_report", written)
    monkeypatch.setattr("gbad.workflows.evaluate.save_plots", lambda *args, **options: None)
    evaluate(pipeline, dataset, 10, tmp_path)
    evaluation, findings = given["evaluation"], given["findings"]
    np.testing.assert_array_equal(evaluation.found, pipeline.predict(given["paths"]) == 1)
    assert evaluation.found.any()
    for row in np.flatnonzero(evaluation.found.any(axis=1))[:5].tolist():
        found = findings(row)
        assert {one.column for one in found} == set(np.flatnonzero(evaluation.found[row]))
        assert [one.probability for one in found] == sorted((one.probability for one in found), reverse=True)
    assert sorted(given["truth"]) == np.flatnonzero(evaluation.any_threat).tolist()
    for row, boxes in given["truth"].items():
        names = {evaluation.classes[column] for column in np.flatnonzero(evaluation.labels[row])}
        assert {one.name for one in boxes} == names
