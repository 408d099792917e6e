"""The demonstration: a small simulated set, all three phases and the evaluation, in minutes on two cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.markup import escape

from gbad.data.simulate import simulate_dataset
from gbad.phase1_classifier.checkpoints import read_history
from gbad.phase2_anomaly import BiGANDetector
from gbad.pipeline import load
from gbad.runtime.randomness import derived_seed
from gbad.training.run_folder import start_run, training_seconds
from gbad.training.settings import Settings
from gbad.workflows.evaluate import evaluate
from gbad.workflows.train import train

SUBSET = 10


def simulate_demo_data(out: Path, seed: int) -> None:
    """Simulate data that a network learns within minutes on two cores: lightly packed bags, few threat-free images."""
    simulate_dataset(
        out, SUBSET, train_positives=900, test_positives=150, negatives_per_positive=4, load=0.3, size=320, seed=seed,
        show_progress=True,
    )  # fmt: skip


def demo_settings(seed: int) -> Settings:
    """Settings of the demonstration: a small pretrained backbone, small images and regions, and few epochs.

    Six passes over the regions instead of eight, which would suit them: ten minutes are to be enough for all.
    """
    detector = BiGANDetector(min_steps=300, random_state=derived_seed(seed, "phase 2"))
    return Settings(
        backbone="efficientnet_lite0", start="imagenet", size=128, epochs=6, detector=detector,
        region_size=96, region_epochs=6, random_state=seed,
    )  # fmt: skip


def run_demo(out: str | Path, seed: int = 12, say: Callable[[str], object] = lambda text: None) -> dict[str, Any]:
    """Simulate, train, evaluate; leave pipeline.joblib, metrics.json, scores.csv and report.html in `out`.

    A run that was killed continues.

    Parameters
    ----------
    out : path-like
        Run folder; the simulated data go to ``out/data``.
    seed : int
        Of the simulation and of the training.
    say : callable
        Told what comes next.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    out = Path(out)
    data = out / "data"
    say(f"[bold]1/3[/] Simulating X-ray images of bags in SIXray's layout: {escape(str(data))}")
    simulate_demo_data(data, seed)
    say("[bold]2/3[/] Training: phase 1 classifier, phase 2 BiGAN, phase 3 gate")
    train(start_run(out, data, SUBSET, demo_settings(seed)), show_progress=True)
    say("[bold]3/3[/] Evaluating on the test list")
    history = read_history(out / "phase1")
    # The saved file is what is evaluated: the figures hold for what a user loads.
    return evaluate(
        load(out / "pipeline.joblib"), data, SUBSET, out, history=history, seconds=training_seconds(out),
        show_progress=True,
    )  # fmt: skip
