from __future__ import annotations

import numpy as np

from gbad.phase3_gate.monotone import monotone_regression


def test_monotone_regression_pools_violators_by_weight_and_leaves_monotone_functions_alone() -> None:
    flat = monotone_regression(np.array([[0.0, 1.0], [6.0, 2.0]]), [np.array([1.0, 1.0]), np.array([1.0, 3.0])])
    np.testing.assert_allclose(flat, [[0.0, 1.0], [3.0, 3.0]])
    monotone = np.add.outer(np.arange(4.0), np.arange(3.0))
    np.testing.assert_array_equal(monotone_regression(monotone, [np.ones(4), np.ones(3)]), monotone)
    noise = np.random.default_rng(0).normal(size=(9, 8, 7))
    random = np.random.default_rng(1)
    smooth = monotone_regression(noise, [random.random(9) + 0.01, random.random(8) + 0.01, random.random(7) + 0.01])
    for axis in range(3):
        assert np.diff(smooth, axis=axis).min() > -1e-12
