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
