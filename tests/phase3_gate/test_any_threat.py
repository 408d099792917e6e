from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.phase3_gate import AnyThreat, fit_any_threat, prevalence_weights
from gbad.phase3_gate.calibration import platt_sigmoid


def test_score_against_values_by_hand() -> None:
    any_threat = AnyThreat(np.array([1.0, 2.0]), np.array([0.0, -1.0]))
    logits = np.array([[0.0, 0.5], [2.0, -3.0], [-40.0, -40.0], [50.0, 40.0], [-900.0, -900.0]])
    score = any_threat.score(logits)
    p = expit([[0.0, 0.0], [2.0, -7.0]])
    np.testing.assert_allclose(score[:2], logit(1 - np.prod(1 - p, axis=1)))
    assert score[2] == pytest.approx(-40, abs=1e-9)  # the second class is far below the first
    assert score[3] == pytest.approx(50 + 79, abs=1e-9)  # P(none) = exp(-50) exp(-79)
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(any_threat.score(logits[1:2]), score[1:2])  # each image by itself


def test_scores_rise_with_the_logits() -> None:
    x = np.linspace(-60, 60, 2001)
    for others in (-50.0, 0.0, 29.0):
        score = AnyThreat.identity(2).score(np.stack([x, np.full_like(x, others)], axis=1))
        assert (np.diff(score) >= 0).all()


def test_each_class_is_calibrated_for_the_prevalence() -> None:
    random = np.random.default_rng(1)
    labels = np.zeros((4000, 2), int)
    labels[:300, 0] = labels[200:600, 1] = 1
    logits = random.normal(size=(4000, 2)) + 2.0 * labels
    for prevalence in (None, 0.5, 0.01):
        weights = prevalence_weights(labels.any(axis=1), prevalence)
        found = fit_any_threat(logits, labels, prevalence)
        p = expit(found.slope * logits + found.bias)
        for c in (0, 1):
            slope, bias = platt_sigmoid(logits[:, c], labels[:, c], weights)
            assert (found.slope[c], found.bias[c]) == pytest.approx((slope, bias), rel=1e-3)
        # As many threats as are expected, which is what a calibrated probability says.
        np.testing.assert_allclose(weights @ p / weights.sum(), weights @ labels / weights.sum(), rtol=0.02)
    odds = expit(fit_any_threat(logits, labels, 0.01).score(logits))
    weights = prevalence_weights(labels.any(axis=1), 0.01)
    assert weights @ odds / weights.sum() == pytest.approx(0.01, rel=0.2)  # classes are nearly independent here


def test_the_scale_of_a_class_does_not_matter() -> None:
    """A class whose threat-free images have high logits of large deviation drowns the others in the maximum."""
    random = np.random.default_rng(0)
    labels = np.zeros((400, 2), int)
    labels[:40, 0] = 1
    labels[40:80, 1] = 1
    logits = random.normal(size=(400, 2)) + 4.0 * labels
    stretched = logits * [1.0, 50.0] + [0.0, 3.0]
    score = fit_any_threat(logits, labels).score(logits)
    np.testing.assert_allclose(fit_any_threat(stretched, labels).score(stretched), score, rtol=1e-5)
    any_threat = labels.any(axis=1)
    found = average_precision_score(any_threat, score)
    assert found > 0.9
    assert found > 0.2 + average_precision_score(any_threat, stretched.max(axis=1))


def test_a_class_at_chance_says_nothing() -> None:
    """It keeps its prior: no image is suspected because of it."""
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [0, 0], [0, 0]])
    logits = np.array([[3.0, -1.0], [2.0, -1.0], [-1.0, -2.0], [-1.2, 1.0], [-2.0, 2.0], [-1.5, 3.0]])
    found = fit_any_threat(logits, labels)
    assert found.slope[1] == 0
    assert found.bias[1] == pytest.approx(np.log(2 / 4))
    np.testing.assert_array_equal(np.argsort(found.score(logits)), np.argsort(logits[:, 0], kind="stable"))


def test_a_constant_class_a_missing_one_and_too_few_rows() -> None:
    logits = np.array([[1.0, 0.0, 4.0], [1.0, 2.0, 6.0], [5.0, 1.0, 5.0], [2.0, 9.0, 5.0]])
    labels = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    found = fit_any_threat(logits, labels)
    assert np.isfinite(found.score(logits)).all()
    # Nobody has seen the third class; one deviation means to it what it means to the others on average.
    deviation = np.array([1.0, 1.0, 1.0])
    assert found.slope[2] * deviation[2] == pytest.approx(np.mean(found.slope[:2] * deviation[:2]))
    with pytest.raises(DataError, match="1 rows with a threat and 1 threat-free ones are.*one with a threat and two"):
        fit_any_threat(logits[1:3], labels[1:3])
    with pytest.raises(DataError, match="0 rows with a threat and 2"):
        fit_any_threat(logits[:2], labels[:2])
