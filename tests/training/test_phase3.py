"""Class heads and several views, through the whole pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gbad
from gbad.data.labels import LabelList
from gbad.data.source import source_from_array
from gbad.errors import GbadError
from gbad.phase1_classifier import FeatureFile, predict_batch
from gbad.phase2_anomaly.detectors import sigmoid
from gbad.phase3_gate import (
    at_false_alarm_rate,
    best_thresholds,
    choose,
    cross_fitted_gate,
    fit_any_threat,
    fit_class_heads,
    hard_gate,
    log_odds,
    mixed,
)
from gbad.pipeline import GBADPipeline
from gbad.storage.tables import write_table
from gbad.training import phase3
from gbad.training.phase2 import Losses, read_losses
from gbad.training.phase3 import fit_phase3, load_decision, load_held_out
from gbad.training.presets import preset
from gbad.training.run_folder import Run
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet

Make = Callable[..., GBADPipeline]


@pytest.fixture(scope="module")
def seen_twice(
    train_paths: list[Path], train_list: LabelList, make_pipeline: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GBADPipeline, Path]:
    """A pipeline of two views, and its run folder."""
    run = tmp_path_factory.mktemp("views") / "run"
    return make_pipeline(views=2).fit(train_paths, train_list.labels, run=run), run


def of_rows(left: Losses, rows: np.ndarray) -> Losses:
    """Part of what phase 2 left."""
    return Losses(left.rows[rows], left.validation[rows], left.losses[rows], left.logits[rows])


@pytest.fixture
def with_heads(seen_twice: tuple[GBADPipeline, Path], tmp_path: Path) -> GBADPipeline:
    """The same with class heads, which a tiny training may well leave out."""
    pipeline, run = seen_twice
    pipeline.save(tmp_path / "copy.joblib")
    copy = gbad.load(tmp_path / "copy.joblib")
    logits = read_losses(run, copy.classes_).logits
    labels = np.zeros_like(logits, dtype=np.uint8)
    labels[:5, 0] = labels[3:9, 1] = 1
    features = FeatureFile(run / "phase2" / "features").features
    decision = replace(copy.fitted_.decision, heads=fit_class_heads(features, logits, labels), heads_share=0.5)
    copy.fitted_ = replace(copy.fitted_, decision=decision)
    return copy


def test_views_are_what_all_phases_see(seen_twice: tuple[GBADPipeline, Path], train_paths: list[Path]) -> None:
    pipeline, run = seen_twice
    file = FeatureFile(run / "phase2" / "features")
    source = pipeline.image_source(train_paths)
    rows = file.rows[:5]
    images = np.stack([source.load(int(row)) for row in rows])
    logits, features = predict_batch(pipeline.fitted_.network, images, views=2)
    np.testing.assert_allclose(file.logits[:5], logits, atol=1e-4)
    np.testing.assert_allclose(file.features[:5], features, atol=1e-4)
    explained = pipeline.explain([train_paths[row] for row in rows])
    np.testing.assert_allclose(explained.logits, logits, atol=1e-4)
    assert np.abs(predict_batch(pipeline.fitted_.network, images)[0] - logits).max() > 1e-3
    mirrored = pipeline.explain(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_allclose(mirrored.log_gated, pipeline.explain(images).log_gated, atol=1e-3)


def test_heads_are_mixed_in_before_the_gate(with_heads: GBADPipeline, pixels: np.ndarray) -> None:
    explained = with_heads.explain(pixels)
    logits, features = predict_batch(with_heads.fitted_.network, pixels, views=2)
    decision = with_heads.fitted_.decision
    assert decision.heads is not None
    ranking = mixed(logits, decision.heads.log_odds(features), 0.5)
    expected = hard_gate(ranking, explained.anomalous, decision.strength)
    np.testing.assert_allclose(explained.log_gated, expected, atol=1e-4)
    np.testing.assert_allclose(explained.ungated, sigmoid(logits), atol=1e-6)  # phase 1 alone


def test_saved_heads_score_alike(with_heads: GBADPipeline, pixels: np.ndarray, tmp_path: Path) -> None:
    with_heads.save(tmp_path / "heads.joblib")
    again = gbad.load(tmp_path / "heads.joblib")
    assert again.fitted_.decision.heads_share == 0.5
    np.testing.assert_array_equal(again.explain(pixels).log_gated, with_heads.explain(pixels).log_gated)
    one_by_one = np.concatenate([again.explain(pixels[k : k + 1]).log_gated for k in range(len(pixels))])
    np.testing.assert_allclose(one_by_one, with_heads.explain(pixels).log_gated, atol=1e-5)


def test_heads_learn_from_training_rows_and_are_chosen_on_the_others(
    trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(folder / "phase3")
    seen: dict[str, Any] = {}

    def fit(features: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Any:
        seen["fitted"] = len(features)
        return fit_class_heads(features, logits, labels)

    def choose(logits: np.ndarray, log_odds: np.ndarray, labels: np.ndarray, **options: Any) -> float:
        seen["chosen"] = len(logits)
        return 0.5

    monkeypatch.setattr("gbad.phase3_gate.decision.fit_class_heads", fit)
    monkeypatch.setattr("gbad.phase3_gate.choices.choose_share", choose)
    fit_phase3(trained.data, make_pipeline(class_heads=True).settings, folder)
    validation = read_losses(folder, trained.data.classes).validation
    assert seen == {"fitted": (~validation).sum(), "chosen": validation.sum()}
    assert load_decision(folder).heads_share == 0.5
    assert load_decision(folder).heads is not None


def test_phase_3_chooses_for_the_prevalence_in_use(trained: Run, make_pipeline: Make, tmp_path: Path) -> None:
    found = {}
    for prevalence in (None, 1e-4):
        folder = Path(shutil.copytree(trained.folder, tmp_path / f"run {prevalence}"))
        shutil.rmtree(folder / "phase3")
        chosen = make_pipeline(class_heads=True, suppression="soft", prevalence=prevalence)
        fit_phase3(trained.data, chosen.settings, folder)
        found[prevalence] = load_decision(folder)
    usual, rare = found[None], found[1e-4]
    assert (rare.thresholds >= usual.thresholds).all()
    left = read_losses(trained.folder, trained.data.classes)
    suspicion = [decision.any_threat.score(left.logits).mean() for decision in (usual, rare)]
    assert suspicion[1] < suspicion[0] - 3  # images are as they are, threats some thousand times as rare


@pytest.mark.parametrize("class_heads", [False, True])
def test_the_papers_gate_needs_no_threat_in_the_validation_part(
    trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_heads: bool
) -> None:
    """It is fitted elsewhere; there is then nothing to choose or to calibrate."""
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(folder / "phase3")
    everything = read_losses(folder, trained.data.classes)
    without = of_rows(everything, ~(everything.validation & trained.data.positive[everything.rows]))
    monkeypatch.setattr(phase3, "read_losses", lambda *_: without)
    fit_phase3(trained.data, make_pipeline(gate_fit="paper", class_heads=class_heads).settings, folder)
    decision = load_decision(folder)
    assert decision.heads_share == 0.0
    assert decision.thresholds.tolist() == [0.5] * 5
    assert decision.any_threat.slope.tolist() == [1.0] * 5


def test_the_prevalence_is_that_of_the_list_and_not_of_the_rows_that_phase_2_kept(
    trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = read_losses(trained.folder, trained.data.classes)
    rows, held_out = everything.rows, everything.validation
    free = np.flatnonzero(held_out & ~trained.data.positive[rows])
    kept = np.setdiff1d(np.arange(len(rows)), free[::2])
    monkeypatch.setattr(phase3, "read_losses", lambda *_: of_rows(everything, kept))
    asked: list[float] = []

    def spy(*args: Any) -> Any:
        asked.append(args[-1])
        return choose(*args)

    monkeypatch.setattr("gbad.phase3_gate.decision.choose", spy)
    for prevalence in (None, 0.01):
        fit_phase3(trained.data, make_pipeline(prevalence=prevalence).settings, tmp_path / str(prevalence))
    assert asked == [trained.data.positive[trained.data.validation].mean(), 0.01]
    assert asked[0] < trained.data.positive[rows[kept]][held_out[kept]].mean()


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, "rare"])
def test_a_prevalence_that_is_none_is_refused(make_pipeline: Make, prevalence: object) -> None:
    with pytest.raises(GbadError, match="prevalence must be a number above 0 and below 1, not"):
        make_pipeline(prevalence=prevalence).fit(np.zeros((4, 64, 64, 3), np.uint8), np.eye(4, 2, dtype=np.uint8))


def test_thresholds_come_from_gates_that_have_not_seen_the_rows(
    seen_twice: tuple[GBADPipeline, Path], train_list: LabelList
) -> None:
    pipeline, run = seen_twice
    left, decision = read_losses(run, pipeline.classes_), pipeline.fitted_.decision
    ranking = left.logits[left.validation]
    labels = train_list.labels[left.rows][left.validation]
    held = cross_fitted_gate(decision.gate, left.losses[left.validation], labels.any(axis=1).astype(int))
    assert held is not None
    log_gated = hard_gate(ranking, held[0] > 0, decision.strength)
    gated = np.exp(log_gated)
    expected = fit_any_threat(log_odds(log_gated), labels)
    np.testing.assert_allclose(decision.any_threat.slope, expected.slope, rtol=1e-9)
    np.testing.assert_allclose(decision.any_threat.bias, expected.bias, rtol=1e-9)
    np.testing.assert_allclose(decision.thresholds, best_thresholds(labels, gated), rtol=1e-12)


def test_views_that_do_not_exist_are_refused(make_pipeline: Make) -> None:
    with pytest.raises(GbadError, match="unknown views 3; choose one of 1, 2, 4"):
        make_pipeline(views=3).fit(np.zeros((4, 64, 64, 3), np.uint8), np.eye(4, 2, dtype=np.uint8))


def test_without_threats_held_out_no_prevalence_is_claimed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 1), np.uint8)
    labels[:5] = 1
    validation = np.arange(30) >= 20
    data = TrainingSet(source_from_array(np.zeros((30, 8, 8, 3), np.uint8), 8), labels, ("Gun",), validation)
    part = np.where(validation, "validation", "training")
    losses = {
        "row": range(30),
        "name": range(30),
        "part": part,
        "loss": rng.random(30),
        "logit_Gun": rng.normal(size=30),
    }
    write_table(pd.DataFrame(losses), tmp_path / "phase2" / "losses.csv")
    settings = Settings(**preset("paper")).changed(validation_fraction=0.3, prevalence=1e-3)
    fit_phase3(data, settings, tmp_path)
    held_out = load_held_out(tmp_path)
    assert held_out is not None
    assert held_out.prevalence is None  # the balanced classifier's own odds are not those of one threat in a thousand
    np.testing.assert_array_equal(load_decision(tmp_path).any_threat.slope, 1.0)
    assert at_false_alarm_rate(held_out, 0.2).threat_free == 10  # thresholds need no calibration
