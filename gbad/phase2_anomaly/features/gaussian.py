"""One Gaussian for all threat-free rows: the Mahalanobis distance, with a shrunk covariance.

Source of the shrinkage: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 88 (2004), Section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector, Judge, Rows

_FLOOR = 1e-6  # added to each variance of standardised columns: one that never varied has none


@dataclass(kw_only=True, eq=False, repr=False)
class GaussianDetector(FeatureDetector):
    """Outlier detector that models threat-free rows as one Gaussian: a control for the BiGAN.

    Parameters
    ----------
    contamination : float
        See `FeatureDetector`.

    Attributes
    ----------
    covariance_ : ndarray of shape (D, D), float64
        Shrunk covariance of the standardised training rows.
    shrinkage_ : float
        Weight of the identity in it, in [0, 1].
    factor_ : ndarray of shape (D, D), float64
        Its lower Cholesky factor.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(64, 5)) * [3, 1, 1, 0.1, 1]
    >>> detector = GaussianDetector().fit(rows)
    >>> detector.losses(rows).shape
    (64, 1)
    >>> detector.predict(rows[:1] + 100)
    array([-1])
    """

    loss_names = ("mahalanobis_distance",)

    def _learn(self, X: Rows) -> None:
        self.covariance_, self.shrinkage_ = ledoit_wolf(self._chunks(X))
        self.factor_ = cholesky(self.covariance_ + _FLOOR * np.eye(len(self.covariance_)), lower=True)

    def _judge(self) -> Judge:
        return lambda Z: np.linalg.norm(solve_triangular(self.factor_, Z.T, lower=True), axis=0)


def ledoit_wolf(chunks: Iterable[Floats]) -> tuple[Floats, float]:
    """Covariance of centred rows, shrunk towards a multiple of the identity, in one pass over chunks of rows.

    Parameters
    ----------
    chunks : iterable of float64 arrays (b, D)
        All n rows, some at a time; their mean is zero.

    Returns
    -------
    covariance : ndarray of shape (D, D)
        ``(1 - s) S + s (tr S / D) I`` with the empirical covariance S.
    shrinkage : float
        s, in [0, 1].
    """
    n, second, fourth = 0, np.zeros(()), 0.0
    for Z in chunks:
        n += len(Z)
        second = second + Z.T @ Z
        fourth += float((np.square(Z).sum(axis=1) ** 2).sum())
    empirical = second / n
    size = len(empirical)
    level = float(np.trace(empirical)) / size
    squares = float(np.square(empirical).sum())
    distance = squares - size * level**2  # ||S - level I||^2
    spread = min((fourth / n - squares) / n, distance)  # mean ||z z' - S||^2 / n
    shrinkage = spread / distance if distance > 0 and spread > 0 else 0.0
    covariance = (1.0 - shrinkage) * empirical
    covariance.flat[:: size + 1] += shrinkage * level
    return covariance, shrinkage
