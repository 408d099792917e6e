from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as t_distribution

from gbad.benchmarks.paper.statistics import intervals, seed_mean_samples, with_seed_deviations
from gbad.evaluation.bootstrap import bootstrap_average_precision, mean_over_classes, percentiles
from gbad.evaluation.metrics import average_precision


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
    error = np.std(ap, ddof=1) / np.sqrt(3)
    assert np.median(samples) == pytest.approx(np.mean(ap), abs=0.03)
    low, high = np.quantile(samples, [0.25, 0.75])
    assert high - low == pytest.approx(2 * t_distribution.ppf(0.75, 2) * error, rel=0.2)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_intervals_cover_what_they_say(n_seeds: int, noise: float) -> None:
    """Methods a and b with a known truth, seeds that both depend on, and images that only add noise."""
    generator, covered = np.random.default_rng(1), []
    for repeat in range(500):
        of_seed = 0.02 * generator.normal(size=(2, n_seeds, 1))
        of_images = noise * generator.normal(size=(2, 1, 1))
        resampled = noise * generator.normal(size=(300, 2, 1, 1))
        sampled = with_seed_deviations(np.array([0.6, 0.5])[:, None, None] + of_seed + of_images + resampled, repeat)
        for one, truth in ((sampled[:, 0, 0], 0.6), ((sampled[:, 0] - sampled[:, 1])[:, 0], 0.1)):
            low, high = percentiles(one)
            covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.93
    assert np.mean(covered) <= (0.97 if noise == 0.0 else 0.995)


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


def test_the_mean_is_not_moved_by_what_lies_outside_of_0_and_1() -> None:
    """Bounds are clipped, not samples: a class near 0 would lose its lower tail alone, and lift that of the mean."""
    samples = np.stack([np.linspace(-0.4, 0.5, 901), np.full(901, 0.3)], axis=1)
    found = intervals({"a": samples}, ["Gun", "Knife"])["a"]
    assert found["Gun"] == pytest.approx((0.0, 0.4775))
    assert found["mean"] == pytest.approx(((-0.3775 + 0.3) / 2 if -0.3775 + 0.3 > 0 else 0.0, (0.4775 + 0.3) / 2))
    higher = intervals({"a": samples + [0, 0.3]}, ["Gun", "Knife"])["a"]["mean"]
    assert higher == pytest.approx(((-0.3775 + 0.6) / 2, (0.4775 + 0.6) / 2))


def test_a_class_without_positives_is_missing() -> None:
    y_true, rankings = scores()
    y_true[:, 1] = False
    found = intervals(seed_mean_samples(y_true, {"a": rankings}, np.ones(400), resamples=10), ["Gun", "Knife"])["a"]
    assert np.isnan(found["Knife"]).all()
    assert found["mean"] == found["Gun"]
