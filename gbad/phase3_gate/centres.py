"""A kernel expansion with far fewer terms, and a bound on what that changes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

_BLOCK = 1024  # rows of the kernel matrix at a time: bounds the memory
_NEAREST = 1e-10  # a vector that the chosen ones span up to this square is none of its own

Floats = npt.NDArray[np.float64]


def fewer_centres(vectors: Floats, weights: Floats, gamma: float, tolerance: float) -> tuple[Floats, Floats]:
    """Approximate ``f(z) = sum_i weights_i exp(-gamma |z - vectors_i|^2)`` by a sum over a few of the vectors.

    However many vectors of two inputs there are, their kernels nearly lie in a space of few dimensions. Vectors are
    chosen one by one, the next where the rest of f is largest, and f is projected on those that are chosen: orthogonal
    matching pursuit in the kernel's space, by a pivoted Cholesky factor. The norm of the rest bounds the difference at
    every z, because the kernel of z with itself is 1.

    Parameters
    ----------
    vectors : float64 array (n, k)
    weights : float64 array (n,)
    gamma : float
        Width of the kernel.
    tolerance : float
        Largest difference that is left, at any z.

    Returns
    -------
    vectors : float64 array (m, k)
    weights : float64 array (m,)
    """
    rest = np.concatenate([_kernel(vectors[i : i + _BLOCK], vectors, gamma) @ weights
                           for i in range(0, len(vectors), _BLOCK)])  # fmt: skip
    square = float(weights @ rest)  # of the norm of the rest
    own = np.ones(len(vectors))  # square of what of each vector the chosen ones do not span
    basis = np.empty((0, len(vectors)))
    chosen: list[int] = []
    along: list[float] = []
    while not chosen or square > tolerance**2:
        gain = np.where(own > _NEAREST, rest**2 / np.maximum(own, _NEAREST), 0.0)
        best = int(np.argmax(gain))
        if chosen and gain[best] <= 0:
            break
        direction = _kernel(vectors, vectors[best : best + 1], gamma)[:, 0] - basis[:, best] @ basis
        direction /= np.sqrt(own[best])
        step = rest[best] / np.sqrt(own[best])
        rest, own, square = rest - step * direction, own - direction**2, square - step**2
        basis = np.vstack([basis, direction])
        chosen.append(best)
        along.append(step)
    return vectors[chosen], solve_triangular(basis[:, chosen], np.array(along))


def _kernel(one: Floats, other: Floats, gamma: float) -> Floats:
    from scipy.spatial.distance import cdist  # slow to import, and scoring does without

    return np.asarray(np.exp(-gamma * cdist(one, other, "sqeuclidean")))
