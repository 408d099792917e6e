from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from explanations import one_look
from sklearn.metrics import roc_auc_score

from gbad.errors import DataError
from gbad.evaluation.figures import evaluate
from gbad.evaluation.metrics import any_threat_metrics, average_precision_per_class
from gbad.explanation import Explanation
from gbad.storage.files import read_json, write_json

CLASSES = ("Gun", "Knife", "Pliers")


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return (np.random.default_rng(0).random((500, 3)) < [0.05, 0.03, 0]).astype(np.uint8)


@pytest.fixture(scope="module")
def scores(labels: np.ndarray) -> Explanation:
    generator = np.random.default_rng(1)
    logits = generator.standard_normal((500, 3)) + 2 * labels
    ungated = 1 / (1 + np.exp(-logits))
    gate_score = generator.standard_normal(500) + 2 * labels.any(axis=1)
    anomalous = gate_score > 1
    log_gated = np.log(np.where(anomalous[:, None], ungated, 1e-6 * ungated))
    losses = np.exp(generator.standard_normal((500, 2)))
    any_threat = ungated.sum(axis=1)
    return one_look(logits, losses, gate_score, anomalous, log_gated, any_threat)


def test_evaluate_gathers_all_figures_of_metrics_json(labels: np.ndarray, scores: Explanation, tmp_path: Path) -> None:
    figures = evaluate(labels, scores, CLASSES, resamples=50)
    assert figures["classes"] == list(CLASSES)
    assert figures["n_images"] == 500
    assert figures["n_positive"] == dict(zip(CLASSES, labels.sum(axis=0).tolist(), strict=True))
    for key, ranking in (("ungated", scores.ungated), ("gbad", scores.gated)):
        per_class = average_precision_per_class(labels, ranking, CLASSES)
        assert figures[key]["per_class_ap"] == pytest.approx(per_class, nan_ok=True)
        assert figures[key]["map"] == pytest.approx((per_class["Gun"] + per_class["Knife"]) / 2)
        assert figures["intervals"][key]["map"][0] < figures[key]["map"] < figures["intervals"][key]["map"][1]
    y_any = labels.any(axis=1)
    expected = any_threat_metrics(y_any, scores.gate_score, scores.anomalous)
    assert expected.items() <= figures["anomaly"].items()
    assert figures["gate"]["recall"] == pytest.approx(scores.anomalous[y_any].mean())
    assert np.isnan(figures["gate"]["recall_per_class"]["Pliers"])

    write_json(tmp_path / "metrics.json", figures)
    assert read_json(tmp_path / "metrics.json")["gbad"]["per_class_ap"]["Pliers"] is None
    assert "NaN" not in json.dumps(read_json(tmp_path / "metrics.json"))


def test_any_threat_has_figures_of_its_own_and_no_decision(labels: np.ndarray, scores: Explanation) -> None:
    figures = evaluate(labels, scores, CLASSES, resamples=0)["any_threat"]
    assert set(figures) == {"roc_auc", "pr_auc", "recall_at_false_alarm_rate"}
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(labels.any(axis=1), scores.any_threat))


def test_interval_of_the_difference_is_gated_minus_ungated(labels: np.ndarray, scores: Explanation) -> None:
    oracle = replace(scores, log_gated=labels.astype(float))
    low, high = evaluate(labels, oracle, CLASSES, resamples=50)["intervals"]["gbad - ungated"]["map"]
    assert 0 < low < high <= 1


def test_figures_and_their_intervals_follow_the_rule(labels: np.ndarray, scores: Explanation) -> None:
    without = evaluate(labels, scores, CLASSES, resamples=0)
    assert "intervals" not in without
    voc = evaluate(labels, scores, CLASSES, rule="voc07", resamples=50)
    assert voc["ap_rule"] == "voc07"
    assert voc["gbad"]["map"] != without["gbad"]["map"]
    low, high = voc["intervals"]["gbad"]["map"]
    assert low < voc["gbad"]["map"] < high
    assert voc["intervals"] != evaluate(labels, scores, CLASSES, resamples=50)["intervals"]


def test_arrays_of_different_images_are_refused(labels: np.ndarray, scores: Explanation) -> None:
    with pytest.raises(DataError, match="same images"):
        evaluate(labels, replace(scores, anomalous=scores.anomalous[:-1]), CLASSES)
