"""The curve of image sizes: figures of the validation part against the pipeline's own, and its picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gbad.benchmarks.paper.figures import save_figures
from gbad.benchmarks.paper.inference import Scores
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.training.settings import Settings


@pytest.fixture
def module(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("studies/second_look_curve.py")


def a_cell(labels: np.ndarray, *, gated: bool) -> SimpleNamespace:
    generator = np.random.default_rng(0)
    logits = generator.standard_normal(labels.shape) + 2 * labels
    scores = Scores(np.arange(len(labels)).astype(str), logits, labels=labels)
    if gated:
        scores = Scores(
            scores.names, logits, labels=labels, first_look=logits, log_gated=logits, ranking=logits,
            second_look=logits + 2 * labels, gate_score=np.zeros(len(labels)), p_anomalous=np.ones(len(labels)),
            losses=np.zeros((len(labels), 2)), second_share=np.asarray(0.5),
        )  # fmt: skip
    return SimpleNamespace(validation_scores=lambda: scores, settings=Settings(class_heads=False))


def test_each_ratio_counts_the_threat_free_images_of_the_validation_part(module: ModuleType) -> None:
    labels = np.zeros((110, 2), np.uint8)
    labels[:5, 0] = labels[5:10, 1] = 1
    classes = ("Gun", "Knife")
    (alone,) = module.accuracy(a_cell(labels, gated=False), classes).values()
    logits = a_cell(labels, gated=False).validation_scores().logits
    for ratio in (10, 100, 1000):
        weights = np.where(labels.any(1), 1.0, ratio / 10)  # ten threat-free images to one with a threat
        expected = mean_average_precision(average_precision_per_class(labels, logits, classes, sample_weight=weights))
        assert alone[f"mAP {ratio}"] == pytest.approx(100 * expected, abs=0.01)
        assert alone[f"mAP {ratio} low"] <= alone[f"mAP {ratio} high"]
    looks = module.accuracy(a_cell(labels, gated=True), classes)
    assert looks["both looks"]["mAP 100"] > looks["first look alone"]["mAP 100"]


def test_the_picture_needs_no_times_of_use(module: ModuleType, tmp_path: Path) -> None:
    rows = [
        {"network": "gbad", "size": size, "look": look, "training minutes": size / 8, "milliseconds an image": np.nan,
         "mAP 100": 50 + size / 20, "mAP 100 low": 45.0, "mAP 100 high": 80.0}
        for size in (160, 320)
        for look in ("first look alone", "both looks", "one look")
    ]  # fmt: skip
    save_figures(tmp_path, {"curve": module.curve_figure(pd.DataFrame(rows))})
    assert "320 px" in (tmp_path / "curve.svg").read_text()
