"""One-class support vector machine, kept as its support vectors.

Source: Schölkopf et al., "Estimating the Support of a High-Dimensional Distribution", Neural Computation 13 (2001).
"""

from __future__ import annotations

import numbers

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.svm import OneClassSVM
from sklearn.utils import check_scalar

from gbad.phase2_anomaly.features.feature_detector import FeatureDetector


class OneClassSVMDetector(FeatureDetector):
    """Outlier detector by a support vector machine with a Gaussian kernel: a control for the BiGAN.

    Parameters
    ----------
    nu : float
        Largest share of training rows on the outer side, in (0, 1].
    gamma : "scale" or float
        Width of the Gaussian kernel ``exp(-gamma |u - v|^2)`` on standardised rows; ``"scale"`` is 1 / D.
    max_rows : int
        Fit on at most this many training rows, drawn at random: the time grows with their square.
    contamination : float
        Share of the training rows that ``predict`` calls abnormal, in (0, 0.5].
    random_state : int, RandomState or None
        For drawing rows.

    Attributes
    ----------
    support_vectors_ : ndarray of shape (m, D), float64
        Standardised.
    weights_ : ndarray of shape (m,), float64
        Of the support vectors; above 0, with sum 1.
    gamma_ : float
        Kernel width.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(64, 5)) * [3, 1, 1, 0.1, 1]
    >>> detector = OneClassSVMDetector().fit(rows)
    >>> detector.losses(rows).shape
    (64, 1)
    >>> detector.predict(rows[:1] + 100)
    array([-1])
    """

    loss_names = ("one_class_loss",)

    def __init__(
        self,
        *,
        nu: float = 0.1,
        gamma: str | float = "scale",
        max_rows: int = 5000,
        contamination: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.nu = nu
        self.gamma = gamma
        self.max_rows = max_rows
        self.contamination = contamination
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.nu, "nu", numbers.Real, min_val=0.0, max_val=1.0, include_boundaries="right")
        check_scalar(self.max_rows, "max_rows", numbers.Integral, min_val=2)
        if self.gamma != "scale":
            if isinstance(self.gamma, str):
                raise ValueError(f"gamma must be 'scale' or a number above 0, got {self.gamma!r}.")
            check_scalar(self.gamma, "gamma", numbers.Real, min_val=0.0, include_boundaries="neither")

    def _learn(self, X: np.ndarray, random: np.random.RandomState) -> None:
        Z = self._drawn(X, self.max_rows, random)
        self.gamma_ = 1.0 / Z.shape[1] if isinstance(self.gamma, str) else float(self.gamma)
        machine = OneClassSVM(nu=self.nu, gamma=self.gamma_, cache_size=500)
        machine.random_state = 0  # nothing is drawn from it, but None would move the process's own numbers
        machine.fit(Z)
        self.support_vectors_ = machine.support_vectors_
        self.weights_ = machine.dual_coef_[0] / machine.dual_coef_[0].sum()

    def _loss(self, Z: np.ndarray) -> np.ndarray:
        """One minus the weighted mean of the kernel, in [0, 1]: the decision value without its constants, turned."""
        kernel = np.exp(-self.gamma_ * cdist(Z, self.support_vectors_, "sqeuclidean"))
        return np.asarray(np.maximum(1.0 - kernel @ self.weights_, 0.0))
