from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.evaluation.bootstrap import bootstrap_average_precision, bootstrap_intervals
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision

CLASSES = ("Gun", "Knife", "Wrench")


def simulated_scores(n: int, prevalence: float, separation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.random((n, len(CLASSES))) < prevalence
    y_true[:2] = True
    return y_true.astype(np.uint8), generator.standard_normal(y_true.shape) + separation * y_true


def test_each_resample_equals_sklearns_weighted_average_precision():
    y_true, first = simulated_scores(300, 0.05, 1.5)
    first = first.round(1)  # with ties
    second = np.random.default_rng(1).random(first.shape).round(1)
    values = bootstrap_average_precision(y_true, [first, second], resamples=20, seed=3)
    # The documented resampling, done by hand: threats and threat-free images apart.
    generator = np.random.default_rng(3)
    strata = [np.flatnonzero(y_true.any(axis=1)), np.flatnonzero(~y_true.any(axis=1))]
    for resample in values:
        drawn = np.concatenate([rows[generator.integers(0, len(rows), size=len(rows))] for rows in strata])
        counts = np.bincount(drawn, minlength=len(y_true))
        for m, scores in enumerate((first, second)):
            for c in range(len(CLASSES)):
                expected = average_precision_score(y_true[:, c], scores[:, c], sample_weight=counts)
                assert resample[m, c] == pytest.approx(expected, abs=1e-12)


def test_weights_of_images_multiply_how_often_they_are_drawn():
    y_true, scores = simulated_scores(300, 0.05, 1.5)
    scores = scores.round(1)  # with ties
    weights = np.where(y_true.any(axis=1), 1.0, 10.0)
    values = bootstrap_average_precision(y_true, [scores], resamples=10, seed=3, sample_weight=weights)
    generator = np.random.default_rng(3)
    strata = [np.flatnonzero(y_true.any(axis=1)), np.flatnonzero(~y_true.any(axis=1))]
    for resample in values:
        drawn = np.concatenate([rows[generator.integers(0, len(rows), size=len(rows))] for rows in strata])
        counts = np.bincount(drawn, minlength=len(y_true)) * weights
        for c in range(len(CLASSES)):
            expected = average_precision_score(y_true[:, c], scores[:, c], sample_weight=counts)
            assert resample[0, c] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(DataError, match="one weight each"):
        bootstrap_average_precision(y_true, [scores], resamples=1, sample_weight=weights[1:])


def test_same_seed_same_resamples_other_seed_others():
    y_true, scores = simulated_scores(200, 0.1, 1.0)
    first, again, other = (bootstrap_average_precision(y_true, [scores], resamples=5, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_resample_without_positives_of_a_class_counts_as_missing():
    y_true = np.zeros((30, 2), dtype=np.uint8)
    y_true[0, 0] = 1
    y_true[1:6, 1] = 1
    scores = np.random.default_rng(0).random(y_true.shape)
    values = bootstrap_average_precision(y_true, [scores], resamples=200, seed=0)[:, 0]
    assert 0.1 < np.isnan(values[:, 0]).mean() < 0.6  # one of six threats stays out with probability (5/6)**6 = 0.33
    assert np.isnan(values[:, 1]).mean() < 0.05
    low, high = bootstrap_intervals(y_true, {"cnn": scores}, ["rare", "other"], resamples=200)["cnn"]["map"]
    assert 0 < low < high <= 1


def test_intervals_hold_the_estimate_and_shrink_with_more_images():
    widths = []
    for n in (400, 6400):
        y_true, scores = simulated_scores(n, 0.1, 1.5)
        intervals = bootstrap_intervals(y_true, {"cnn": scores}, CLASSES, resamples=200)["cnn"]
        estimate = average_precision_per_class(y_true, scores, CLASSES)
        for name in CLASSES:
            low, high = intervals["per_class_ap"][name]
            assert low < estimate[name] < high
        low, high = intervals["map"]
        assert low < mean_average_precision(estimate) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.5)


def test_differences_are_paired():
    y_true, scores = simulated_scores(2000, 0.05, 1.5)
    worse = scores + 0.3 * np.random.default_rng(5).standard_normal(scores.shape)
    pairs = [("a", "b"), ("b", "a"), ("a", "same")]
    methods = {"a": scores, "b": worse, "same": scores.copy()}
    intervals = bootstrap_intervals(y_true, methods, CLASSES, differences=pairs, resamples=200)
    assert intervals["a - same"]["map"] == [0.0, 0.0]
    assert intervals["a - b"]["map"] == pytest.approx([-bound for bound in intervals["b - a"]["map"]][::-1])
    width = {name: np.ptp(intervals[name]["map"]) for name in intervals}
    assert width["a - b"] < 0.7 * width["a"]  # unpaired, it would be wider than either


def test_perfect_and_missing_classes():
    y_true, _ = simulated_scores(200, 0.05, 0.0)
    y_true[:, 2] = 0
    intervals = bootstrap_intervals(y_true, {"oracle": y_true}, CLASSES, resamples=50)["oracle"]
    assert intervals["per_class_ap"]["Gun"] == [1.0, 1.0]
    assert np.isnan(intervals["per_class_ap"]["Wrench"]).all()
    assert intervals["map"] == [1.0, 1.0]
    none = bootstrap_intervals(np.zeros((4, 1)), {"cnn": np.ones((4, 1))}, ["Gun"], resamples=5)["cnn"]
    assert np.isnan(none["map"]).all()


def test_higher_level_gives_a_wider_interval():
    y_true, scores = simulated_scores(500, 0.1, 1.0)
    narrow, wide = (
        bootstrap_intervals(y_true, {"cnn": scores}, CLASSES, level=level, resamples=200)["cnn"]["map"]
        for level in (0.5, 0.95)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_unusable_scores_are_refused():
    y_true, scores = simulated_scores(20, 0.1, 1.0)
    with pytest.raises(DataError, match="3 columns for 2 classes"):
        bootstrap_intervals(y_true, {"cnn": scores}, CLASSES[:2], resamples=2)
    with pytest.raises(DataError, match="nan"):
        bootstrap_intervals(y_true, {"cnn": np.full(scores.shape, np.nan)}, CLASSES, resamples=2)
