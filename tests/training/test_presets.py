"""The paper's mode is the paper: all threats, as many threat-free images, nothing held out, one view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gbad
from gbad.data.labels import LabelList
from gbad.data.simulate import simulate_dataset
from gbad.errors import GbadError
from gbad.phase1_classifier import predict_batch
from gbad.phase1_classifier.checkpoints import read_history
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase3_gate import ThreatGate
from gbad.pipeline import GBADPipeline
from gbad.storage.files import read_json
from gbad.training import phase2
from gbad.training.checks import check_settings
from gbad.training.presets import preset
from gbad.training.run_folder import start_run
from gbad.training.settings import Settings
from gbad.workflows.train import train

QUICK: dict[str, Any] = {
    "backbone": "resnet18", "size": 32, "pretrained": False, "fpn_width": 8, "head_width": 8, "epochs": 2,
    "device": "cpu", "precision": "no",
}  # fmt: skip


def test_the_paper_mode_sees_what_the_paper_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 threats: 50 + 50 images an epoch; BiGAN on all threat-free images; SVM on 50 threats and the same images."""
    simulate_dataset(
        tmp_path / "data", train_positives=50, test_positives=2, negatives_per_positive=2, size=40, workers=1
    )
    seen: dict[str, Any] = {"epochs": []}
    fit_svm, fit_bigan = ThreatGate.fit, BiGANDetector.fit

    def svm(self: ThreatGate, losses: np.ndarray, threat: np.ndarray) -> ThreatGate:
        seen["svm"] = int(threat.sum()), int((threat == 0).sum())
        return fit_svm(self, losses, threat)

    def bigan(self: BiGANDetector, X: np.ndarray, *args: Any, **options: Any) -> BiGANDetector:
        seen["bigan"] = len(X)
        return fit_bigan(self, X, *args, **options)

    monkeypatch.setattr(ThreatGate, "fit", svm)
    monkeypatch.setattr(BiGANDetector, "fit", bigan)
    monkeypatch.setattr(
        phase2, "make_detector",
        lambda settings: BiGANDetector(latent_size=4, hidden_sizes=(8,), discriminator_sizes=(8, 8, 8), min_steps=20),
    )  # fmt: skip
    run = start_run(tmp_path / "run", tmp_path / "data", 10, Settings(**{**preset("paper"), **QUICK}))
    done = train(run)
    history = read_history(run.folder / "phase1")
    assert history is not None
    assert history["images"].tolist() == [100, 100]
    assert history["validation_map"].isna().all()
    assert not run.data.validation.any()
    assert seen["bigan"] == 100
    assert seen["svm"] == (50, 100)
    assert (done["phase3"]["positives"], done["phase3"]["rows"]) == (50, 150)
    assert set(done) == {"phase1", "phase2", "phase3"}

    pipeline = gbad.load(run.folder / "pipeline.joblib")
    found = pipeline.explain(list(run.data.source.names[:6]))
    one_view = predict_batch(pipeline.fitted_.network, np.stack([run.data.source.load(row) for row in range(6)]))[0]
    np.testing.assert_allclose(found.logits, one_view, atol=1e-5)
    # The paper's rule: a small number times the prediction of what looks normal, and once of what does not.
    factor = np.where(found.anomalous, 1.0, pipeline.settings.epsilon)
    probability = 1 / (1 + np.exp(-found.logits))
    np.testing.assert_allclose(np.exp(found.log_gated), factor[:, None] * probability, rtol=1e-6)
    assert pipeline.fitted_.thresholds.tolist() == [0.5] * 5


def test_fifty_thousand_images_are_the_most() -> None:
    assert preset("paper")["max_negatives"] == 50_000


def test_nothing_ends_the_papers_bigan_early() -> None:
    own, paper = (phase2.make_detector(settings) for settings in (Settings(), Settings(**preset("paper"))))
    assert isinstance(own, BiGANDetector)
    assert isinstance(paper, BiGANDetector)
    assert own.early_stopping
    assert not paper.early_stopping
    assert {**own.get_params(), "early_stopping": False} == paper.get_params()


def test_python_and_the_command_line_know_the_same_preset(
    dataset: Path, tmp_path: Path, gbad_command: Callable[..., Any]
) -> None:
    quick = ["--backbone", "resnet18", "--size", 32, "--no-pretrained", "--fpn-width", 8, "--head-width", 8]
    out = tmp_path / "run"
    done = gbad_command("train", dataset, "--preset", "paper", "--pooling", "max", "--epochs", 1, *quick, "--out", out,
                   "--stop-after", 1)  # fmt: skip
    assert done.status == 0, done.err
    settings = read_json(out / "run.json")["settings"]
    expected = preset("paper") | {"pooling": "max"}  # an option that is given has the last word
    assert {name: settings[name] for name in expected} == expected
    assert GBADPipeline(**gbad.preset("paper")).settings == Settings(**preset("paper"))
    refused = gbad_command("train", dataset, "--preset", "letter", "--out", tmp_path / "other")
    assert refused.status != 0
    assert "unknown --preset 'letter'; choose one of paper" in refused.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"class_heads": True}, "class_heads"), ({"gate_fit": "held-out"}, "gate_fit"),
     ({"second_look": True}, "second_look"), ({"suppression": "soft"}, "alpha")],
)  # fmt: skip
def test_nothing_is_chosen_where_nothing_is_held_out(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(GbadError, match=f"validation_fraction 0 holds no image out, but {named} must"):
        check_settings(Settings(**{**preset("paper"), **changes}))
    check_settings(Settings(**{**preset("paper"), **changes, "validation_fraction": 0.1}))


def test_a_fixed_soft_gate_needs_no_held_out_images(
    train_paths: list[Path], train_list: LabelList, tmp_path: Path
) -> None:
    detector = BiGANDetector(latent_size=4, hidden_sizes=(8,), discriminator_sizes=(8, 8, 8), min_steps=20)
    settings = {**preset("paper"), **QUICK, "detector": detector, "suppression": "soft", "alpha": 1.0, "epochs": 1}
    pipeline = GBADPipeline(**settings)
    pipeline.fit(train_paths, train_list.labels, classes=train_list.classes, run=tmp_path / "run")
    assert pipeline.fitted_.decision.strength == 1.0
