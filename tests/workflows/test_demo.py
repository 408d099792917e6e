"""``gbad demo``, on a simulation and a training that take seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gbad.pipeline import GBADPipeline
from gbad.workflows import demo


@pytest.fixture
def small(dataset: Path, make_pipeline: Callable[..., GBADPipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of other tests instead of 5,250 simulated images, and their network."""
    monkeypatch.setattr(demo, "simulate_demo_data", lambda out, seed: shutil.copytree(dataset, out, dirs_exist_ok=True))
    monkeypatch.setattr(demo, "demo_settings", lambda seed: make_pipeline(random_state=seed).settings)


@pytest.mark.usefixtures("small")
def test_the_demo_simulates_trains_and_evaluates_and_goes_on(gbad_command: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "demo"
    outcome = gbad_command("demo", "--out", out, "--seed", 5)
    assert outcome.status == 0, outcome.err
    said = ("1/3 Simulating", "2/3 Training", "3/3 Evaluating", "classifier alone")
    steps = [outcome.out.index(text) for text in said]
    assert steps == sorted(steps)
    assert f"Report in {out}/report.html. Next: gbad predict {out}/pipeline.joblib" in outcome.out
    assert {"pipeline.joblib", "metrics.json", "scores.csv", "report.html"} <= {path.name for path in out.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["seed"] == 5
    done = (out / "phase3" / "done.json").stat().st_mtime_ns
    again = demo.run_demo(out, 5)
    assert (out / "phase3" / "done.json").stat().st_mtime_ns == done
    assert again["gbad"] == metrics["gbad"]


def test_the_demo_has_the_documented_settings() -> None:
    settings = demo.demo_settings(12)
    settings.check_values()
    assert (settings.backbone, settings.size, settings.random_state) == ("efficientnet_lite0", 128, 12)
