from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.phase3_gate import fit_any_threat_scale


def test_score_against_values_by_hand() -> None:
    logits = [[0.0, 10.0], [2.0, 14.0], [9.0, 99.0]]  # the last image shows a threat
    scale = fit_any_threat_scale(logits, [[0, 0], [0, 0], [1, 0]])
    assert scale.mean.tolist() == [1.0, 12.0]
    assert scale.deviation.tolist() == [1.0, 2.0]
    expected = [np.log(2 * np.exp(-1)), np.log(2 * np.exp(1)), np.log(np.exp(8) + np.exp(43.5))]
    np.testing.assert_allclose(scale.score(logits), expected)
    np.testing.assert_allclose(scale.score(logits[2:]), expected[2:])  # each image by itself


def test_the_scale_of_a_class_does_not_matter() -> None:
    """A class whose threat-free images have high logits of large deviation drowns the others in the maximum."""
    random = np.random.default_rng(0)
    labels = np.zeros((400, 2), int)
    labels[:40, 0] = 1
    logits = random.normal(size=(400, 2)) + 4.0 * labels
    stretched = logits * [1.0, 5.0] + [0.0, 3.0]
    score = fit_any_threat_scale(logits, labels).score(logits)
    np.testing.assert_allclose(fit_any_threat_scale(stretched, labels).score(stretched), score)
    any_threat = labels.any(axis=1)
    found = average_precision_score(any_threat, score)
    assert found > 0.9
    assert found > 0.5 + average_precision_score(any_threat, stretched.max(axis=1))


def test_a_constant_class_and_too_few_rows() -> None:
    logits = np.array([[1.0, 0.0], [1.0, 2.0], [5.0, 1.0]])
    labels = np.array([[0, 0], [0, 0], [1, 0]])
    assert np.isfinite(fit_any_threat_scale(logits, labels).score(logits)).all()
    with pytest.raises(DataError, match="1 threat-free rows: at least two"):
        fit_any_threat_scale(logits[1:], labels[1:])
