"""Thresholds keep to the wanted rates, on images that they were not taken from; too few images are refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy.stats import binomtest

from gbad.errors import DataError
from gbad.phase3_gate.operating_points import (
    ANY_THREAT,
    HeldOut,
    at_false_alarm_rate,
    at_prevalence,
    at_recall,
    column_of,
    p_values,
)


def made_up(free: int, threats: int, seed: int = 0) -> HeldOut:
    generator = np.random.default_rng(seed)
    labels = np.zeros((free + threats, 2), np.uint8)
    labels[free:, 0] = 1
    labels[free + threats // 2 :, :] = 0, 1
    scores = generator.normal(size=(free + threats, 3)) + 2 * np.column_stack([labels.any(1), labels])
    return HeldOut(scores[:, 0], scores[:, 1:], labels, 0.2)


def test_thresholds_by_hand() -> None:
    labels = np.zeros((14, 1), np.uint8)
    labels[9:] = 1
    held_out = HeldOut(np.r_[np.arange(9.0), [2.5, 6.5, 8.5, 10.0, 11.0]], np.zeros((14, 1)), labels, 0.3)
    point = at_false_alarm_rate(held_out, 0.2)  # p <= 0.2 of 10: at most one of the nine may reach the score
    assert 7 < point.threshold < 7 + 1e-9
    assert point.false_alarm_rate == pytest.approx(1 / 9)
    assert point.recall == pytest.approx(3 / 5)
    assert (point.threat_free, point.threats) == (9, 5)
    assert at_recall(held_out, 0.8).threshold == 2.5  # one of six may be missed: the lowest threat still counts
    assert at_recall(held_out, 0.5).threshold == 8.5


def test_intervals_are_exact_ones() -> None:
    point = at_false_alarm_rate(made_up(400, 30), 0.05)
    expected = binomtest(round(point.false_alarm_rate * 400), 400).proportion_ci(0.95, "exact")
    assert point.false_alarm_interval == pytest.approx((expected.low, expected.high))
    none = at_false_alarm_rate(made_up(400, 0), 0.05)
    assert math.isnan(none.recall)
    assert all(map(math.isnan, none.recall_interval))


@pytest.mark.parametrize("column", [None, 1])
def test_new_images_keep_to_the_rates(column: int | None) -> None:
    """Over many held-out sets, the mean rate on new images is at most the wanted one, and hardly less."""
    false_alarms, recalls = [], []
    for seed in range(300):
        held_out, new = made_up(99, 99, seed), made_up(500, 500, 1000 + seed)
        scores, threat = new.scores_of(column), new.labels.any(1)
        shown = threat if column is None else new.labels[:, column] == 1
        false_alarms.append((scores[~threat] >= at_false_alarm_rate(held_out, 0.1, column).threshold).mean())
        recalls.append((scores[shown] >= at_recall(held_out, 0.9, column).threshold).mean())
    assert 0.085 < np.mean(false_alarms) < 0.105
    assert 0.895 < np.mean(recalls) < 0.93


def test_a_p_value_is_small_where_the_threshold_is_reached() -> None:
    held_out = made_up(199, 20)
    scores = np.linspace(-3, 5, 500)
    for rate in (0.01, 0.05, 0.3):
        alarms = scores >= at_false_alarm_rate(held_out, rate).threshold
        np.testing.assert_array_equal(alarms, p_values(held_out, scores) <= rate + 1e-12)


def test_rates_that_so_few_images_cannot_tell_are_refused() -> None:
    held_out = made_up(240, 10)
    with pytest.raises(DataError, match=r"0\.001 needs at least 999 held-out images threat-free, but there are 240"):
        at_false_alarm_rate(held_out, 0.001)
    at_false_alarm_rate(held_out, 1 / 241)
    with pytest.raises(DataError, match=r"recall of 0\.95 needs at least 19 held-out images with.*up to 0\.909"):
        at_recall(held_out, 0.95)
    with pytest.raises(DataError, match="at least 9 held-out images with threats, but there are 0. train with more"):
        at_recall(made_up(50, 0), 0.9)
    for count in (7, 99, 150, 240, 333):  # what the message says can be asked for
        some = made_up(count, count)
        with pytest.raises(DataError) as refused:
            at_false_alarm_rate(some, 1e-6)
        at_false_alarm_rate(some, float(re.findall(r"from ([\d.]+),", str(refused.value))[0]))
        with pytest.raises(DataError) as refused:
            at_recall(some, 1 - 1e-6)
        at_recall(some, float(re.findall(r"up to ([\d.]+),", str(refused.value))[0]))
    for rate in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(DataError, match="must be above 0 and below 1"):
            at_false_alarm_rate(held_out, rate)


def test_other_threat_free_images_take_the_place_of_the_first() -> None:
    held_out, own = made_up(50, 10), made_up(400, 0, 5)
    new = held_out.with_threat_free(own.any_threat, own.log_odds)
    point = at_false_alarm_rate(new, 0.01)
    assert (point.threat_free, point.threats) == (400, 10)
    assert new.labels.any(1).sum() == 10
    back = HeldOut.from_plain(new.to_plain())
    assert at_false_alarm_rate(back, 0.01) == point


def test_probabilities_follow_the_prevalence() -> None:
    np.testing.assert_allclose(at_prevalence([0.3, -2.0], 0.2, 0.2), 1 / (1 + np.exp([-0.3, 2.0])))
    odds = np.exp(0.3) * (0.001 / 0.999) / (0.2 / 0.8)
    np.testing.assert_allclose(at_prevalence([0.3], 0.2, 0.001), [odds / (1 + odds)])


def test_classes_by_name() -> None:
    assert column_of("Knife", ("Gun", "Knife")) == 1
    assert column_of(ANY_THREAT, ("Gun",)) is column_of(None, ("Gun",)) is None
    with pytest.raises(DataError, match="no class 'Axe'; choose one of Gun, or 'any threat'"):
        column_of("Axe", ("Gun",))
