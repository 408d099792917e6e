from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from gbad.benchmarks.paper.any_threat import SeedScores, decision_threshold, detector_rows, macro_figures
from gbad.errors import DataError


def scores(n: int, prevalence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_any = generator.random(n) < prevalence
    y_any[:2] = True, False
    return y_any, generator.normal(size=n) + 2 * y_any


def test_macro_figures_equal_sklearn() -> None:
    y_any, score = scores(300, 0.1, 0)
    for threshold in (-10.0, 0.5, 1.5, 10.0):
        decision = score >= threshold
        expected = precision_recall_fscore_support(y_any, decision, average="macro", zero_division=0.0)[:3]
        counts = np.array((decision & y_any).sum()), np.array((decision & ~y_any).sum())
        found = macro_figures(*counts, y_any.sum(), (~y_any).sum())
        assert np.allclose(found, expected)


def test_threshold_has_the_highest_macro_f1_of_all() -> None:
    y_any, score = scores(200, 0.2, 1)
    threshold = decision_threshold(y_any, score)

    def f1(at: float) -> float:
        return float(precision_recall_fscore_support(y_any, score >= at, average="macro", zero_division=0.0)[2])

    assert f1(threshold) == pytest.approx(max(f1(at) for at in score))
    assert not (score == threshold).any()  # between two images


def test_a_ratio_counts_threat_free_images_as_often_as_copies_would() -> None:
    y_any, score = scores(200, 0.5, 2)
    copies = 5
    many_any = np.concatenate([y_any, *[y_any[~y_any]] * (copies - 1)])
    many = np.concatenate([score, *[score[~y_any]] * (copies - 1)])
    ratio = copies * (~y_any).sum() / y_any.sum()
    assert decision_threshold(y_any, score, ratio) == decision_threshold(many_any, many)
    assert decision_threshold(y_any, score, ratio) > decision_threshold(y_any, score)


def test_no_threshold_without_both_kinds() -> None:
    for y_any in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(DataError, match=r"[03] of 3 validation images show a threat, so no threshold"):
            decision_threshold(y_any, np.arange(3.0), 100)


def test_rows_by_hand() -> None:
    y_any = np.array([True, True, False, False, False, False])
    validation = np.array([True, False]), np.array([1.0, 0.0])
    first = SeedScores(*validation, np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0]))  # at 0.5: 1 hit, 1 false alarm
    second = SeedScores(*validation, np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]))  # all right
    own = SeedScores(*validation, np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0]), threshold=-1.0)  # all are threats
    table = detector_rows({"both": [first, second], "own": [own]}, y_any, None, resamples=50).set_index("method")
    assert table.loc["both", "precision"] == pytest.approx(((1 / 2 + 3 / 4) / 2 + 1) / 2)
    assert table.loc["both", "recall"] == pytest.approx(((1 / 2 + 3 / 4) / 2 + 1) / 2)
    assert table.loc["both", "f1"] == pytest.approx(((1 / 2 + 3 / 4) / 2 + 1) / 2)
    assert table.loc["own", "recall"] == 0.5
    assert table.loc["own", "f1"] == pytest.approx((2 * 2 / 8 + 0) / 2)
    assert (table["f1_low"] <= table["f1"]).all()
    assert (table["f1_high"] >= table["f1"]).all()
    assert table.loc["both", "roc_auc"] == pytest.approx((0.625 + 1) / 2)


def test_a_weight_counts_threat_free_images_as_often_as_copies_would() -> None:
    y_any, score = scores(300, 0.2, 4)
    validation = scores(200, 0.3, 5)
    often = np.where(y_any, 1, 5)
    columns = ["precision", "recall", "f1", "roc_auc", "pr_auc"]
    one = detector_rows({"a": [SeedScores(*validation, score)]}, y_any, 50, negative_weight=5, resamples=2)
    copies = SeedScores(*validation, np.repeat(score, often))
    other = detector_rows({"a": [copies]}, np.repeat(y_any, often), 50, resamples=2)
    np.testing.assert_allclose(one[columns].to_numpy(float), other[columns].to_numpy(float))


def test_interval_of_a_decision_is_that_of_drawing_images() -> None:
    y_any, score = scores(500, 0.2, 3)
    row = detector_rows({"a": [SeedScores(y_any, score, score, 1.0)]}, y_any, None, resamples=2000).iloc[0]
    generator = np.random.default_rng(0)
    strata = np.flatnonzero(y_any), np.flatnonzero(~y_any)
    recalls = []
    for _ in range(300):
        rows = np.concatenate([generator.choice(kind, len(kind)) for kind in strata])
        recalls.append(precision_recall_fscore_support(y_any[rows], score[rows] >= 1.0, average="macro")[1])
    low, high = np.quantile(recalls, [0.025, 0.975])
    assert row["recall_low"] == pytest.approx(low, abs=0.02)
    assert row["recall_high"] == pytest.approx(high, abs=0.02)
