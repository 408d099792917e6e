"""Make a tabulated function of one or several inputs non-decreasing in each of them."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import isotonic_regression


def monotone_regression(values: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Make a function on a grid non-decreasing along every axis, changing it least where weights are large.

    Isotonic regression along one axis keeps the order along the others as long as all lines have the same weights, so
    one pass for each axis is enough; the mean over all orders of the axes treats them alike.

    Parameters
    ----------
    values : ndarray of shape (g_1, ..., g_k)
        The function at the grid's nodes.
    weights : list of k ndarrays, of shapes (g_1,), ..., (g_k,)
        Weight of each node along its axis, above 0.

    Returns
    -------
    ndarray of shape (g_1, ..., g_k), float64
        The monotone function.

    Examples
    --------
    >>> monotone_regression(np.array([0.0, 3.0, 1.0, 4.0]), [np.ones(4)])
    array([0., 2., 2., 4.])
    """
    orders = list(itertools.permutations(range(values.ndim)))
    total = np.zeros(values.shape)
    for order in orders:
        result = values
        for axis in order:
            result = np.apply_along_axis(
                lambda line, w: isotonic_regression(line, weights=w).x, axis, result, weights[axis]
            )
        total += result
    return total / len(orders)
