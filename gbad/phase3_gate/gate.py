"""The gate of GBAD's third phase: a support vector machine on the anomaly losses decides "anomalous or not"."""

from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.distance import cdist
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from gbad.phase3_gate.calibration import platt_sigmoid
from gbad.phase3_gate.monotone import monotone_regression

_LEARNT = (
    *("classes_", "mean_", "std_", "lower_", "upper_", "support_vectors_", "dual_coef_", "intercept_", "gamma_"),
    *("grid_", "slope_", "bias_", "n_features_in_"),
)
_CALIBRATION_ROWS = 5000
_CALIBRATION_FOLDS = 5
_CHUNK_VALUES = 2**22  # bounds the memory of a block of kernel values: 32 MB
_GRID_POINTS = {1: 257, 2: 65, 3: 17}  # per axis, by number of inputs


class ThreatGate(ClassifierMixin, BaseEstimator):
    """Decide from anomaly losses whether an image is anomalous: an SVM on standardised log losses (GBAD, phase 3).

    A machine with a Gaussian kernel answers with its bias far from its support vectors, so the most extreme anomalies
    can come out as normal. With ``monotone`` the decision function is tabulated on a grid over the range of the fitted
    rows, made non-decreasing in every input by isotonic regression, and interpolated; beyond that range an input
    counts as the nearest value in it. A grid over more than three inputs would have too few points along each: the gate
    is then the clipped machine. Set ``monotone=False, clip=False, max_rows=None`` for the letter's plain machine.

    Parameters
    ----------
    kernel : {"rbf", "linear"}
        Kernel of the machine.
    C : float
        Cost of errors, above 0. Both classes have the same total cost, however many rows they have.
    gamma : "scale", "auto" or float
        Width of the Gaussian kernel ``exp(-gamma |u - v|^2)``, as in scikit-learn's ``SVC``.
    log : bool
        Take ``log(1 + x)`` of the inputs first: losses have a long right tail. Needs inputs of 0 or larger.
    monotone : bool
        Make the decision function non-decreasing in every input. With more than three inputs it only clips.
    clip : bool
        Let inputs beyond the range of the fitted rows count as the nearest value in it. `monotone` always does.
    max_rows : int or None
        Fit on at most this many rows, since the time grows with their square (10,000 rows: seconds; 57,500: minutes).
        Half of them for each class, or less if a class has fewer; drawn with `random_state`.
    random_state : int, RandomState or None
        For drawing rows and folds. Equal numbers give equal gates.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels of "not anomalous" and "anomalous".
    mean_, std_ : ndarray of shape (k,), float64
        Statistics of the (log) inputs.
    lower_, upper_ : ndarray of shape (k,), float64
        Range of the fitted rows, standardised.
    support_vectors_ : ndarray of shape (n_support, k), float64
        Standardised.
    dual_coef_ : ndarray of shape (n_support,), float64
        Weight of each support vector.
    intercept_, gamma_ : float
        Bias and kernel width of the machine.
    grid_ : ndarray of shape (g,) * k, float64, or None
        The monotone decision function between ``lower_`` and ``upper_``; None where the machine itself decides.
    slope_, bias_ : float
        Platt's sigmoid: ``P(anomalous) = 1 / (1 + exp(-(slope_ * decision + bias_)))``.
    n_features_in_ : int
        k, the number of inputs.

    Examples
    --------
    >>> losses = np.array([[10.0, 1.0], [12.0, 1.2], [11.0, 1.0], [30.0, 4.0], [28.0, 3.0], [40.0, 3.5]])
    >>> gate = ThreatGate().fit(losses, [0, 0, 0, 1, 1, 1])
    >>> gate.predict([[11.0, 1.1], [35.0, 3.5], [35_000.0, 3_500.0]])
    array([0, 1, 1])
    """

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        C: float = 1.0,
        gamma: str | float = "scale",
        log: bool = True,
        monotone: bool = True,
        clip: bool = True,
        max_rows: int | None = 10_000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.log = log
        self.monotone = monotone
        self.clip = clip
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the machine, its monotone form and the sigmoid.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Losses: reconstruction and feature matching, and any further inputs; higher = more abnormal.
        y : array-like of shape (n,)
            1 = the image contains a threat, 0 = it does not. Of any other two labels, the larger is "anomalous".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` holds NaN, infinity or (with `log`) negative values, if `y` has not exactly two classes, or if a
            parameter is out of its range.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        self._check_parameters()
        check_classification_targets(y)
        if type_of_target(y, input_name="y") != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"The gate needs rows with and without threats, but all {len(y)} are of class {self.classes_[0]}."
            )
        anomalous = (y == self.classes_[1]).astype(np.int64)
        X = self._logarithm(X)
        self.mean_ = X.mean(axis=0)
        std = X.std(axis=0)
        self.std_ = np.where(std > 0, std, 1.0)
        X = (X - self.mean_) / self.std_
        self.lower_, self.upper_ = X.min(axis=0), X.max(axis=0)
        random = check_random_state(self.random_state)
        rows = _draw(anomalous, self.max_rows, random)
        self._fit_machine(X[rows], anomalous[rows])
        self._calibrate(X, anomalous, random)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Give the gate score: (n, k) -> (n,) float64, above 0 where an image is anomalous.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If `X` holds NaN, infinity or (with `log`) negative values, or has another number of inputs than in ``fit``.
        """
        check_is_fitted(self, "slope_")
        X = self._logarithm(validate_data(self, X, dtype=np.float64, reset=False))
        return self._decide((X - self.mean_) / self.std_)

    def predict(self, X: Any) -> np.ndarray:
        """Decide for each row: (n, k) -> (n,) labels, ``classes_[1]`` where the gate score is above 0."""
        anomalous = self.decision_function(X) > 0
        return self.classes_[anomalous.astype(np.intp)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Estimate P(not anomalous) and P(anomalous) for a world in which half of the images are anomalous.

        The sigmoid is fitted on cross-validated gate scores with equal weight for both classes (Platt, 1999). It never
        falls with the gate score. For another share of anomalous images, correct the odds by that share's odds.

        Parameters
        ----------
        X : array-like of shape (n, k)
            As in ``fit``.

        Returns
        -------
        ndarray of shape (n, 2), float64
            In [0, 1]; columns in the order of ``classes_``; rows sum to 1.
        """
        scores = self.decision_function(X)
        return np.column_stack([expit(-(self.slope_ * scores + self.bias_)), self.probability(scores)])

    def probability(self, score: np.ndarray) -> np.ndarray:
        """P(anomalous), float64 (n,), of gate scores (n,), for a caller that has them: see :meth:`predict_proba`."""
        return np.asarray(expit(self.slope_ * score + self.bias_))

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "slope_")
        return {name: np.asarray(getattr(self, name)) for name in _LEARNT if getattr(self, name) is not None}

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Rebuild a fitted gate from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit."""
        gate = cls(**params)
        gate.grid_ = None
        for name, value in arrays.items():
            setattr(gate, name, np.asarray(value) if np.ndim(value) else np.asarray(value).item())
        return gate

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.positive_only = self.log
        return tags

    def _check_parameters(self) -> None:
        if self.kernel not in ("rbf", "linear"):
            raise ValueError(f"kernel must be 'rbf' or 'linear', got {self.kernel!r}.")
        check_scalar(self.C, "C", numbers.Real, min_val=0.0, include_boundaries="neither")
        if isinstance(self.gamma, str):
            if self.gamma not in ("scale", "auto"):
                raise ValueError(f"gamma must be 'scale', 'auto' or a number above 0, got {self.gamma!r}.")
        else:
            check_scalar(self.gamma, "gamma", numbers.Real, min_val=0.0, include_boundaries="neither")
        if self.max_rows is not None:
            check_scalar(self.max_rows, "max_rows", numbers.Integral, min_val=2)

    def _logarithm(self, X: np.ndarray) -> np.ndarray:
        if not self.log:
            return X
        check_non_negative(X, f"{type(self).__name__} (set log=False for inputs that are no losses)")
        return np.log1p(X)

    def _fit_machine(self, Z: np.ndarray, anomalous: np.ndarray) -> None:
        variance = float(Z.var())
        if self.gamma == "scale":
            self.gamma_ = 1.0 / (Z.shape[1] * variance) if variance > 0 else 1.0
        else:
            self.gamma_ = 1.0 / Z.shape[1] if self.gamma == "auto" else float(self.gamma)
        # The seed draws nothing here, but None would move the process's own random numbers.
        options = {"class_weight": "balanced", "cache_size": 500, "random_state": 0}
        svc = SVC(kernel=self.kernel, C=self.C, gamma=self.gamma_, **options)
        svc.fit(Z, anomalous)
        self.support_vectors_ = svc.support_vectors_
        self.dual_coef_ = svc.dual_coef_[0]
        self.intercept_ = float(svc.intercept_[0])
        on_grid = self.monotone and Z.shape[1] in _GRID_POINTS
        self.grid_ = self._monotone_grid(Z, anomalous) if on_grid else None

    def _monotone_grid(self, Z: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
        axes = self._axes()
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)  # (g, ..., g, k)
        values = self._machine(nodes.reshape(-1, Z.shape[1])).reshape(nodes.shape[:-1])
        # Nodes count by the rows near them, both classes alike: a pocket around a few odd rows cannot outvote the bulk.
        of_rows = 1.0 / np.bincount(anomalous)[anomalous]
        weights = []
        for axis, inputs in zip(axes, Z.T, strict=True):
            nearest = np.rint((inputs - axis[0]) / (axis[1] - axis[0])).astype(np.intp)
            weights.append(np.bincount(nearest, of_rows, minlength=len(axis)) + 1e-3 / len(axis))
        return monotone_regression(values, weights)

    def _axes(self) -> list[np.ndarray]:
        upper = np.where(self.upper_ > self.lower_, self.upper_, self.lower_ + 1.0)
        points = _GRID_POINTS[len(upper)]
        return [np.linspace(low, high, points) for low, high in zip(self.lower_, upper, strict=True)]

    def _decide(self, Z: np.ndarray) -> np.ndarray:
        if self.clip or self.monotone:
            Z = np.clip(Z, self.lower_, self.upper_)
        if self.grid_ is None:
            return self._machine(Z)
        return RegularGridInterpolator(self._axes(), self.grid_)(Z)

    def _machine(self, Z: np.ndarray) -> np.ndarray:
        """Decision function of the machine itself: (n, k) standardised -> (n,)."""
        if self.kernel == "linear":
            return Z @ (self.dual_coef_ @ self.support_vectors_) + self.intercept_
        step = max(1, _CHUNK_VALUES // len(self.support_vectors_))
        blocks = (Z[i : i + step] for i in range(0, len(Z), step))
        squares = (cdist(block, self.support_vectors_, "sqeuclidean") for block in blocks)
        return np.concatenate([np.exp(-self.gamma_ * square) @ self.dual_coef_ for square in squares]) + self.intercept_

    def _calibrate(self, Z: np.ndarray, anomalous: np.ndarray, random: np.random.RandomState) -> None:
        rows = _draw(anomalous, _CALIBRATION_ROWS, random)
        Z, anomalous = Z[rows], anomalous[rows]
        n_folds = min(_CALIBRATION_FOLDS, int(np.bincount(anomalous).min()))
        if n_folds < 2:
            scores = self._decide(Z)
        else:
            scores = np.empty(len(Z))
            folds = StratifiedKFold(n_folds, shuffle=True, random_state=random)
            for fitted, held_out in folds.split(Z, anomalous):
                gate = type(self)(**self.get_params())
                gate.lower_, gate.upper_ = self.lower_, self.upper_
                gate._fit_machine(Z[fitted], anomalous[fitted])
                scores[held_out] = gate._decide(Z[held_out])
        self.slope_, self.bias_ = platt_sigmoid(scores, anomalous)


def _draw(anomalous: np.ndarray, max_rows: int | None, random: np.random.RandomState) -> np.ndarray:
    """Row indices, in order: at most `max_rows`, half of them of each class unless one has fewer."""
    if max_rows is None or len(anomalous) <= max_rows:
        return np.arange(len(anomalous))
    normal, abnormal = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    n_normal = min(len(normal), max(max_rows // 2, max_rows - len(abnormal)))
    drawn = [
        random.choice(normal, n_normal, replace=False),
        random.choice(abnormal, max_rows - n_normal, replace=False),
    ]
    return np.sort(np.concatenate(drawn))
