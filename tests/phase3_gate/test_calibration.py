from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from gbad.phase3_gate.calibration import platt_sigmoid


def test_platt_sigmoid_recovers_a_known_sigmoid_whatever_the_share_of_anomalies() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=200_000)
    anomalous = (random.random(200_000) < expit(2.0 * scores - 0.5)).astype(int)
    balance = np.log((1 - anomalous.mean()) / anomalous.mean())  # what equal weight for both classes adds to the bias
    slope, bias = platt_sigmoid(scores, anomalous)
    assert slope == pytest.approx(2.0, abs=0.05)
    assert bias == pytest.approx(-0.5 + balance, abs=0.05)


def test_platt_sigmoid_of_separated_classes_stays_finite_and_of_a_useless_machine_says_half() -> None:
    slope, bias = platt_sigmoid(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    assert expit(slope + bias) == pytest.approx(3 / 4, abs=1e-3)  # Platt's target (2 + 1) / (2 + 2)
    assert platt_sigmoid(np.array([1.0, 2.0, -1.0, -2.0]), np.array([0, 0, 1, 1])) == (0.0, 0.0)


def test_a_row_that_counts_several_times_is_as_several_rows() -> None:
    random = np.random.default_rng(5)
    anomalous = (np.arange(90) < 30).astype(int)
    scores = random.normal(size=90) + anomalous
    times = np.where(anomalous == 1, 1, 7)
    repeated = np.repeat(np.arange(90), times)
    found = platt_sigmoid(scores, anomalous, times.astype(float))
    many = platt_sigmoid(scores[repeated], anomalous[repeated], np.ones(len(repeated)))
    assert found == pytest.approx(many, rel=1e-3)
    slope, bias = found
    expected = times @ (1 / (1 + np.exp(-slope * scores - bias))) / times.sum()
    assert expected == pytest.approx(30 / (30 + 7 * 60), rel=0.05)
    worse = platt_sigmoid(-scores, anomalous, times.astype(float))
    assert worse == (0.0, pytest.approx(np.log(30 / (7 * 60))))
