from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gbad.errors import DataError
from gbad.evaluation.bootstrap import percentiles
from gbad.evaluation.measures import (
    FALSE_ALARM_RATE,
    detection_measures,
    resampled_roc_auc,
    t_interval,
)


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    """300 rows with ties."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(300) < 0.3
    return abnormal, (rng.standard_normal(300) + abnormal).round(1)


def test_areas_equal_scikit_learns(scored: tuple[np.ndarray, np.ndarray]) -> None:
    measures = detection_measures(*scored, 0.0)
    assert measures["roc_auc"] == roc_auc_score(*scored)
    assert measures["pr_auc"] == average_precision_score(*scored)


def test_operating_point_by_hand() -> None:
    # Above 0.5: two of three abnormal rows, one of four normal rows. A score that equals the threshold is no alarm.
    measures = detection_measures([1, 1, 1, 0, 0, 0, 0], [0.9, 0.6, 0.5, 0.8, 0.5, 0.2, 0.1], 0.5)
    assert measures["recall"] == pytest.approx(2 / 3)
    assert measures["false_alarm_rate"] == 0.25


def test_without_threshold_the_test_set_gives_it(scored: tuple[np.ndarray, np.ndarray]) -> None:
    false_alarms, recall, _ = roc_curve(*scored, drop_intermediate=False)
    assert detection_measures(*scored, None)["recall"] == recall[false_alarms <= 0.05].max()
    # Of two normal rows none may raise an alarm, and what is allowed stands there all the same.
    assert detection_measures([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], None)["false_alarm_rate"] == FALSE_ALARM_RATE


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="nan in row 1"):
        detection_measures([1, 0], [0.5, np.nan], 0.5)


def test_resampled_areas_equal_scikit_learns_on_the_same_draws(scored: tuple[np.ndarray, np.ndarray]) -> None:
    abnormal, score = scored
    generator = np.random.default_rng(3)
    areas = resampled_roc_auc(abnormal, score, resamples=20, seed=3)
    for area in areas:
        drawn = generator.integers(0, 300, 300)
        assert area == pytest.approx(roc_auc_score(abnormal[drawn], score[drawn]), abs=1e-12)
    assert np.std(resampled_roc_auc(abnormal, score, resamples=200)) > 0.01


def test_patches_of_an_image_are_drawn_together(scored: tuple[np.ndarray, np.ndarray]) -> None:
    abnormal, score = scored
    image = np.repeat(np.arange(100), 3)
    generator = np.random.default_rng(3)
    for area in resampled_roc_auc(abnormal, score, image, resamples=20, seed=3):
        rows = np.concatenate([np.flatnonzero(image == one) for one in generator.integers(0, 100, 100)])
        assert area == pytest.approx(roc_auc_score(abnormal[rows], score[rows]), abs=1e-12)


def test_more_patches_of_the_same_images_do_not_narrow_the_interval(scored: tuple[np.ndarray, np.ndarray]) -> None:
    abnormal, score = (np.repeat(values, 9) for values in scored)  # nine equal patches say no more than one
    single = resampled_roc_auc(*scored, resamples=200)
    assert np.allclose(resampled_roc_auc(abnormal, score, np.repeat(np.arange(300), 9), resamples=200), single)
    assert resampled_roc_auc(abnormal, score, resamples=200).std() < 0.5 * single.std()


def test_resamples_of_one_kind_are_missing() -> None:
    areas = resampled_roc_auc([1, 0], [2.0, 1.0], resamples=50)
    assert set(areas[np.isfinite(areas)]) == {1.0}
    assert np.isnan(areas).any()
    assert percentiles(areas) == (1.0, 1.0)
    assert np.isnan(percentiles([np.nan])).all()


def test_t_interval_equals_scipys() -> None:
    values = [0.7, 0.8, 0.84, 0.71]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(t_interval([0.7])).all()
