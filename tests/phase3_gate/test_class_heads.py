from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
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


def test_heads_are_linear_discriminants(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """With equal covariances and little shrinkage, Fisher's direction is scikit-learn's."""
    features, logits, labels = rows
    heads = fit_class_heads(features, logits, labels, shrinkage=1e-9)
    free = ~labels.any(axis=1)
    covariance = np.cov(features[free], rowvar=False, bias=True)
    direction = np.linalg.pinv(covariance) @ (features[labels[:, 0] > 0].mean(0) - features[free].mean(0))
    found = heads.log_odds(features)[:, 0]
    assert np.corrcoef(found, features @ direction)[0, 1] == pytest.approx(1, abs=1e-6)
    assert found[free].mean() == pytest.approx(logits[free, 0].mean())
    assert found[free].std() == pytest.approx(logits[free, 0].std())
    two = free | (labels[:, 0] > 0)
    reference = LinearDiscriminantAnalysis(priors=[0.5, 0.5]).fit(features[two], labels[two, 0])
    assert np.corrcoef(found, features @ reference.coef_[0])[0, 1] > 0.98


def test_much_shrinkage_leaves_the_difference_of_the_means(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, logits, labels = rows
    difference = features[labels[:, 1] > 0].mean(0) - features[~labels.any(axis=1)].mean(0)
    found = fit_class_heads(features, logits, labels, shrinkage=1e6).log_odds(features)[:, 1]
    assert np.corrcoef(found, features @ difference)[0, 1] == pytest.approx(1, abs=1e-6)


def test_many_rows_are_summed_in_parts(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Each row 40 times, which is more than one part: the same means and covariances."""
    once, many = fit_class_heads(*rows), fit_class_heads(*(np.tile(values, (40, 1)) for values in rows))
    for name, array in many.get_arrays().items():
        np.testing.assert_allclose(array, once.get_arrays()[name], rtol=1e-9, atol=1e-12)


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


def test_the_share_is_chosen_for_rare_threats() -> None:
    labels = np.zeros((20, 1), np.uint8)
    labels[:4] = 1
    classifier, head = np.linspace(-1, -2, 20)[:, None], np.linspace(-1, -2, 20)[:, None]
    classifier[4] = 1.0  # one threat-free row above all four threats: AP (1/2 + 2/3 + 3/4 + 4/5) / 4 = 0.68
    head[0], head[4:8] = 2.0, 1.0  # four above three of them, none above the first: (1/1 + 2/6 + 3/7 + 4/8) / 4 = 0.57
    assert choose_share(classifier, head, labels, (0.0, 1.0)) == 0.0
    # At a tenth of the prevalence 0.19 and 0.30, at a hundredth 0.02 and 0.26.
    for rarity in (10.0, 100.0):
        weights = np.where(labels[:, 0] == 1, 1.0, rarity)
        assert choose_share(classifier, head, labels, (0.0, 1.0), sample_weight=weights) == 1.0


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
    with pytest.raises(ValueError, match="shrinkage must be above 0, got 0"):
        fit_class_heads(features, logits, labels, shrinkage=0)
    with pytest.raises(DataError, match="threat-free rows, got 0"):
        fit_class_heads(features[:90], logits[:90], labels[:90])
    with pytest.raises(ValueError, match="rows of 6 features"):
        fit_class_heads(features, logits, labels).log_odds(features[:, :5])
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 2"):
        mixed(logits, logits, 2)
    with pytest.raises(DataError, match="No row holds a threat"):
        choose_share(logits, logits, 0 * labels)
