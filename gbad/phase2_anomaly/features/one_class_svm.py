"""One-class support vector machine, kept as its support vectors.

Source: Schölkopf et al., "Estimating the Support of a High-Dimensional Distribution", Neural Computation 13 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector, Judge, Rows
from gbad.phase2_anomaly.parameters import check_real, check_whole


@dataclass(kw_only=True, eq=False, repr=False)
class OneClassSVMDetector(FeatureDetector):
    """Outlier detector by a support vector machine with a Gaussian kernel: a control for the BiGAN.

    Parameters
    ----------
    nu : float
        Largest share of training rows outside the boundary, in (0, 1].
    gamma : "scale" or float
        Width of the Gaussian kernel ``exp(-gamma |u - v|^2)`` on standardised rows; ``"scale"`` is 1 / D.
    max_rows : int
        Fit on at most this many training rows, drawn at random: the time grows with their square.
    random_state : int, RandomState or None
        For drawing rows.
    contamination : float
        See `FeatureDetector`.

    Attributes
    ----------
    support_vectors_ : ndarray of shape (m, D), float64
        Standardised.
    weights_ : ndarray of shape (m,), float64
        Weights of the support vectors; above 0, with sum 1.
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

    nu: float = 0.1
    gamma: str | float = "scale"
    max_rows: int = 5000
    random_state: int | np.random.RandomState | None = 0

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_real(self, ("nu",), 0.0, 1.0, "right")
        check_whole(self, ("max_rows",), least=2)
        if self.gamma != "scale":
            if isinstance(self.gamma, str):
                raise ValueError(f"gamma must be 'scale' or a number above 0, got {self.gamma!r}.")
            check_real(self, ("gamma",), 0.0, ends="neither")

    def _learn(self, X: Rows) -> None:
        from sklearn.svm import OneClassSVM  # slow to import, and scoring does without

        Z = self._drawn(X, self.max_rows, check_random_state(self.random_state))
        self.gamma_ = 1.0 / Z.shape[1] if isinstance(self.gamma, str) else float(self.gamma)
        machine = OneClassSVM(nu=self.nu, gamma=self.gamma_, cache_size=500)
        machine.random_state = 0  # nothing is drawn from it, but None would advance the process's own generator
        machine.fit(Z)
        self.support_vectors_ = machine.support_vectors_
        self.weights_ = machine.dual_coef_[0] / machine.dual_coef_[0].sum()

    def _judge(self) -> Judge:
        return self._one_class_loss

    def _one_class_loss(self, Z: Floats) -> Floats:
        """One minus the weighted mean of the kernel: (b, D) -> (b,) in [0, 1].

        It is the machine's decision value without its constants, with the sign turned.
        """
        from scipy.spatial.distance import cdist  # slow to import, and other detectors do without

        kernel = np.exp(-self.gamma_ * cdist(Z, self.support_vectors_, "sqeuclidean"))
        return np.asarray(np.maximum(1.0 - kernel @ self.weights_, 0.0))
