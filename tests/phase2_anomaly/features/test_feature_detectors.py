"""The contract of the simple detectors of feature rows, and each of them against another way to compute it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import parametrize_with_checks

from gbad.phase2_anomaly import (
    FEATURE_DETECTORS,
    FeatureDetector,
    GaussianDetector,
    IsolationForestDetector,
    NearestNeighboursDetector,
    OneClassSVMDetector,
)
from gbad.phase2_anomaly.features.gaussian import ledoit_wolf
from gbad.runtime.randomness import derived_seed
from gbad.storage.plain_data import pack, unpack

DETECTORS: list[FeatureDetector] = [
    GaussianDetector(),
    NearestNeighboursDetector(n_neighbors=3, max_rows=100),
    IsolationForestDetector(n_trees=8),
    OneClassSVMDetector(max_rows=100),
]


FINDS_ITSELF = "the threshold is for new rows; a training row finds itself among its neighbours"
EXPECTED_FAILURES = {name: FINDS_ITSELF for name in ("check_outliers_fit_predict", "check_outliers_train")}


@parametrize_with_checks(
    DETECTORS,
    expected_failed_checks=lambda own: EXPECTED_FAILURES if isinstance(own, NearestNeighboursDetector) else {},
)
def test_scikit_learns_contract(estimator: FeatureDetector, check: Callable[[FeatureDetector], None]) -> None:
    check(estimator)


def make_rows(n: int = 150, seed: int = 0) -> np.ndarray:
    """Rows with correlated columns of very different scales."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(6, 6))
    return (random.normal(size=(n, 6)) @ mixing * [1, 100, 0.01, 1, 1, 1] + 5).astype(np.float32)


def standardised(rows: np.ndarray, training: np.ndarray) -> np.ndarray:
    training = training.astype(np.float64)
    return (rows.astype(np.float64) - training.mean(axis=0)) / training.std(axis=0)


@pytest.fixture(scope="module", params=DETECTORS, ids=lambda detector: type(detector).__name__)
def detector(request: pytest.FixtureRequest) -> FeatureDetector:
    return clone(request.param).fit(make_rows())


def test_every_simple_detector_is_tested() -> None:
    assert {type(detector) for detector in DETECTORS} == set(FEATURE_DETECTORS.values()) - {FEATURE_DETECTORS["bigan"]}


def test_losses_have_the_promised_form_and_find_what_is_odd(detector: FeatureDetector) -> None:
    normal, odd = make_rows(100, seed=1), make_rows(100, seed=2)[:, ::-1].copy()
    losses = detector.losses(np.vstack([normal, odd]))
    assert losses.shape == (200, len(detector.loss_names)) == (200, 1)
    assert losses.dtype == np.float64
    assert (losses >= 0).all()
    assert roc_auc_score(np.repeat([0, 1], 100), losses[:, 0]) > 0.75
    np.testing.assert_array_equal(detector.anomaly_score(normal), losses[:100, 0])
    assert 0.02 < (detector.predict(normal) == -1).mean() < 0.35


def test_losses_depend_on_no_other_row(detector: FeatureDetector) -> None:
    rows = make_rows(60, seed=3)
    expected = detector.losses(rows)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(detector.losses(rows[order]), expected[order], rtol=1e-9)
    np.testing.assert_allclose([detector.losses(rows[i : i + 1])[0] for i in range(5)], expected[:5], rtol=1e-9)
    in_small_chunks = copy.copy(detector)
    in_small_chunks.chunk_rows = 7  # type: ignore[misc]
    np.testing.assert_allclose(in_small_chunks.losses(rows), expected, rtol=1e-9)


def test_plain_arrays_are_enough_to_score_bit_for_bit(detector: FeatureDetector) -> None:
    rows = make_rows(60, seed=3)
    state = unpack(pack({"params": detector.get_params(), "arrays": detector.get_arrays()}))
    again = type(detector).from_arrays(state["params"], state["arrays"])
    np.testing.assert_array_equal(again.losses(rows), detector.losses(rows))
    np.testing.assert_array_equal(again.predict(rows), detector.predict(rows))
    assert again.get_arrays().keys() == detector.get_arrays().keys()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).losses(rows), detector.losses(rows))
    with pytest.raises(NotFittedError):
        clone(detector).get_arrays()


def test_equal_seeds_give_equal_detectors_and_leave_the_process_alone(detector: FeatureDetector) -> None:
    rows = make_rows()
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(clone(detector).fit(rows).losses(rows), detector.losses(rows))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002
    if "random_state" in detector.get_params():
        other = clone(detector).set_params(random_state=derived_seed(0, "other")).fit(rows)
        assert np.abs(other.losses(rows) - detector.losses(rows)).max() > 0


def test_columns_that_never_vary_do_no_harm(detector: FeatureDetector) -> None:
    rows = np.hstack([make_rows(), np.ones((150, 1), np.float32)])
    own = clone(detector).fit(rows)
    assert np.isfinite(own.losses(rows)).all()
    odd = rows[:1].copy()
    odd[0, -1] = 50
    assert np.isfinite(own.losses(odd)).all()
    same = clone(detector).fit(np.ones((20, 3)))
    assert np.isfinite(same.losses(np.ones((2, 3)))).all()


def test_gaussian_is_the_mahalanobis_distance_in_plain_numpy() -> None:
    rows, others = make_rows(), make_rows(30, seed=4)
    detector = GaussianDetector()
    detector.chunk_rows = 40  # type: ignore[misc]
    detector.fit(rows)
    reference = LedoitWolf(assume_centered=True).fit(standardised(rows, rows))
    assert detector.shrinkage_ == pytest.approx(reference.shrinkage_, rel=1e-6)
    np.testing.assert_allclose(detector.covariance_, reference.covariance_, rtol=1e-6)
    z = standardised(others, rows)
    precision = np.linalg.inv(reference.covariance_ + 1e-6 * np.eye(6))
    expected = np.array([np.sqrt(row @ precision @ row) for row in z])
    np.testing.assert_allclose(detector.losses(others)[:, 0], expected, rtol=1e-6)


def test_shrinkage_by_hand() -> None:
    """Rows (2, 0), (-2, 0), (0, 1), (0, -1): S = diag(2, 1/2), level 5/4, ||S - level I||^2 = 9/8.

    The mean of ||zz' - S||^2 is (2 * 16 + 2 * 1) / 4 - (4 + 1/4) = 17/4; over n = 4, 17/16 of 9/8: shrinkage 17/18.
    """
    covariance, shrinkage = ledoit_wolf([np.array([[2.0, 0], [-2, 0]]), np.array([[0.0, 1], [0, -1]])])
    assert shrinkage == pytest.approx(17 / 18)
    np.testing.assert_allclose(covariance, np.diag([(2 + 17 * 1.25) / 18, (0.5 + 17 * 1.25) / 18]))


@pytest.mark.parametrize(("rule", "take"), [("mean", lambda d: d.mean(axis=1)), ("largest", lambda d: d[:, -1])])
def test_neighbours_are_those_of_scikit_learn(rule: str, take: Callable[[np.ndarray], np.ndarray]) -> None:
    rows, others = make_rows(), make_rows(30, seed=4)
    detector = NearestNeighboursDetector(n_neighbors=4, rule=rule, max_rows=None).fit(rows)
    index = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(standardised(rows, rows))
    expected = take(index.kneighbors(standardised(others, rows))[0])
    np.testing.assert_allclose(detector.losses(others)[:, 0], expected, rtol=1e-5)
    left_out = take(index.kneighbors(n_neighbors=4)[0])
    assert detector.offset_ == pytest.approx(-np.percentile(left_out, 90), rel=1e-5)


def test_neighbours_keep_so_many_rows() -> None:
    detector = NearestNeighboursDetector(max_rows=10).fit(make_rows())
    assert detector.rows_.shape == (10, 6)
    assert len(np.unique(detector.rows_, axis=0)) == 10
    few = NearestNeighboursDetector(n_neighbors=10).fit(make_rows(4))
    assert np.isfinite(few.losses(make_rows(4))).all()


def test_isolation_forest_is_that_of_scikit_learn() -> None:
    rows, others = make_rows(), make_rows(30, seed=4)
    detector = IsolationForestDetector(n_trees=30, max_rows=64, random_state=5).fit(rows)
    reference = IsolationForest(n_estimators=30, max_samples=64, random_state=np.random.RandomState(5))
    reference.fit(standardised(rows, rows).astype(np.float32))
    expected = -reference.score_samples(standardised(others, rows).astype(np.float32))
    np.testing.assert_allclose(detector.losses(others)[:, 0], expected, rtol=1e-9)


def test_one_class_svm_is_that_of_scikit_learn() -> None:
    rows, others = make_rows(), make_rows(30, seed=4)
    detector = OneClassSVMDetector(nu=0.2).fit(rows)
    reference = OneClassSVM(nu=0.2, gamma=1 / 6).fit(standardised(rows, rows))
    decision = reference.decision_function(standardised(others, rows))
    total = reference.dual_coef_.sum()
    expected = 1 - (decision - reference.intercept_) / total
    np.testing.assert_allclose(detector.losses(others)[:, 0], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (GaussianDetector(contamination=0.6), "contamination"),
        (NearestNeighboursDetector(n_neighbors=0), "n_neighbors"),
        (NearestNeighboursDetector(rule="median"), "rule must be 'mean' or 'largest', got 'median'"),
        (NearestNeighboursDetector(max_rows=1), "max_rows"),
        (IsolationForestDetector(n_trees=0), "n_trees"),
        (OneClassSVMDetector(nu=0.0), "nu"),
        (OneClassSVMDetector(gamma="auto"), "gamma must be 'scale' or a number above 0, got 'auto'"),
    ],
)
def test_parameters_out_of_range_are_refused(detector: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detector.fit(make_rows())
