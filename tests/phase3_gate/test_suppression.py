from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.phase3_gate import choose_alpha, hard_gate, log_odds, log_sigmoid, soft_gate


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=4.0, size=(40, 3))


def test_log_sigmoid_is_exact_at_both_ends() -> None:
    assert log_sigmoid([[-800.0]]).item() == -800.0
    assert log_sigmoid([[0.0]]).item() == pytest.approx(np.log(0.5))
    assert log_sigmoid([[40.0]]).item() == pytest.approx(-np.exp(-40.0), rel=1e-12)


@pytest.mark.parametrize("logit", [-700.0, -50.0, 0.0, 30.0])
def test_log_odds_undo_the_sigmoid(logit: float) -> None:
    assert log_odds(log_sigmoid([logit])) == pytest.approx([logit], rel=1e-3)


def test_log_odds_of_a_rounded_one_are_finite() -> None:
    assert 36 < log_odds([0.0])[0] < np.inf


def test_hard_gate_multiplies_probabilities_by_epsilon_or_one(logits: np.ndarray) -> None:
    anomalous = np.arange(40) % 3 == 0
    probabilities = 1 / (1 + np.exp(-logits))
    expected = np.where(anomalous[:, None], probabilities, 0.05 * probabilities)
    gated = hard_gate(logits, anomalous, epsilon=0.05)
    assert gated.dtype == np.float64
    np.testing.assert_allclose(np.exp(gated), expected, rtol=1e-12)
    np.testing.assert_array_equal(hard_gate(logits, anomalous, epsilon=1.0), log_sigmoid(logits))
    np.testing.assert_array_equal(hard_gate(logits, anomalous.astype(int), epsilon=0.05), gated)


def test_small_epsilon_sorts_by_gate_and_then_by_score(logits: np.ndarray) -> None:
    anomalous = np.random.default_rng(1).random(40) < 0.4
    gated = hard_gate(logits, anomalous, epsilon=1e-300)
    for column in range(3):
        lexicographic = np.lexsort((logits[:, column], anomalous))
        np.testing.assert_array_equal(np.argsort(gated[:, column]), lexicographic)


def test_suppressed_scores_have_no_ties_where_float32_probabilities_would() -> None:
    logits = np.linspace(-200.0, -100.0, 1001)[:, None]
    gated = hard_gate(logits, np.zeros(1001, dtype=bool), epsilon=1e-22)
    assert len(np.unique(np.float32(1 / (1 + np.exp(-logits))))) < 1001
    assert (np.diff(gated[:, 0]) > 0).all()


def test_soft_gate_multiplies_by_a_power_of_the_gates_probability(logits: np.ndarray) -> None:
    p = np.random.default_rng(2).random(40)
    expected = p[:, None] ** 0.3 / (1 + np.exp(-logits))
    np.testing.assert_allclose(np.exp(soft_gate(logits, p, alpha=0.3)), expected, rtol=1e-12)
    np.testing.assert_array_equal(soft_gate(logits, p, alpha=0.0), log_sigmoid(logits))
    assert np.isfinite(soft_gate(logits, np.zeros(40), alpha=5.0)).all()


def test_gates_treat_each_row_alone(logits: np.ndarray) -> None:
    p = np.random.default_rng(2).random(40)
    order = np.random.default_rng(3).permutation(40)
    np.testing.assert_array_equal(hard_gate(logits[order], p[order] > 0.5), hard_gate(logits, p > 0.5)[order])
    np.testing.assert_array_equal(soft_gate(logits[order], p[order], 0.7), soft_gate(logits, p, 0.7)[order])
    np.testing.assert_array_equal(soft_gate(logits[:1], p[:1], 0.7), soft_gate(logits, p, 0.7)[:1])


def test_bad_arguments_are_named(logits: np.ndarray) -> None:
    p = np.full(40, 0.5)
    for epsilon in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="epsilon must be in"):
            hard_gate(logits, p > 0, epsilon=epsilon)
    for alpha in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="alpha must be 0 or larger"):
            soft_gate(logits, p, alpha=alpha)
    with pytest.raises(ValueError, match=r"p_anomalous must be in \[0, 1\]"):
        soft_gate(logits, p + 1, 1.0)
    with pytest.raises(ValueError, match=r"p_anomalous must be in \[0, 1\]"):
        soft_gate(logits, p * np.nan, 1.0)
    with pytest.raises(ValueError, match=r"got \(40, 3\) and \(39,\)"):
        soft_gate(logits, p[1:], 1.0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        hard_gate(logits * np.nan, p > 0)


def test_alpha_ranks_as_well_as_the_best_candidate() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((400, 2)) < 0.1).astype(int)
    logits = 1.0 * labels + random.normal(size=(400, 2))
    p = np.clip(0.3 + 0.4 * labels.any(axis=1) + 0.1 * random.normal(size=400), 0.01, 0.99)

    def mean_ap(alpha: float) -> float:
        scores = soft_gate(logits, p, alpha)
        return float(np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in (0, 1)]))

    alphas = (2.0, 0.0, 0.5, 1.0)
    chosen = choose_alpha(logits, labels, p, alphas)
    assert chosen > 0
    assert mean_ap(chosen) > max(mean_ap(alpha) for alpha in alphas) - 0.03
    assert mean_ap(chosen) > mean_ap(0.0) + 0.05


def test_a_gain_that_may_be_chance_leaves_the_gate_out() -> None:
    random = np.random.default_rng(2)
    labels = (random.random((200, 2)) < 0.1).astype(int)
    logits = 2.0 * labels + random.normal(size=(200, 2))
    chosen = [choose_alpha(logits, labels, random.uniform(0.45, 0.55, 200), (0.0, 0.5, 1.0)) for _ in range(10)]
    assert chosen.count(0.0) >= 8


def test_a_useless_gate_is_switched_off() -> None:
    labels = np.array([[1], [1], [0], [0]])
    logits = np.array([[3.0], [2.0], [-1.0], [-2.0]])
    assert choose_alpha(logits, labels, np.array([0.01, 0.01, 0.99, 0.99]), (5.0, 1.0, 0.0)) == 0.0
    assert choose_alpha(logits, labels, np.full(4, 0.5), (5.0, 1.0, 0.0)) == 0.0  # all alike: the smallest


def test_alpha_ignores_classes_without_positives_and_needs_one_with() -> None:
    labels = np.array([[1, 0], [0, 0], [0, 0]])
    logits, p = np.array([[0.0, 9.0], [1.0, 9.0], [-1.0, 9.0]]), np.array([0.9, 0.1, 0.1])
    assert choose_alpha(logits, labels, p, (0.0, 1.0)) == 1.0
    with pytest.raises(DataError, match="No row holds a threat"):
        choose_alpha(logits, labels * 0, p)
