from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

import gbad
from gbad import DataError, GbadError, RunError
from gbad.data.bad_images import BadImages
from gbad.data.source import source_from_array
from gbad.evaluation.metrics import average_precision_per_class
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase2_anomaly.detectors import detector_input, sigmoid
from gbad.phase3_gate import AnyThreat, Decided, Decision, ThreatGate, hard_gate
from gbad.pipeline import GBADPipeline
from gbad.training.fitted import FittedGBAD
from gbad.training.phase2 import fit_phase2, load_detectors, threat_free_training_rows
from gbad.training.phase3 import fit_phase3, load_decision
from gbad.training.phases import fit_phases
from gbad.training.run_folder import Run, start_run
from gbad.training.training_set import TrainingSet
from gbad.workflows.train import train

Make = Callable[..., GBADPipeline]


def small_set(validation: np.ndarray | None = None) -> TrainingSet:
    """12 grey images: rows 0 to 5 have a threat, rows 4, 5, 10, 11 are kept for validation."""
    labels = np.zeros((12, 2), np.uint8)
    labels[:6, 0] = 1
    kept = np.isin(np.arange(12), (4, 5, 10, 11)) if validation is None else validation
    return TrainingSet(source_from_array(np.zeros((12, 8, 8, 3), np.uint8), 8), labels, ("Gun", "Knife"), kept)


def test_the_detector_sees_threat_free_training_rows_only() -> None:
    rows = np.array([0, 11, 6, 4, 9])
    np.testing.assert_array_equal(threat_free_training_rows(rows, small_set()), [False, False, True, False, True])


def test_phase_2_is_fitted_on_threat_free_training_rows_and_scores_the_rest(
    trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    fit = BiGANDetector.fit

    def spy(self: BiGANDetector, X: np.ndarray, *args: Any, **options: Any) -> BiGANDetector:
        seen.append(np.array(X))
        return fit(self, X, *args, **options)

    monkeypatch.setattr(BiGANDetector, "fit", spy)
    for max_negatives in (10, 50_000):
        folder = Path(shutil.copytree(trained.folder, tmp_path / str(max_negatives)))
        shutil.rmtree(folder / "phase2")
        settings = make_pipeline(max_negatives=max_negatives).settings
        fit_phase2(trained.data, settings, folder, BadImages(72))
        table = pd.read_csv(folder / "phase2" / "losses.csv")
        positive, held_out = trained.data.positive[table["row"]], table["part"] == "validation"
        assert min(max_negatives, (~positive & ~held_out).sum()) == len(seen[-1])
        assert (positive & ~held_out).sum() == (trained.data.positive & ~trained.data.validation).sum()
        assert (positive & held_out).sum() == (trained.data.positive & trained.data.validation).sum()
        assert table["row"].is_unique
        features = gbad.phase1_classifier.FeatureFile(folder / "phase2" / "features")
        used = np.isin(features.rows, table["row"][~positive & ~held_out])
        expected = detector_input(features.features, features.logits)[used]
        np.testing.assert_array_equal(seen[-1], expected)
        assert expected.shape[1] == 4 * 8 + 5
        assert expected.dtype == np.float32


def test_sigmoid_is_exact_at_both_ends() -> None:
    values = sigmoid(np.array([-800.0, -40.0, 0.0, 40.0, 800.0], np.float32))
    np.testing.assert_allclose(values, [0, np.exp(-40), 0.5, 1, 1], rtol=1e-12)
    assert values.dtype == np.float64


def test_gates_suppress_as_they_say() -> None:
    random = np.random.default_rng(0)
    gate = ThreatGate().fit(random.uniform(1, 2, (60, 2)) * np.repeat([[1.0], [3.0]], 30, axis=0), np.arange(60) // 30)
    losses = np.array([[0.0, 0.0], [1e6, 1e6]])
    logits = np.array([[2.0, -2.0], [2.0, -2.0]])

    def decide(suppression: str, strength: float) -> Decided:
        decision = Decision(gate, suppression, strength, None, 0.0, AnyThreat.identity(2), np.full(2, 0.5))
        return decision.decide(logits, np.empty((2, 0), np.float32), losses)

    hard = decide("hard", 0.01)
    np.testing.assert_array_equal(hard.anomalous, [False, True])
    np.testing.assert_array_equal(hard.gate_score > 0, hard.anomalous)
    np.testing.assert_array_equal(hard.ranking, logits)
    np.testing.assert_allclose(np.exp(hard.log_gated), sigmoid(logits) * [[0.01], [1.0]])
    p = gate.predict_proba(losses)[:, 1:]
    np.testing.assert_allclose(np.exp(decide("soft", 2.0).log_gated), sigmoid(logits) * p**2)


@pytest.mark.parametrize("gate_fit", ["held-out", "paper"])
@pytest.mark.parametrize(("suppression", "alpha"), [("hard", None), ("soft", None), ("soft", 0.7)])
def test_phase_3_in_all_its_forms(
    gate_fit: str, suppression: str, alpha: float | None, trained: Run, make_pipeline: Make, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(folder / "phase3")
    pipeline = make_pipeline(gate_fit=gate_fit, suppression=suppression, alpha=alpha, epsilon=0.25)
    fit_phase3(trained.data, pipeline.settings, folder)
    assert ("epsilon 0.25 is not used: it is for suppression hard" in caplog.text) == (suppression == "soft")
    decision = load_decision(folder)
    expected = {"hard": 0.25, "soft": alpha}[suppression]
    assert decision.strength == expected or (alpha is None and suppression == "soft" and decision.strength >= 0)
    assert decision.gate.monotone == (gate_fit == "held-out")

    table = pd.read_csv(folder / "phase2" / "losses.csv")
    used = (table["part"] == "validation") == (gate_fit == "held-out")
    losses = table[["reconstruction_loss", "feature_matching_loss"]].to_numpy()
    options = {} if gate_fit == "held-out" else {"monotone": False, "clip": False, "max_rows": None}
    reference = ThreatGate(**options).fit(losses[used], trained.data.positive[table["row"][used]].astype(int))
    np.testing.assert_allclose(decision.gate.decision_function(losses), reference.decision_function(losses), atol=1e-9)


def test_an_exponent_of_the_hard_gate_is_told_to_be_unused(
    trained: Run, make_pipeline: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(folder / "phase3")
    fit_phase3(trained.data, make_pipeline(suppression="hard", alpha=0.7).settings, folder)
    assert caplog.messages == ["alpha 0.7 is not used: it is for suppression soft, and suppression is hard."]


def test_phase_3_needs_both_kinds_of_images(trained: Run, make_pipeline: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(folder / "phase3")
    path = folder / "phase2" / "losses.csv"
    table = pd.read_csv(path)
    table[(table["part"] == "training") | trained.data.positive[table["row"]]].to_csv(path, index=False)
    done = json.loads((path.parent / "done.json").read_text())
    del done["losses"], done["digest"]  # the digests of both files
    (path.parent / "done.json").write_text(json.dumps(done))
    with pytest.raises(DataError, match=r"gate is fitted on has \d+ images with threats and 0 without.*gate_fit"):
        fit_phase3(trained.data, make_pipeline().settings, folder)
    assert not (folder / "phase3" / "gate.joblib").exists()


def test_a_part_without_threats_is_found_before_training(make_pipeline: Make, tmp_path: Path) -> None:
    bad = BadImages(12)
    for kept, options, part in (
        ([10, 11], {}, "validation part has 0 images with threats and 2 without"),
        ([0, 1], {}, "validation part has 2 images with threats and 0 without"),
        ([0, 1, 2, 3, 4, 5, 6], {"gate_fit": "paper"}, "training part has 0 images with threats and 5 without"),
    ):
        with pytest.raises(DataError, match=part):
            fit_phases(
                small_set(np.isin(np.arange(12), kept)), make_pipeline(**options).settings, tmp_path / "run", bad
            )
    assert not (tmp_path / "run").exists()


def test_phases_want_what_the_one_before_leaves(make_pipeline: Make, trained: Run, tmp_path: Path) -> None:
    settings = make_pipeline().settings
    with pytest.raises(RunError, match=r"no classifier yet.*phase1_train_classifier\.py DATA --out"):
        fit_phase2(trained.data, settings, tmp_path, BadImages(72))
    with pytest.raises(RunError, match=r"no losses yet.*phase2_train_detector\.py"):
        fit_phase3(trained.data, settings, tmp_path)
    with pytest.raises(RunError, match="no detector yet"):
        load_detectors(tmp_path)
    with pytest.raises(RunError, match="no gate yet"):
        load_decision(tmp_path)


def test_damaged_results_of_a_phase_are_named(trained: Run, make_pipeline: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    for name in ("phase1/classifier.joblib", "phase2/detector.joblib", "phase3/gate.joblib"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-10])
        with pytest.raises(GbadError, match=f"{name}: damaged"):
            FittedGBAD.from_run(folder, trained.data, trained.settings).network  # noqa: B018
        (folder / name).write_bytes(whole)


def test_a_full_disk_stops_each_step_with_an_error_and_loses_nothing(
    dataset: Path,
    make_pipeline: Make,
    tmp_path: Path,
    full_disk: Callable[[int], AbstractContextManager[None]],
    train_paths: list[Path],
) -> None:
    run, settings = tmp_path / "run", make_pipeline(fpn_width=256).settings  # a checkpoint larger than the cache

    def fails(limit: int, message: str) -> None:
        with full_disk(limit), pytest.raises(GbadError, match=message):
            train(start_run(run, dataset, 10, settings))
        assert not [path for path in run.rglob(".*") if path.is_file()], "half-written files"

    fails(100, r"run\.json: cannot be written \(File too large\)")
    fails(500_000, "cache: the image cache cannot be made")
    fails(2_000_000, r"checkpoint-0001\.pt: cannot be written")
    train(start_run(run, dataset, 10, settings), last=1)
    fails(5_000, r"features: features cannot be written \(File too large\)")
    fails(20_000, r"checkpoint\.pt: cannot be written")
    fails(150_000, r"familiarity\.joblib: cannot be written")
    train(start_run(run, dataset, 10, settings), last=2)
    fails(5_000, r"gate\.joblib: cannot be written")
    fails(1_000_000, r"pipeline\.joblib: cannot be written")
    train(start_run(run, dataset, 10, settings))
    train(start_run(tmp_path / "unbroken", dataset, 10, settings))
    files = (tmp_path / "unbroken" / "pipeline.joblib", run / "pipeline.joblib")
    expected, found = (gbad.load(file).explain(train_paths) for file in files)
    np.testing.assert_allclose(found.gated, expected.gated, rtol=1e-6)


def test_shuffled_labels_give_chance_level(make_pipeline: Make) -> None:
    """Images keep their squares and stripes; only labels of the test part that leak could still be found."""
    random = np.random.default_rng(0)
    labels = np.zeros((240, 2), np.uint8)
    labels[:60, 0] = labels[40:90, 1] = 1
    images = random.integers(180, 256, (240, 32, 32, 3), dtype=np.uint8)
    images[:60, 4:20, 4:20] = 10
    images[40:90, 24:28, :, 1:] = 40
    order = random.permutation(240)
    images, labels = images[order], labels[order]
    detector = BiGANDetector(latent_size=2, hidden_sizes=(8,), discriminator_sizes=(8, 4, 4), min_steps=20, epochs=1)
    options = {"size": 32, "epochs": 3, "detector": detector, "learning_rate": 1e-2}

    def mean_ap(labels: np.ndarray, seed: int) -> list[float]:
        pipeline = make_pipeline(**options, random_state=seed).fit(images[:120], labels[:120])
        explained = pipeline.explain(images[120:])
        scores = (explained.logits, explained.log_gated)
        return [float(np.mean([average_precision_score(labels[120:, c], s[:, c]) for c in (0, 1)])) for s in scores]

    prevalence = labels.mean()
    assert min(mean_ap(labels, 0)) > prevalence + 0.25
    shuffled = np.mean([mean_ap(random.permutation(labels), seed) for seed in (1, 2)], axis=0)
    np.testing.assert_allclose(shuffled, prevalence, atol=0.08)


def test_a_gate_that_guesses_has_a_known_price() -> None:
    """A perfect classifier behind a gate that passes a share r of all images at random.

    The ranking is: passed positives, passed negatives, other positives, other negatives. So the AP is r for the first
    group, plus the sum over k of (rP + k) / (rP + rN + k) / P for the k-th positive of the third.
    """
    positives, negatives, r = 200, 800, 0.5
    y = np.repeat([1, 0], [positives, negatives])[:, None]
    random = np.random.default_rng(0)
    k = np.arange(1, (1 - r) * positives + 1)
    expected = r + np.sum((r * positives + k) / (r * (positives + negatives) + k)) / positives
    logits = np.where(y == 1, 3.0, -3.0)
    found = []
    for _ in range(40):
        noisy = logits + random.normal(scale=0.01, size=logits.shape)
        gated = hard_gate(noisy, random.random(len(y)) < r, epsilon=1e-6)
        found.append(average_precision_per_class(y, gated, ["Gun"])["Gun"])
    assert np.mean(found) == pytest.approx(expected, abs=0.01)
    assert expected == pytest.approx(0.6357, abs=1e-4)


def test_a_run_that_begins_does_not_continue(
    dataset: Path, tmp_path: Path, make_pipeline: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="gbad")
    for expected in (0, 1):
        start_run(tmp_path / "run", dataset, 10, make_pipeline().settings)
        assert caplog.text.count("continuing the run") == expected
