"""Make a tabulated function of one or several inputs non-decreasing in each of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def monotone_regression(
    values: npt.NDArray[np.float64], weights: Sequence[npt.NDArray[np.floating[Any]]]
) -> npt.NDArray[np.float64]:
    """Make a function on a grid non-decreasing along every axis, and change it least where weights are large.

    Isotonic regression along one axis keeps the order along the others if all lines have the same weights. So one pass
    for each axis is enough. The mean over all orders of the axes treats the axes alike.

    Parameters
    ----------
    values : float64 array (g_1, ..., g_k)
        The function at the grid's nodes.
    weights : sequence of k float arrays (g_1,), ..., (g_k,)
        Weight of each node along its axis, above 0.

    Returns
    -------
    float64 array (g_1, ..., g_k)
        The monotone function.

    Examples
    --------
    >>> monotone_regression(np.array([0.0, 3.0, 1.0, 4.0]), [np.ones(4)])
    array([0., 2., 2., 4.])
    """
    from scipy.optimize import isotonic_regression  # slow to import, and scoring does without

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
