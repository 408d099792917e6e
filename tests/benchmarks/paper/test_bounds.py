from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gbad.benchmarks.paper.bounds import oracle_gated, random_gate_average_precision
from gbad.errors import DataError
from gbad.evaluation.metrics import average_precision


def images(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.random((n, 3)) < 0.1
    return y_true, generator.normal(size=(n, 3)) + 1.5 * y_true


def test_an_oracle_gate_hurts_no_class() -> None:
    for seed in range(5):
        y_true, logits = images(seed=seed)
        gated = oracle_gated(logits, y_true.any(axis=1))
        for c in range(3):
            before, after = (average_precision(y_true[:, c], scores[:, c]) for scores in (logits, gated))
            assert after > before


def test_an_oracle_gate_makes_a_single_class_perfect() -> None:
    y_true, logits = images()
    assert average_precision(y_true[:, 0], oracle_gated(logits[:, :1], y_true[:, 0])[:, 0]) == 1.0


LET_THROUGH, SUPPRESSED = 0.0, float(np.log(1e-300))


@pytest.mark.parametrize("through", [(0, 1, 3), (2,)])
def test_expected_value_of_a_random_gate_equals_the_sum_over_all_gates(through: tuple[int, ...]) -> None:
    y_true = np.array([[1], [0], [0], [1], [0]])
    logits = np.array([[2.0], [3.0], [1.0], [0.0], [-1.0]])
    weights = np.array([1.0, 3.0, 3.0, 1.0, 3.0])
    factors = np.full(5, SUPPRESSED)
    factors[list(through)] = LET_THROUGH
    rate = weights[list(through)].sum() / weights.sum()  # of the list that the weights stand for
    expected = 0.0
    for passed in product([0, 1], repeat=5):
        probability = np.prod([rate if one else 1 - rate for one in passed])
        scores = logits[:, 0] + 100 * np.array(passed)
        expected += probability * average_precision_score(y_true[:, 0], scores, sample_weight=weights)
    found = random_gate_average_precision(y_true, logits, factors, weights, draws=4000)
    assert found[0] == pytest.approx(expected, abs=0.01)


def test_by_hand_one_threat_behind_one_threat_free_image() -> None:
    # Only a gate that lets the threat through and not the other puts it first: AP 1 with probability 1/4, else 1/2.
    y_true, logits, factors = np.array([[1], [0]]), np.array([[0.0], [1.0]]), np.array([LET_THROUGH, SUPPRESSED])
    found = random_gate_average_precision(y_true, logits, factors, np.ones(2), draws=8000)
    assert found[0] == pytest.approx(1 / 4 + 3 / 4 / 2, abs=0.01)


def test_a_faint_random_gate_does_faint_harm() -> None:
    y_true, logits = images(2000)
    anomaly = np.random.default_rng(1).uniform(-7, 0, 2000)
    own, faint, strong = (
        random_gate_average_precision(y_true, logits, alpha * anomaly, np.ones(2000), draws=20).mean()
        for alpha in (0.0, 0.05, 1.0)
    )
    assert strong < faint < own
    assert own - faint < 0.3 * (own - strong)


@pytest.mark.parametrize("factor", [LET_THROUGH, np.log(1e-3)])
def test_a_gate_that_treats_all_alike_changes_nothing(factor: float) -> None:
    y_true, logits = images()
    logits = logits.round(1)  # with ties
    weights = np.where(y_true.any(axis=1), 1.0, 10.0)
    found = random_gate_average_precision(y_true, logits, np.full(200, factor), weights, draws=2)
    for c in range(3):
        expected = average_precision_score(y_true[:, c], logits[:, c], sample_weight=weights)
        assert found[c] == pytest.approx(expected, abs=1e-12)


def test_same_seed_same_value_and_wrong_factors_are_refused() -> None:
    y_true, logits = images()
    y_true[:, 2] = False
    factors = np.where(np.arange(200) < 40, LET_THROUGH, SUPPRESSED)
    first, again = (random_gate_average_precision(y_true, logits, factors, np.ones(200), draws=20) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.isnan(first[2])
    with pytest.raises(DataError, match=r"by 1\.5"):
        random_gate_average_precision(y_true, logits, np.full(200, np.log(1.5)), np.ones(200))
