"""One score for "any threat" from the logits of all classes.

The largest probability over the classes would be decided by the class with the most false alarms: a classifier that is
unsure of Knives gives threat-free images higher knife logits than gun logits. Therefore the logits of each class are
calibrated (Platt, 1999) for the prevalence of threats in use, on images that the classifier was not trained on. An
image holds a threat if it holds a threat of any class: P(any) = 1 - Π (1 - p_c), as if the classes were independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError
from gbad.phase3_gate.calibration import platt_sigmoid
from gbad.phase3_gate.choices import prevalence_weights


@dataclass(frozen=True, eq=False)
class AnyThreat:
    """Calibration of C classes' logits: p_c = sigmoid(slope_c · logit_c + bias_c).

    Attributes
    ----------
    slope, bias : float64 array (C,)
        Slopes are 0 or larger.
    """

    slope: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    @classmethod
    def identity(cls, n_classes: int) -> Self:
        """Calibration that leaves the logits as they are, for use where there are no images to fit one on."""
        return cls(np.ones(n_classes), np.zeros(n_classes))

    def get_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Give all that was learnt as plain arrays, for :meth:`from_arrays`."""
        return {"slope": self.slope, "bias": self.bias}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Rebuild a calibration; the inverse of :meth:`get_arrays`."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})

    def score(self, logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Score each image, by itself, for any threat.

        Parameters
        ----------
        logits : array-like of shape (n, C)
            Logits of the same kind as those that the calibration was fitted on.

        Returns
        -------
        float64 array (n,)
            Natural logarithm of the odds of P(any): higher = more likely.

        Examples
        --------
        >>> half = AnyThreat.identity(2).score([[0.0, 0.0]])  # 1 - 0.5 · 0.5 = 0.75, odds 3
        >>> half.round(3).tolist()
        [1.099]
        """
        # 1 / (1 - p) is 1 + exp(x), whose logarithms add up; the odds of P(any) are the product of all, less 1.
        calibrated = self.slope * np.asarray(logits, dtype=np.float64) + self.bias
        total = np.logaddexp(0, calibrated).sum(axis=1)
        # Where all probabilities are tiny, the odds are their sum. In logarithms, no two images tie.
        small = np.logaddexp.reduce(calibrated, axis=1)
        usual = np.log(np.expm1(np.clip(total, 1e-9, 30)))
        return np.asarray(np.where(total > 30, total, np.where(total < 1e-9, small, usual)))


def can_calibrate(threat: npt.NDArray[np.bool_]) -> bool:
    """Whether rows can tell a calibration: one with a threat and two without, at least. `threat` is bool (n,)."""
    return bool(threat.any() and np.count_nonzero(~threat) > 1)


def fit_any_threat(logits: npt.ArrayLike, labels: npt.ArrayLike, prevalence: float | None = None) -> AnyThreat:
    """Calibrate on rows that the classifier was not trained on.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Finite.
    labels : array-like of shape (n, C)
        1 = threat present. A class without a threat in any row gets the mean calibration of the others, applied to its
        logits standardised over the threat-free rows.
    prevalence : float, optional
        Share of images with a threat, in (0, 1). None: the share in these rows.

    Raises
    ------
    DataError
        If no row shows a threat, or fewer than two rows are threat-free.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels).astype(bool)
    positive, present = np.asarray(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    free = logits[~positive]
    if not can_calibrate(positive):
        raise DataError(
            f"{int(positive.sum())} rows with a threat and {len(free)} threat-free ones are too few to calibrate the "
            "classes' logits: pass at least one with a threat and two threat-free ones."
        )
    weights = prevalence_weights(positive, prevalence)
    mean, deviation = free.mean(axis=0), free.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    standardised = (logits - mean) / deviation
    fitted = {c: platt_sigmoid(standardised[:, c], labels[:, c].astype(int), weights) for c in present.tolist()}
    others = tuple(np.mean(list(fitted.values()), axis=0).tolist())
    slope, bias = np.array([fitted.get(c, others) for c in range(labels.shape[1])]).T
    return AnyThreat(slope / deviation, bias - slope * mean / deviation)
