"""A gate for each class: linear heads on the classifier's features, fitted on all training images.

The classifier of phase 1 learns from as many threat-free images as there are images with threats; most threat-free
images of an imbalanced list it has seldom or never seen. A heavily regularised linear head on its frozen features costs
seconds and can use all of them. What the classifier says and what the head says are mixed; the share of the head is
chosen on held-out rows, and 0, the classifier alone, is among the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from gbad.errors import DataError
from gbad.metrics import average_precision

PENALTY = 3.0
"""In the middle of the range (0.3 to 10) in which held-out rows of simulated bags were ranked about equally well."""

SHARES = (0.0, 0.5)
"""Candidates for the heads' share: the classifier alone, or as much of the one as of the other."""


@dataclass(frozen=True, eq=False)
class ClassHeads:
    """Fitted heads of C classes on rows of D features.

    Parameters
    ----------
    mean, scale : float64 arrays (D,)
        Standardise the features, by the threat-free training rows.
    weights : float64 array (D, C)
    intercepts : float64 array (C,)
        The heads' log-odds have the mean and the standard deviation of the classifier's logits over the threat-free
        training rows, so that both can be mixed.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray

    def log_odds(self, features: ArrayLike) -> np.ndarray:
        """Log-odds of each class: (n, D) -> (n, C) float64, each row by itself.

        Raises
        ------
        ValueError
            If the number of features is another than in fitting.
        """
        rows = np.asarray(features, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"expected rows of {len(self.mean)} features, got an array of shape {rows.shape}.")
        # einsum sums in an order that does not depend on the number of rows; a matrix product's may.
        return np.einsum("nd,dc->nc", (rows - self.mean) / self.scale, self.weights) + self.intercepts

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that was learnt as plain arrays, for :meth:`from_arrays`."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights, "intercepts": self.intercepts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Rebuild heads; the inverse of :meth:`get_arrays`."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})


def fit_class_heads(features: ArrayLike, logits: ArrayLike, labels: ArrayLike, penalty: float = PENALTY) -> ClassHeads:
    """Fit one logistic regression for each class, with equal total weight of its positive and its other rows.

    Parameters
    ----------
    features : array-like of shape (n, D)
        Of the classifier, for training rows: all that can be had, not a balanced choice.
    logits : array-like of shape (n, C)
        Of the classifier.
    labels : array-like of shape (n, C)
        1 = threat present. A class without positive or without other rows keeps the classifier's mean logit.
    penalty : float
        Of half the squared weights, against the mean loss of a row; above 0.

    Returns
    -------
    ClassHeads

    Raises
    ------
    DataError
        If there are fewer than two threat-free rows.
    ValueError
        If `penalty` is not above 0.
    """
    rows, logits, labels = np.asarray(features, dtype=np.float64), np.asarray(logits, np.float64), np.asarray(labels)
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty!r}.")
    free = ~labels.any(axis=1)
    if free.sum() < 2:
        raise DataError(f"heads need threat-free rows, got {int(free.sum())}. Use more of them.")
    mean, scale = rows[free].mean(axis=0), rows[free].std(axis=0)
    scale[scale == 0] = 1.0
    rows = (rows - mean) / scale
    weights, intercepts = np.zeros((rows.shape[1], labels.shape[1])), logits[free].mean(axis=0)
    for c in range(labels.shape[1]):
        if len(np.unique(labels[:, c])) < 2:
            continue
        head = LogisticRegression(C=1.0 / (penalty * len(rows)), class_weight="balanced", max_iter=1000)
        direction = head.fit(rows, labels[:, c]).coef_[0]
        said = rows[free] @ direction
        factor = logits[free, c].std() / max(said.std(), np.finfo(float).tiny)
        weights[:, c] = factor * direction
        intercepts[c] -= factor * said.mean()
    return ClassHeads(mean, scale, weights, intercepts)


def mixed(logits: ArrayLike, log_odds: ArrayLike, share: float) -> np.ndarray:
    """Mix logits of the classifier with log-odds of the heads, both (n, C); share 0 is the classifier alone.

    Examples
    --------
    >>> mixed([[2.0]], [[-2.0]], 0.25).tolist()
    [[1.0]]
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1], got {share!r}.")
    return (1.0 - share) * np.asarray(logits, dtype=np.float64) + share * np.asarray(log_odds, dtype=np.float64)


def choose_share(logits: ArrayLike, log_odds: ArrayLike, labels: ArrayLike, shares: Sequence[float] = SHARES) -> float:
    """Find the share of the heads that ranks held-out rows best; of equal ones the smallest.

    Parameters
    ----------
    logits, log_odds : array-like of shape (n, C)
        Of the classifier and of the heads, for rows that neither was trained on.
    labels : array-like of shape (n, C)
        1 = threat present.
    shares : sequence of float
        Candidates, in [0, 1].

    Returns
    -------
    float
        The candidate of the highest mean average precision over the classes that have positives.

    Raises
    ------
    DataError
        If no class has a positive row.
    """
    labels = np.asarray(labels)
    present = np.flatnonzero(labels.any(axis=0))
    if not len(present):
        raise DataError("No row holds a threat, so the heads' share cannot be chosen: pass rows with threats.")

    def mean_ap(share: float) -> float:
        scores = mixed(logits, log_odds, share)
        return float(np.mean([average_precision(labels[:, c], scores[:, c]) for c in present]))

    return max(sorted(shares), key=mean_ap)
