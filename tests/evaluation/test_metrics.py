from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.evaluation.metrics import (
    any_threat_metrics,
    average_precision,
    average_precision_per_class,
    confusion_counts,
    gate_diagnostics,
    mean_average_precision,
    prevalence,
    recall_at_false_alarm_rate,
)

RULES = ("all_points", "voc07", "voc10")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_all_points_rule_is_sklearns_also_with_ties(generator, decimals):
    for _ in range(20):
        y_true = generator.random(200) < 0.1
        y_true[0] = True
        score = generator.random(200).round(decimals)
        assert average_precision(y_true, score) == average_precision_score(y_true, score)


def test_rules_on_a_ranking_worked_out_by_hand():
    y_true, score = [1, 0, 1, 0, 0, 1], [6, 5, 4, 3, 2, 1]  # precision 1, 2/3, 1/2 at recall 1/3, 2/3, 1
    assert average_precision(y_true, score) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert average_precision(y_true, score, "voc07") == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11)
    assert average_precision(y_true, score, "voc10") == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)


def test_voc_rules_take_the_best_precision_at_no_less_recall():
    y_true, score = [0, 1, 1, 0], [4, 3, 2, 1]  # precision 1/2 then 2/3
    assert average_precision(y_true, score) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision(y_true, score, "voc07") == pytest.approx(2 / 3)
    assert average_precision(y_true, score, "voc10") == pytest.approx(2 / 3)


def test_voc07_counts_a_recall_of_exactly_three_tenths():
    y_true = np.array([1] * 3 + [0] * 100 + [1] * 7)
    expected = (4 * 1 + 7 * 10 / 110) / 11
    assert average_precision(y_true, -np.arange(110.0), "voc07") == pytest.approx(expected)


@pytest.mark.parametrize("rule", RULES)
def test_average_precision_ignores_row_order_and_scale(generator, rule):
    y_true = generator.random(300) < 0.2
    score = generator.random(300).round(1)
    shuffled = generator.permutation(300)
    expected = average_precision(y_true, score, rule)
    assert average_precision(y_true[shuffled], score[shuffled], rule) == expected
    assert average_precision(y_true, np.exp(5 * score) - 100, rule) == expected


@pytest.mark.parametrize("rule", RULES)
def test_bounds_of_average_precision(rule):
    y_true = np.array([1, 1, 0, 0, 0])
    assert average_precision(y_true, y_true, rule) == 1.0
    assert average_precision(y_true, np.zeros(5), rule) == pytest.approx(2 / 5)  # one threshold: the prevalence
    assert np.isnan(average_precision(np.zeros(5), np.arange(5), rule))


def test_random_scores_reach_the_prevalence(generator):
    y_true = np.arange(20_000) < 1000
    assert average_precision(y_true, generator.random(20_000)) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([1, 0], [0.5, np.nan], "nan in row 1"),
        ([1, 0], [np.inf, 0.5], "inf in row 0"),
        ([1, 0], [0.5], r"shape \(1,\)"),
        ([1, -1], [0.5, 0.5], "holds -1"),
        ([1.0, np.nan], [0.5, 0.5], "holds nan"),
        ([], [], "at least one image"),
        ([[1, 0]], [[0.5, 0.5]], "expected 1 dimension"),
    ],
)
def test_unusable_input_is_refused_with_its_value(y_true, y_score, message):
    with pytest.raises(DataError, match=message):
        average_precision(y_true, y_score)
    with pytest.raises(ValueError, match=message):
        confusion_counts(y_true, y_score)


def test_unknown_rule_is_refused():
    with pytest.raises(DataError, match="voc12"):
        average_precision([1, 0], [1, 0], "voc12")  # type: ignore[arg-type]


def test_missing_class_is_neither_zero_nor_part_of_the_mean():
    y_true = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    y_score = np.array([[0.9, 0.8, 0.1], [0.2, 0.5, 0.1], [0.1, 0.9, 0.1]])
    per_class = average_precision_per_class(y_true, y_score, ["Gun", "Knife", "Pliers"])
    assert per_class["Gun"] == 1.0
    assert per_class["Knife"] == pytest.approx(1 / 3)
    assert np.isnan(per_class["Pliers"])
    assert mean_average_precision(per_class) == pytest.approx(2 / 3)
    assert np.isnan(mean_average_precision({"Gun": float("nan")}))
    assert prevalence(y_true, ["Gun", "Knife", "Pliers"]) == {"Gun": 1 / 3, "Knife": 1 / 3, "Pliers": 0.0}


def test_wrong_number_of_classes_is_refused():
    with pytest.raises(DataError, match=r"2 columns for 1 classes \(Gun\)"):
        average_precision_per_class([[1, 0]], [[0.5, 0.5]], ["Gun"])


def test_any_threat_metrics_worked_out_by_hand():
    y_any, score, predicted = [1, 1, 0, 0, 0], [0.9, 0.3, 0.8, 0.2, 0.1], [1, 0, 1, 0, 0]
    figures = any_threat_metrics(y_any, score, predicted)
    assert figures["roc_auc"] == pytest.approx(5 / 6)
    assert figures["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["macro_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert figures["macro_recall"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert figures["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_any_threat_metrics_when_nothing_is_predicted():
    figures = any_threat_metrics([1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0])
    assert figures["macro_precision"] == pytest.approx((0 + 3 / 4) / 2)
    assert figures["macro_recall"] == pytest.approx(0.5)


@pytest.mark.parametrize("label", [0, 1])
def test_any_threat_metrics_are_missing_for_one_kind_of_image(label):
    figures = any_threat_metrics([label] * 3, [0.1, 0.2, 0.3], [0, 1, 1])
    assert len(figures) == 5
    assert all(np.isnan(value) for value in figures.values())


def test_decision_of_another_length_is_refused():
    with pytest.raises(DataError, match="predicted has 1 rows, expected 2"):
        any_threat_metrics([1, 0], [0.5, 0.1], [1])


def test_recall_at_false_alarm_rate_keeps_to_the_rate():
    y_any = [1, 0, 1, 0, 0, 1, 0, 1]
    score = [8, 7, 6, 5, 5, 5, 2, 1]
    assert recall_at_false_alarm_rate([1] + 100 * [0], [71.5, *range(1, 101)], [0.28, 0.29]) == {0.28: 0.0, 0.29: 1.0}
    recall = recall_at_false_alarm_rate(y_any, score, [0.0, 0.25, 0.7, 0.75, 1.0])
    assert recall == {0.0: 0.25, 0.25: 0.5, 0.7: 0.5, 0.75: 0.75, 1.0: 1.0}
    assert recall_at_false_alarm_rate([0, 1], [2, 1], [0.5]) == {0.5: 0.0}
    assert np.isnan(recall_at_false_alarm_rate([0, 0], [2, 1], [0.5])[0.5])


def test_gate_diagnostics_count_both_errors():
    figures = gate_diagnostics([1, 1, 1, 0, 0], [1, 0, 1, 1, 0])
    assert figures == {
        "recall": 2 / 3,
        "false_alarm_rate": 0.5,
        "n_threats": 3,
        "n_threat_free": 2,
        "missed_threats": 1,
        "false_alarms": 1,
    }
    assert np.isnan(gate_diagnostics([0, 0], [1, 0])["recall"])
    assert np.isnan(gate_diagnostics([1], [1])["false_alarm_rate"])


def test_confusion_counts_group_equal_scores():
    true_positives, false_positives = confusion_counts([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.1])
    assert true_positives.tolist() == [1, 2, 2]
    assert false_positives.tolist() == [0, 1, 2]


def test_weighted_average_precision_equals_sklearns_and_that_of_copies():
    generator = np.random.default_rng(4)
    y_true = generator.random((200, 2)) < 0.1
    score = (generator.standard_normal(y_true.shape) + y_true).round(1)  # with ties
    weights = np.where(y_true.any(axis=1), 1, 10)
    found = average_precision_per_class(y_true, score, ("Gun", "Knife"), sample_weight=weights)
    copied = np.repeat(np.arange(200), weights)
    for c, name in enumerate(found):
        expected = average_precision_score(y_true[:, c], score[:, c], sample_weight=weights)
        assert found[name] == pytest.approx(expected, abs=1e-12)
        assert found[name] == pytest.approx(average_precision(y_true[copied, c], score[copied, c]), abs=1e-12)
        assert found[name] < average_precision(y_true[:, c], score[:, c])
    for rule in RULES:
        weighted = average_precision(y_true[:, 0], score[:, 0], rule, weights)
        assert weighted == pytest.approx(average_precision(y_true[copied, 0], score[copied, 0], rule), abs=1e-12)
