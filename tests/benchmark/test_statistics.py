from __future__ import annotations

import numpy as np
import pytest

from gbad.benchmark.statistics import intervals, mean_over_classes, seed_mean_samples
from gbad.bootstrap import bootstrap_average_precision
from gbad.metrics import average_precision


def scores(n: int = 400, seeds: int = 3, gain: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.random((n, 2)) < 0.1
    return y_true, generator.normal(size=(seeds, n, 2)) + gain * y_true


def test_one_seed_is_the_plain_bootstrap() -> None:
    y_true, rankings = scores(seeds=1)
    weights = np.where(y_true.any(axis=1), 1.0, 10.0)
    found = seed_mean_samples(y_true, {"a": rankings}, weights, resamples=20)["a"]
    plain = bootstrap_average_precision(y_true, [rankings[0]], resamples=20, sample_weight=weights)[:, 0]
    np.testing.assert_array_equal(found, plain)


def test_equal_trainings_add_nothing() -> None:
    y_true, rankings = scores(seeds=1)
    alone = seed_mean_samples(y_true, {"a": rankings}, np.ones(400), resamples=20)["a"]
    thrice = seed_mean_samples(y_true, {"a": np.repeat(rankings, 3, axis=0)}, np.ones(400), resamples=20)["a"]
    np.testing.assert_allclose(alone, thrice, rtol=0, atol=1e-12)


def test_spread_of_trainings_is_in_the_interval() -> None:
    """Half of the trainings know nothing: the variance over seeds must come out as that of their mean."""
    y_true, good = scores(n=3000, seeds=1)
    rankings = np.concatenate([good, good, 0 * good + np.random.default_rng(9).normal(size=good.shape)])
    samples = mean_over_classes(seed_mean_samples(y_true, {"a": rankings}, np.ones(3000), resamples=400)["a"])
    ap = [np.mean([average_precision(y_true[:, c], one[:, c]) for c in range(2)]) for one in rankings]
    assert samples.mean() == pytest.approx(np.mean(ap), abs=0.03)
    assert samples.std() == pytest.approx(np.std(ap, ddof=1) / np.sqrt(3), rel=0.15)


def test_differences_are_paired_and_methods_stay_within_bounds() -> None:
    y_true, rankings = scores()
    samples = seed_mean_samples(
        y_true, {"a": rankings, "b": rankings + 0.0, "c": -rankings}, np.ones(400), resamples=50
    )
    found = intervals(samples, ["Gun", "Knife"], [("a", "b"), ("a", "c"), ("a", "absent")])
    assert set(found) == {"a", "b", "c", "a - b", "a - c"}
    assert found["a - b"]["mean"] == (0.0, 0.0)
    assert found["a - c"]["Gun"][0] > 0
    for name in "abc":
        assert all(0 <= low <= high <= 1 for low, high in found[name].values())
    low, high = found["a"]["mean"]
    value = np.mean([average_precision(y_true[:, c], one[:, c]) for one in rankings for c in range(2)])
    assert low < value < high


def test_a_class_without_positives_is_missing() -> None:
    y_true, rankings = scores()
    y_true[:, 1] = False
    found = intervals(seed_mean_samples(y_true, {"a": rankings}, np.ones(400), resamples=10), ["Gun", "Knife"])["a"]
    assert np.isnan(found["Knife"]).all()
    assert found["mean"] == found["Gun"]
