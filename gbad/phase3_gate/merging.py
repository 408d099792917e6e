"""Fewer rows that say the same: rows of one class that lie close together become one row that counts as often."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_FINEST, _COARSER = 1 / 128, 2**0.5  # side of the smallest cells, in units of the inputs; its factor in each trial

Floats = npt.NDArray[np.float64]


class MergedRows(NamedTuple):
    """Rows, each standing for some rows of one class.

    Attributes
    ----------
    Z : float64 array (m, k)
        Their means.
    anomalous : int array (m,)
        Their class.
    counts : int array (m,)
        How many they are.
    """

    Z: Floats
    anomalous: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def merge_rows(Z: Floats, anomalous: npt.NDArray[np.int64], most: int | None) -> MergedRows:
    """Merge rows of one class that lie in one cell of a grid, with the finest grid that leaves few enough rows.

    A smooth function of a row, such as a kernel, hardly changes within a cell. The mean of the rows makes what is left
    of the difference one of second order in the side of a cell.

    Parameters
    ----------
    Z : float64 array (n, k)
        Standardised inputs.
    anomalous : int array (n,)
        1 = anomalous, 0 = not.
    most : int or None
        Largest number of rows that are left, 2 or more. None leaves all rows as they are, as they are if there are no
        more.

    Examples
    --------
    >>> merged = merge_rows(np.array([[0.0], [0.1], [5.0]]), np.array([0, 0, 1]), most=2)
    >>> merged.Z.ravel().tolist(), merged.counts.tolist()
    ([0.05, 5.0], [2, 1])
    """
    if most is None or len(Z) <= most:
        return MergedRows(Z, anomalous, np.ones(len(Z), np.int64))
    offset = Z - Z.min(axis=0)
    for trial in itertools.count():  # ends: at last, one cell holds all
        cells = np.column_stack([anomalous, np.floor(offset / (_FINEST * _COARSER**trial))])
        first, of_row, counts = np.unique(cells, axis=0, return_index=True, return_inverse=True, return_counts=True)[1:]
        if len(counts) <= most:
            break
    sums = np.column_stack([np.bincount(of_row.ravel(), column) for column in Z.T])
    return MergedRows(sums / counts[:, None], anomalous[first], counts)
