from __future__ import annotations

import numpy as np
import pytest

from gbad.benchmarks.detectors.control import control_scores


def images(rng: np.random.Generator, count: int, mean: float) -> np.ndarray:
    return np.clip(rng.normal(mean, 20, (count, 8, 8, 1)), 0, 255).astype(np.uint8)


def test_distance_by_hand() -> None:
    rng = np.random.default_rng(0)
    train, test = images(rng, 50, 100), images(rng, 5, 140)

    def statistics(rows: np.ndarray) -> np.ndarray:
        grey = rows[..., 0] / 255
        variation = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
        return np.stack([grey.mean((1, 2)), grey.std((1, 2)), variation], axis=1)

    known = statistics(train)
    away = statistics(test) - known.mean(0)
    expected = [row @ np.linalg.inv(np.cov(known.T)) @ row for row in away]
    np.testing.assert_allclose(control_scores(train, test), expected, rtol=1e-3)


def test_it_sees_brightness_and_survives_images_that_are_all_alike() -> None:
    rng = np.random.default_rng(1)
    train = images(rng, 40, 100)
    scores = control_scores(train, np.concatenate([images(rng, 20, 100), images(rng, 20, 160)]))
    assert scores[:20].max() < scores[20:].min()
    flat = np.full((3, 8, 8, 3), 7, np.uint8)
    assert control_scores(flat, flat) == pytest.approx([0.0, 0.0, 0.0])
