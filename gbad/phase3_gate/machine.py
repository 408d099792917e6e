"""The decision function of the gate on standardised inputs: a support vector machine, on request made monotone."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from gbad.phase3_gate.centres import fewer_centres
from gbad.phase3_gate.merging import merge_rows
from gbad.phase3_gate.monotone import monotone_regression

_CHUNK_VALUES = 2**18  # of a block of kernel values: 2 MB stay in the cache, more take three times as long
_TOLERANCE = 1e-3  # of a decision value, which is 1 at the margin
_GRID_POINTS = {1: 257, 2: 65, 3: 17}  # per axis, by number of inputs

Floats = npt.NDArray[np.float64]


class Machine(NamedTuple):
    """A fitted machine on k inputs, in plain arrays.

    Attributes
    ----------
    kernel : {"rbf", "linear"}
    support_vectors : float64 array (n_support, k)
    dual_coef : float64 array (n_support,)
        Weight of each support vector.
    intercept, gamma : float
        Bias and kernel width.
    lower, upper : float64 array (k,) or None
        Inputs outside this range count as the nearest value in it; None: they count as they are.
    grid : float64 array (g,) * k or None
        The monotone decision function between `lower` and `upper`; None where the machine itself decides.
    """

    kernel: str
    support_vectors: Floats
    dual_coef: Floats
    intercept: float
    gamma: float
    lower: Floats | None
    upper: Floats | None
    grid: Floats | None

    def decide(self, Z: Floats) -> Floats:
        """Decision value of each row, by itself: (n, k) -> (n,), above 0 = anomalous."""
        if self.lower is not None and self.upper is not None:
            Z = np.clip(Z, self.lower, self.upper)
            if self.grid is not None:
                axes = _axes(self.lower, self.upper)
                if self.grid.shape != tuple(map(len, axes)):  # of a damaged file: any table would give values
                    raise ValueError(f"a grid of shape {self.grid.shape} for {len(axes)} inputs")
                nodes = [
                    (inputs - axis[0]) / (axis[-1] - axis[0]) * (len(axis) - 1)
                    for inputs, axis in zip(Z.T, axes, strict=True)
                ]
                return np.asarray(map_coordinates(self.grid, nodes, order=1, mode="nearest"))
        return self._evaluate(Z)

    def made_monotone(self, Z: Floats, anomalous: npt.NDArray[np.int64]) -> Self:
        """Tabulate the decision function on a grid and make it non-decreasing in every input.

        Parameters
        ----------
        Z : float64 array (n, k)
            The fitted rows. Grid points count by the number of rows near them.
        anomalous : int array (n,)
            1 = anomalous, 0 = not. Both classes have the same total weight: a pocket around a few odd rows cannot
            outvote the bulk.

        Returns
        -------
        Machine
            The same machine if there is no range, or if there are so many inputs that a grid would be too coarse.
        """
        if self.lower is None or self.upper is None or Z.shape[1] not in _GRID_POINTS:
            return self
        axes = _axes(self.lower, self.upper)
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)  # (g, ..., g, k)
        values = self._evaluate(nodes.reshape(-1, Z.shape[1])).reshape(nodes.shape[:-1])
        of_rows = 1.0 / np.bincount(anomalous)[anomalous]
        weights = []
        for axis, inputs in zip(axes, Z.T, strict=True):
            nearest = np.rint((inputs - axis[0]) / (axis[1] - axis[0])).astype(np.intp)
            weights.append(np.bincount(nearest, of_rows, minlength=len(axis)) + 1e-3 / len(axis))
        return self._replace(grid=monotone_regression(values, weights))

    def _evaluate(self, Z: Floats) -> Floats:
        if self.kernel == "linear":
            return np.asarray(Z @ (self.dual_coef @ self.support_vectors) + self.intercept)
        from scipy.spatial.distance import cdist  # slow to import, and a monotone machine decides without

        step = max(1, _CHUNK_VALUES // len(self.support_vectors))
        blocks = (Z[i : i + step] for i in range(0, len(Z), step))
        squares = (cdist(block, self.support_vectors, "sqeuclidean") for block in blocks)
        return np.asarray(np.concatenate([self._of_squares(square) for square in squares]) + self.intercept)

    def _of_squares(self, square: Floats) -> Floats:
        """Sum over the support vectors from squared distances (n, n_support), which are overwritten."""
        square *= -self.gamma
        return np.asarray(np.exp(square, out=square) @ self.dual_coef)


def fit_machine(
    Z: Floats,
    anomalous: npt.NDArray[np.int64],
    *,
    kernel: str,
    C: float,
    gamma: str | float,
    lower: Floats | None,
    upper: Floats | None,
    most: int | None = None,
) -> Machine:
    """Fit a support vector machine in which both classes have the same total cost of errors.

    Parameters
    ----------
    Z : float64 array (n, k)
        Standardised inputs.
    anomalous : int array (n,)
        1 = anomalous, 0 = not; both occur.
    kernel, C, gamma
        See `gbad.phase3_gate.ThreatGate`.
    lower, upper
        See `Machine`.
    most : int, optional
        If there are more rows, those that lie close together are merged until this many are left, and the sum over the
        support vectors is brought to as few terms as give the same decision values to `_TOLERANCE`.
    """
    from sklearn.svm import SVC  # slow to import, and scoring does without

    variance = float(Z.var())
    if gamma == "scale":
        width = 1.0 / (Z.shape[1] * variance) if variance > 0 else 1.0
    else:
        width = 1.0 / Z.shape[1] if gamma == "auto" else float(gamma)
    # SVC draws nothing from its seed here, but None would advance the global random numbers of the process.
    balanced = dict(enumerate(len(Z) / (2.0 * np.bincount(anomalous))))
    svc = SVC(kernel=kernel, C=C, gamma=width, class_weight=balanced, cache_size=500, random_state=0)
    rows = merge_rows(Z, anomalous, most)
    svc.fit(rows.Z, rows.anomalous, sample_weight=rows.counts)
    vectors, weights = svc.support_vectors_, svc.dual_coef_[0]
    if len(rows.Z) < len(Z) and kernel == "rbf":
        vectors, weights = fewer_centres(vectors, weights, width, _TOLERANCE)
    return Machine(kernel, vectors, weights, float(svc.intercept_[0]), width, lower, upper, grid=None)


def _axes(lower: Floats, upper: Floats) -> list[Floats]:
    above = np.where(upper > lower, upper, lower + 1.0)
    points = _GRID_POINTS[len(lower)]
    return [np.linspace(low, high, points) for low, high in zip(lower, above, strict=True)]
