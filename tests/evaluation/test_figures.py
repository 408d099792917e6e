from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gbad.errors import DataError
from gbad.evaluation.figures import evaluate
from gbad.evaluation.metrics import any_threat_metrics, average_precision_per_class
from gbad.storage.files import read_json, write_json

CLASSES = ("Gun", "Knife", "Pliers")


@pytest.fixture(scope="module")
def evaluation() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    y_true = (generator.random((500, 3)) < [0.05, 0.03, 0]).astype(np.uint8)
    ungated = 1 / (1 + np.exp(-generator.standard_normal((500, 3)) - 2 * y_true))
    gate_score = generator.standard_normal(500) + 2 * y_true.any(axis=1)
    anomalous = gate_score > 1
    gated = np.where(anomalous[:, None], ungated, 1e-6 * ungated)
    return {
        "y_true": y_true,
        "ungated": ungated,
        "gated": gated,
        "gate_score": gate_score,
        "anomalous": anomalous,
    }


def test_evaluate_gathers_all_figures_of_metrics_json(evaluation, tmp_path):
    figures = evaluate(**evaluation, classes=CLASSES, resamples=50)
    assert figures["classes"] == list(CLASSES)
    assert figures["n_images"] == 500
    assert figures["n_positive"] == dict(zip(CLASSES, evaluation["y_true"].sum(axis=0).tolist(), strict=True))
    for key, scores in (("ungated", "ungated"), ("gbad", "gated")):
        per_class = average_precision_per_class(evaluation["y_true"], evaluation[scores], CLASSES)
        assert figures[key]["per_class_ap"] == pytest.approx(per_class, nan_ok=True)
        assert figures[key]["map"] == pytest.approx((per_class["Gun"] + per_class["Knife"]) / 2)
        assert figures["intervals"][key]["map"][0] < figures[key]["map"] < figures["intervals"][key]["map"][1]
    y_any = evaluation["y_true"].any(axis=1)
    expected = any_threat_metrics(y_any, evaluation["gate_score"], evaluation["anomalous"])
    assert expected.items() <= figures["anomaly"].items()
    assert figures["gate"]["recall"] == pytest.approx(evaluation["anomalous"][y_any].mean())
    assert np.isnan(figures["gate"]["recall_per_class"]["Pliers"])

    write_json(tmp_path / "metrics.json", figures)
    assert read_json(tmp_path / "metrics.json")["gbad"]["per_class_ap"]["Pliers"] is None
    assert "NaN" not in json.dumps(read_json(tmp_path / "metrics.json"))


def test_any_threat_has_figures_of_its_own_and_no_decision(evaluation):
    y_any = evaluation["y_true"].any(axis=1)
    score = evaluation["ungated"].sum(axis=1)
    figures = evaluate(**evaluation, classes=CLASSES, any_threat=score, resamples=0)["any_threat"]
    assert set(figures) == {"roc_auc", "pr_auc", "recall_at_false_alarm_rate"}
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(y_any, score))
    assert "any_threat" not in evaluate(**evaluation, classes=CLASSES, resamples=0)


def test_interval_of_the_difference_is_gated_minus_ungated(evaluation):
    oracle = evaluation | {"gated": evaluation["y_true"].astype(float)}
    low, high = evaluate(**oracle, classes=CLASSES, resamples=50)["intervals"]["gbad - ungated"]["map"]
    assert 0 < low < high <= 1


def test_intervals_belong_to_the_all_points_rule(evaluation):
    assert "intervals" not in evaluate(**evaluation, classes=CLASSES, resamples=0)
    voc = evaluate(**evaluation, classes=CLASSES, rule="voc07", resamples=50)
    assert voc["ap_rule"] == "voc07"
    assert "intervals" not in voc
    assert voc["gbad"]["map"] != evaluate(**evaluation, classes=CLASSES, resamples=0)["gbad"]["map"]


def test_arrays_of_different_images_are_refused(evaluation):
    with pytest.raises(DataError, match="same images"):
        evaluate(**(evaluation | {"anomalous": evaluation["anomalous"][:-1]}), classes=CLASSES)
