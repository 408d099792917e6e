from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score

from gbad.phase3_gate import ThreatGate, default_gate
from gbad.phase3_gate.centres import fewer_centres
from gbad.phase3_gate.merging import merge_rows


def make_losses(n: int, seed: int, shift: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Correlated log-normal losses; an eighth of the rows are threats with somewhat larger ones."""
    random = np.random.default_rng(seed)
    y = (np.arange(n) % 8 == 0).astype(int)
    common = random.normal(size=n)
    logs = np.column_stack([0.8 * common + 0.6 * random.normal(size=n) for _ in range(2)]) + shift * y[:, None]
    return np.exp(0.3 * logs + [5.5, 1.5]), y


@pytest.mark.parametrize("n_inputs", [1, 2, 4])
def test_merged_rows_are_means_of_near_rows_of_one_class(n_inputs: int) -> None:
    Z = np.random.default_rng(0).normal(size=(3000, n_inputs))
    y = (np.arange(3000) % 5 == 0).astype(int)
    merged = merge_rows(Z, y, 500)
    assert 100 < len(merged.Z) <= 500
    assert merged.counts.sum() == 3000
    assert np.bincount(merged.anomalous, merged.counts).tolist() == [2400, 600]
    for label in (0, 1):  # means of parts, weighted by their rows, are the mean of all
        part = merged.anomalous == label
        np.testing.assert_allclose(
            np.average(merged.Z[part], axis=0, weights=merged.counts[part]), Z[y == label].mean(axis=0), atol=1e-12
        )
    nearest = cdist(Z, merged.Z).min(axis=1)
    assert nearest.max() < np.sqrt(n_inputs) * 4


def test_no_more_rows_than_are_allowed_stay_as_they_are() -> None:
    Z, y = np.random.default_rng(0).normal(size=(50, 2)), np.repeat([0, 1], 25)
    for most in (None, 50):
        merged = merge_rows(Z, y, most)
        np.testing.assert_array_equal(merged.Z, Z)
        assert merged.counts.tolist() == [1] * 50


def test_an_enormous_row_does_not_keep_rows_from_being_merged() -> None:
    Z = np.vstack([np.random.default_rng(0).normal(size=(999, 2)), [[1e12, -1e12]]])
    merged = merge_rows(Z, np.arange(1000) % 2, 2)
    assert len(merged.Z) == 2
    assert merged.counts.tolist() == [500, 500]


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_few_centres_differ_nowhere_by_more_than_the_tolerance(tolerance: float) -> None:
    random = np.random.default_rng(0)
    vectors, weights = random.normal(size=(1500, 2)), random.normal(size=1500)
    few, own = fewer_centres(vectors, weights, 0.5, tolerance)
    assert len(few) < 200
    points = np.vstack([random.normal(size=(500, 2)), random.uniform(-50, 50, size=(500, 2))])

    def value(centres: np.ndarray, of: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * cdist(points, centres, "sqeuclidean")) @ of)

    assert np.abs(value(vectors, weights) - value(few, own)).max() <= tolerance


def test_one_centre_is_left_of_a_machine_that_is_all_but_constant() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 2))
    few, own = fewer_centres(vectors, np.full(20, 1e-9), 0.5, 1e-3)
    assert (len(few), len(own)) == (1, 1)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_a_gate_on_merged_rows_is_the_gate_on_all_rows(kernel: str) -> None:
    plain = {"kernel": kernel, "monotone": False, "clip": False}
    X, y = make_losses(4000, seed=0)
    others, labels = make_losses(4000, seed=1)
    exact = ThreatGate(**plain, max_rows=None).fit(X, y)
    merged = ThreatGate(**plain, max_rows=2000, reduction="merge").fit(X, y)
    expected, found = exact.decision_function(others), merged.decision_function(others)
    assert np.abs(found - expected).max() < 0.1  # the margin is at 1
    assert (exact.predict(others) == merged.predict(others)).mean() > 0.98
    assert average_precision_score(labels, found) == pytest.approx(average_precision_score(labels, expected), abs=2e-3)
    if kernel == "rbf":
        assert len(merged.support_vectors_) < len(exact.support_vectors_) / 10
    again = ThreatGate(**plain, max_rows=2000, reduction="merge").fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(others), merged.predict_proba(others))
    rebuilt = ThreatGate.from_arrays(merged.get_params(), merged.get_arrays())
    np.testing.assert_array_equal(rebuilt.predict_proba(others), merged.predict_proba(others))


def test_a_monotone_gate_may_merge_too() -> None:
    X, y = make_losses(3000, seed=0)
    exact, merged = ThreatGate().fit(X, y), ThreatGate(max_rows=1500, reduction="merge").fit(X, y)
    others = make_losses(2000, seed=1)[0]
    assert np.abs(merged.decision_function(others) - exact.decision_function(others)).max() < 0.2


def test_the_papers_gate_is_the_plain_machine_on_all_rows_of_a_short_list() -> None:
    X, y = make_losses(500, seed=0)
    plain = ThreatGate(monotone=False, clip=False, max_rows=None).fit(X, y)
    np.testing.assert_array_equal(default_gate("paper").fit(X, y).predict_proba(X), plain.predict_proba(X))
    gate = default_gate("paper")
    assert (gate.monotone, gate.clip, gate.reduction) == (False, False, "merge")
