"""The whole way on real images, with settings that are quick instead of good; no figure means anything here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gbad.data.labels import read_sixray

DATA = Path(__file__).parents[2] / "shared" / "data" / "sixray-mini"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the SIXray images in {DATA}")


def test_check_finds_the_data_complete(gbad_command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = gbad_command("check", DATA, "--subset", 10, "--out", tmp_path / "check.csv")
    assert outcome.status == 0, outcome.out + outcome.err
    assert (tmp_path / "check.csv").exists()


def test_train_evaluate_and_predict(
    gbad_command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gbad.phase2_anomaly import BiGANDetector

    monkeypatch.setitem(BiGANDetector.__init__.__kwdefaults__, "min_steps", 100)
    run, out = tmp_path / "run", tmp_path / "evaluation"
    outcome = gbad_command(
        "train", DATA, "--subset", 10, "--out", run, "--backbone", "resnet18", "--no-pretrained", "--size", 64,
        "--epochs", 1, "--fpn-width", 16, "--no-second-look",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert not (run / "bad_images.csv").exists()

    outcome = gbad_command("evaluate", run / "pipeline.joblib", DATA, "--subset", 10, "--out", out)
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("missing") == 4  # twice for each of two classes
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_images"] == 406
    assert metrics["n_positive"] == {"Gun": 127, "Knife": 60, "Wrench": 73, "Pliers": 0, "Scissors": 0}
    for method in ("ungated", "gbad"):
        per_class = metrics[method]["per_class_ap"]
        assert {name for name, value in per_class.items() if value is None} == {"Pliers", "Scissors"}
        present = [per_class[name] for name in ("Gun", "Knife", "Wrench")]
        assert metrics[method]["map"] == pytest.approx(sum(present) / 3)
    assert "missing" in (out / "report.html").read_text(encoding="utf-8")
    scores = pd.read_csv(out / "scores.csv", dtype={"name": str})
    assert tuple(scores["name"]) == read_sixray(DATA, 10, "test").names
    assert scores.drop(columns="reason").notna().all(axis=None)

    outcome = gbad_command("predict", run / "pipeline.joblib", DATA / "threats", "--out", tmp_path / "scores.csv")
    assert outcome.status == 0, outcome.err
    predicted = pd.read_csv(tmp_path / "scores.csv")
    assert len(predicted) == len(list((DATA / "threats").iterdir()))
    assert set(predicted["status"]) == {"ok"}
