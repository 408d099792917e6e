"""The gate of GBAD's third phase: a support vector machine on the anomaly losses decides "anomalous or not"."""

from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from gbad.phase3_gate.calibration import platt_sigmoid
from gbad.phase3_gate.machine import Machine, fit_machine

_LEARNT = (
    *("classes_", "mean_", "std_", "lower_", "upper_", "support_vectors_", "dual_coef_", "intercept_", "gamma_"),
    *("grid_", "slope_", "bias_", "n_features_in_"),
)
_CALIBRATION_ROWS = 5000
_CALIBRATION_FOLDS = 5


class ThreatGate(ClassifierMixin, BaseEstimator):
    """Decide from anomaly losses whether an image is anomalous: an SVM on standardised log losses (GBAD, phase 3).

    Far from its support vectors, a machine with a Gaussian kernel answers with its bias, so the most extreme anomalies
    can come out as normal. With ``monotone``, the decision function is tabulated on a grid over the range of the fitted
    rows, made non-decreasing in every input by isotonic regression, and interpolated. Beyond that range, an input
    counts as the nearest value in it. A grid over more than three inputs would have too few points along each axis: the
    gate is then the clipped machine. ``monotone=False, clip=False, max_rows=None`` gives the plain machine of the
    paper. With ``reduction="merge"`` and some thousands of `max_rows` it is that machine up to the third decimal, in
    seconds.

    Parameters
    ----------
    kernel : {"rbf", "linear"}
        Kernel of the machine.
    C : float
        Cost of errors, above 0. Both classes have the same total cost, however many rows they have.
    gamma : "scale", "auto" or float
        Width of the Gaussian kernel ``exp(-gamma |u - v|^2)``, as in scikit-learn's ``SVC``.
    log : bool
        Take ``log(1 + x)`` of the inputs first, because losses have a long right tail. Inputs must be 0 or larger.
    monotone : bool
        Make the decision function non-decreasing in every input. With more than three inputs, only clip.
    clip : bool
        Inputs beyond the range of the fitted rows count as the nearest value in it. `monotone` implies it.
    max_rows : int or None
        Fit on at most this many rows, because the time grows with their square (10,000 rows: seconds; 57,500: minutes).
    reduction : {"draw", "merge"}
        What is done with more rows than `max_rows`. ``"draw"``: that many are drawn with `random_state`, half of them
        of each class, unless one class has fewer. ``"merge"``: rows of one class that lie close together count as one,
        as often as they are, and the machine keeps as few support vectors as give its values to 0.001.
    random_state : int, RandomState or None
        Seed for drawing rows and folds. Equal numbers give equal gates.

    Attributes
    ----------
    classes_ : array (2,)
        Labels of "not anomalous" and "anomalous".
    mean_, std_ : float64 array (k,)
        Mean and standard deviation of the (log) inputs.
    lower_, upper_ : float64 array (k,)
        Range of the fitted rows, standardised.
    support_vectors_, dual_coef_, intercept_, gamma_, grid_
        The machine on standardised inputs, see `gbad.phase3_gate.machine.Machine`.
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
        reduction: str = "draw",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.log = log
        self.monotone = monotone
        self.clip = clip
        self.max_rows = max_rows
        self.reduction = reduction
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the machine, its monotone form and the sigmoid.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Losses: reconstruction, feature matching and any further inputs; higher = more abnormal.
        y : array-like of shape (n,)
            1 = the image contains a threat, 0 = it does not. Of any other two labels, the larger means "anomalous".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` holds NaN, infinity or (with `log`) negative values, if `y` does not have exactly two classes, or if
            a parameter is out of its range.
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
        rows = _draw(anomalous, self.max_rows if self.reduction == "draw" else None, random)
        machine = self._fit_machine(X[rows], anomalous[rows])
        self.support_vectors_, self.dual_coef_ = machine.support_vectors, machine.dual_coef
        self.intercept_, self.gamma_, self.grid_ = machine.intercept, machine.gamma, machine.grid
        self.slope_, self.bias_ = self._calibrate(X, anomalous, random)
        return self

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Compute the gate score: (n, k) -> (n,) float64, above 0 where an image is anomalous.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If `X` holds NaN, infinity or (with `log`) negative values, or does not have the fitted number of inputs.
        """
        check_is_fitted(self, "slope_")
        X = self._logarithm(validate_data(self, X, dtype=np.float64, reset=False))
        return self._machine().decide((X - self.mean_) / self.std_)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Decide for each row: (n, k) -> (n,) labels, ``classes_[1]`` where the gate score is above 0."""
        anomalous = self.decision_function(X) > 0
        return np.asarray(self.classes_[anomalous.astype(np.intp)])

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Estimate P(not anomalous) and P(anomalous), where half of the images are anomalous.

        The sigmoid is fitted on cross-validated gate scores, with equal total weight for both classes (Platt, 1999). It
        never falls when the gate score rises. For another share of anomalous images, multiply the odds by the odds of
        that share.

        Parameters
        ----------
        X : array-like of shape (n, k)
            As in ``fit``.

        Returns
        -------
        float64 array (n, 2)
            In [0, 1]; columns in the order of ``classes_``; rows sum to 1.
        """
        scores = self.decision_function(X)
        return np.column_stack([expit(-(self.slope_ * scores + self.bias_)), self.probability(scores)])

    def probability(self, score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """P(anomalous), float64 (n,), from gate scores (n,), see :meth:`predict_proba`."""
        return np.asarray(expit(self.slope_ * score + self.bias_))

    def get_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "slope_")
        return {name: np.asarray(getattr(self, name)) for name in _LEARNT if getattr(self, name) is not None}

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
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
        if self.reduction not in ("draw", "merge"):
            raise ValueError(f"reduction must be 'draw' or 'merge', got {self.reduction!r}.")

    def _logarithm(self, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if not self.log:
            return X
        check_non_negative(X, f"{type(self).__name__} (set log=False for inputs that are no losses)")
        return np.log1p(X)

    def _fit_machine(self, Z: npt.NDArray[np.float64], anomalous: npt.NDArray[np.int64]) -> Machine:
        bounded = self.clip or self.monotone
        machine = fit_machine(
            Z, anomalous, kernel=self.kernel, C=self.C, gamma=self.gamma, lower=self.lower_ if bounded else None,
            upper=self.upper_ if bounded else None, most=self.max_rows if self.reduction == "merge" else None,
        )  # fmt: skip
        return machine.made_monotone(Z, anomalous) if self.monotone else machine

    def _machine(self) -> Machine:
        bounded = self.clip or self.monotone
        return Machine(
            self.kernel, self.support_vectors_, self.dual_coef_, self.intercept_, self.gamma_,
            self.lower_ if bounded else None, self.upper_ if bounded else None, self.grid_,
        )  # fmt: skip

    def _calibrate(
        self, Z: npt.NDArray[np.float64], anomalous: npt.NDArray[np.int64], random: np.random.RandomState
    ) -> tuple[float, float]:
        """Slope and bias of the sigmoid, from machines that are each fitted on the other folds."""
        from sklearn.model_selection import StratifiedKFold  # slow to import, and scoring does without

        rows = _draw(anomalous, _CALIBRATION_ROWS, random)
        Z, anomalous = Z[rows], anomalous[rows]
        n_folds = min(_CALIBRATION_FOLDS, int(np.bincount(anomalous).min()))
        if n_folds < 2:
            return platt_sigmoid(self._machine().decide(Z), anomalous)
        scores = np.empty(len(Z))
        for fitted, others in StratifiedKFold(n_folds, shuffle=True, random_state=random).split(Z, anomalous):
            scores[others] = self._fit_machine(Z[fitted], anomalous[fitted]).decide(Z[others])
        return platt_sigmoid(scores, anomalous)


def _draw(
    anomalous: npt.NDArray[np.int64], max_rows: int | None, random: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """Row indices, in order: at most `max_rows`, half of them of each class unless one class has fewer."""
    if max_rows is None or len(anomalous) <= max_rows:
        return np.arange(len(anomalous))
    normal, abnormal = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    n_normal = min(len(normal), max(max_rows // 2, max_rows - len(abnormal)))
    drawn = [
        random.choice(normal, n_normal, replace=False),
        random.choice(abnormal, max_rows - n_normal, replace=False),
    ]
    return np.sort(np.concatenate(drawn))
