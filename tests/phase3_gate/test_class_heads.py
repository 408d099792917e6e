from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from gbad.errors import DataError
from gbad.phase3_gate import ClassHeads, choose_share, fit_class_heads, mixed


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, logits that know half of the truth, and labels of two classes; class 2 never occurs."""
    rng = np.random.default_rng(0)
    labels = np.zeros((600, 3), dtype=np.uint8)
    labels[:60, 0], labels[40:90, 1] = 1, 1
    features = rng.normal(size=(600, 6)) * [1, 2, 3, 1, 1, 0]
    features[:, 0] += 1.5 * labels[:, 0]
    features[:, 1] += 3.0 * labels[:, 1]
    return features, rng.normal(-3, 1, (600, 3)) + labels, labels


def test_heads_are_balanced_logistic_regressions(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    heads = fit_class_heads(features, logits, labels, penalty=0.1)
    free = ~labels.any(axis=1)
    scale = np.where(features[free].std(axis=0) > 0, features[free].std(axis=0), 1)
    standard = (features - features[free].mean(axis=0)) / scale
    expected = LogisticRegression(C=1 / (0.1 * 600), class_weight="balanced", max_iter=1000).fit(standard, labels[:, 0])
    found, wanted = heads.log_odds(features)[:, 0], standard @ expected.coef_[0]
    assert np.corrcoef(found, wanted)[0, 1] == pytest.approx(1, abs=1e-9)
    assert found[free].mean() == pytest.approx(logits[free, 0].mean())
    assert found[free].std() == pytest.approx(logits[free, 0].std())


def test_heads_add_what_the_classifier_does_not_know(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    even = np.arange(600) % 2 == 0
    log_odds = fit_class_heads(features[even], logits[even], labels[even]).log_odds(features[~even])
    share = choose_share(logits[~even], log_odds, labels[~even])
    assert share == 0.5
    ranked = mixed(logits[~even], log_odds, share)
    for c in range(2):
        of_both = average_precision_score(labels[~even][:, c], ranked[:, c])
        assert of_both > average_precision_score(labels[~even][:, c], logits[~even][:, c])


def test_heads_of_noise_are_left_out(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, logits, labels = rows
    noise = np.random.default_rng(1).normal(size=logits.shape)
    assert choose_share(logits, noise, labels) == 0.0
    assert choose_share(logits, logits, labels) == 0.0  # no better: the simpler


def test_a_class_that_never_occurs_keeps_its_order(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    log_odds = fit_class_heads(features, logits, labels).log_odds(features)
    assert np.ptp(log_odds[:, 2]) == 0
    assert (np.argsort(mixed(logits, log_odds, 0.5)[:, 2]) == np.argsort(logits[:, 2])).all()


def test_rows_count_by_themselves(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    heads = fit_class_heads(features, logits, labels)
    together = heads.log_odds(features)
    assert (together[::-1] == heads.log_odds(features[::-1])).all()
    assert (np.concatenate([heads.log_odds(row[None]) for row in features[:9]]) == together[:9]).all()
    assert (ClassHeads.from_arrays(heads.get_arrays()).log_odds(features) == together).all()


def test_wrong_input_is_refused(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    with pytest.raises(ValueError, match="penalty must be above 0, got 0"):
        fit_class_heads(features, logits, labels, penalty=0)
    with pytest.raises(DataError, match="threat-free rows, got 0"):
        fit_class_heads(features[:90], logits[:90], labels[:90])
    with pytest.raises(ValueError, match="rows of 6 features"):
        fit_class_heads(features, logits, labels).log_odds(features[:, :5])
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 2"):
        mixed(logits, logits, 2)
    with pytest.raises(DataError, match="No row holds a threat"):
        choose_share(logits, logits, 0 * labels)
