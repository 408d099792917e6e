from __future__ import annotations

import numpy as np
import pytest

from gbad.evaluation.metrics import average_precision
from gbad.phase3_gate import (
    Evidence,
    apply_choices,
    best_thresholds,
    choose,
    hard_gate,
    mixed,
    prevalence_weights,
    soft_gate,
)


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((60, 2), np.uint8)
    found[:10, 0] = found[10:20, 1] = 1
    return found


@pytest.fixture
def rows(labels: np.ndarray) -> Evidence:
    """A classifier that is unsure, heads that know a little, a gate that knows half of the threats."""
    random = np.random.default_rng(3)
    noise = [random.normal(size=labels.shape) for _ in range(2)]
    logits, heads = noise[0] + labels, noise[1] + 1.5 * labels
    score = np.where(labels.any(axis=1), random.normal(1, 1, 60), random.normal(-1, 1, 60))
    return Evidence(logits, heads, score, 1 / (1 + np.exp(-score)))


def test_thresholds_of_the_highest_f1() -> None:
    labels = np.array([[1, 0], [0, 0], [1, 0], [1, 0], [0, 0]], np.uint8)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.4], [0.1, 0.5]])
    # From 0.9, 0.7 and 0.2 on: precision 1, 2/3, 3/4 and recall 1/3, 2/3, 1.
    np.testing.assert_array_equal(best_thresholds(labels, probabilities), [0.2, 0.5])
    # Threat-free rows ten times: precision 1, 2/12, 3/13.
    weights = np.where(labels[:, 0] == 1, 1.0, 10.0)
    np.testing.assert_array_equal(best_thresholds(labels, probabilities, weights), [0.9, 0.5])


@pytest.mark.parametrize("prevalence", [0.5, 0.1, 0.001])
def test_weights_give_the_prevalence(labels: np.ndarray, prevalence: float) -> None:
    positive = labels.any(axis=1)
    weights = prevalence_weights(positive, prevalence)
    assert (weights[positive] == 1).all()
    assert weights[positive].sum() / weights.sum() == pytest.approx(prevalence)


def test_weights_of_one_kind_alone_are_one() -> None:
    assert prevalence_weights([True, True], 0.01).tolist() == [1.0, 1.0]
    assert prevalence_weights([False, False], 0.01).tolist() == [1.0, 1.0]


def test_the_lists_own_prevalence_is_the_default(rows: Evidence, labels: np.ndarray) -> None:
    own, same = choose(rows, labels, "soft"), choose(rows, labels, "soft", prevalence=20 / 60)
    assert own[:2] == same[:2]
    np.testing.assert_array_equal(own.thresholds, same.thresholds)


def test_rarer_threats_are_as_more_threat_free_rows(rows: Evidence, labels: np.ndarray) -> None:
    positive = labels.any(axis=1)
    repeated = np.concatenate([np.flatnonzero(positive), *[np.flatnonzero(~positive)] * 7])
    many = Evidence(*(values[repeated] for values in rows))
    weighted = choose(rows, labels, "soft", prevalence=20 / (20 + 7 * 40))
    counted = choose(many, labels[repeated], "soft")
    assert weighted.share == counted.share
    # The same strength: the bootstrap of its choice draws other rows from a list of another length.
    thresholds = [
        choose(*args, "soft", 0.1, share).thresholds
        for args, share in (((rows, labels), 20 / 300), ((many, labels[repeated]), None))
    ]
    np.testing.assert_array_equal(*thresholds)


def test_no_choice_ranks_worse_than_the_classifier(rows: Evidence, labels: np.ndarray) -> None:
    for prevalence in (None, 0.1, 0.01):
        weights = prevalence_weights(labels.any(axis=1), prevalence)
        chosen = choose(rows, labels, "soft", 0.0, prevalence)

        def mean_ap(scores: np.ndarray, weights: np.ndarray = weights) -> float:
            return float(
                np.mean([average_precision(labels[:, c], scores[:, c], sample_weight=weights) for c in (0, 1)])
            )

        assert mean_ap(apply_choices(rows, "soft", chosen.share, 0.0)[0]) >= mean_ap(rows.logits)


def test_choices_are_applied_as_phase_3_does(rows: Evidence) -> None:
    assert rows.heads is not None
    assert rows.p_anomalous is not None
    ranking, gated = apply_choices(rows, "soft", 0.25, 0.5)
    np.testing.assert_array_equal(ranking, mixed(rows.logits, rows.heads, 0.25))
    np.testing.assert_array_equal(gated, soft_gate(ranking, rows.p_anomalous, 0.5))
    ranking, gated = apply_choices(rows._replace(heads=None), "hard", 0.25, 0.01)
    np.testing.assert_array_equal(ranking, rows.logits)
    np.testing.assert_array_equal(gated, hard_gate(rows.logits, rows.gate_score > 0, 0.01))


def test_a_gate_of_unknown_worth_is_left_out_unless_the_user_wants_it(rows: Evidence, labels: np.ndarray) -> None:
    few = Evidence(*(values[19:] for values in rows))  # one row with a threat
    assert choose(few, labels[19:], "soft").strength == 0.0
    fixed = choose(few, labels[19:], "soft", 2.0)
    assert fixed.strength == 2.0
    gated = np.exp(apply_choices(few, "soft", fixed.share, 2.0)[1])
    assert fixed.thresholds[1] == gated[0, 1]  # the one threat's own, behind the gate: it is found


def test_share_and_strength_are_those_for_the_prevalence(rows: Evidence, labels: np.ndarray) -> None:
    """A gate that helps where threats are frequent does not where they are rare, and heads the other way round."""
    assert choose(rows, labels, "soft").strength == 0.1
    assert choose(rows, labels, "soft", prevalence=0.01).strength == 0.0
    one = np.zeros((20, 1), np.uint8)
    one[:4] = 1
    classifier, head = np.linspace(-1, -2, 20)[:, None], np.linspace(-1, -2, 20)[:, None]
    classifier[4] = 1.0  # above all four threats
    head[0], head[4:8] = 2.0, 1.0  # three of the threats below four others, the first above all
    evidence = Evidence(classifier, 1000 * head, np.zeros(20), np.full(20, 0.5))  # any share ranks as the head does
    shares = [choose(evidence, one, "soft", 0.0, prevalence).share for prevalence in (None, 1e-3)]
    assert shares == [0.0, 0.125]


def test_a_single_threat_free_row_decides_neither_share_nor_strength() -> None:
    """However rare threats are, it counts no more than ten times."""
    one = np.zeros((220, 1), np.uint8)
    one[:20] = 1
    classifier, heads = np.full((220, 1), -1.0), np.full((220, 1), -1.0)
    classifier[:2], classifier[2:20] = 1.0, -2.0  # two threats first, the others last
    heads[:20], heads[20] = 1.0, 2.0  # one threat-free row first, then all threats
    evidence = Evidence(classifier, 1000 * heads, np.zeros(220), np.full(220, 0.5))  # any share ranks as the heads do
    gate_of_heads = Evidence(classifier, None, np.zeros(220), 1 / (1 + np.exp(-10 * heads[:, 0])))
    for prevalence in (20 / 220, 20 / 2020, 1e-4):
        assert choose(evidence, one, "soft", 0.0, prevalence).share == 0.125
        assert choose(gate_of_heads, one, "soft", None, prevalence).strength > 0


def test_without_threats_nothing_is_chosen(rows: Evidence, labels: np.ndarray) -> None:
    share, strength, thresholds = choose(rows, 0 * labels, "soft")
    assert (share, strength, thresholds.tolist()) == (0.0, 0.0, [0.5, 0.5])
