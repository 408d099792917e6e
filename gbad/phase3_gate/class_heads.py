"""A gate for each class: linear discriminants on the classifier's features, against all threat-free training images.

The classifier of phase 1 learns from as many threat-free images as there are images with threats; most threat-free
images of an imbalanced list it has seldom or never seen. What varies among them in its features is noise to a threat,
and all of them together say how large it is in which direction. Fisher's discriminant ("The use of multiple
measurements in taxonomic problems", Annals of Eugenics 7, 1936) weighs the features by it, w = (S + λs²I)⁻¹ (m_c - m),
with mean m and covariance S of the threat-free rows, s² their mean variance, and m_c the mean of the rows that show
class c. What the classifier says and what the head says are mixed; the share of the head is chosen on held-out rows,
and 0, the classifier alone, is among the candidates. The rarer threats are, the more the heads tend to help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gbad.errors import DataError
from gbad.phase3_gate.ranking import classes_shown, mean_ap

SHRINKAGE = 0.3
"""Of the covariance. Between 0.03 and 1, held-out rows of simulated bags were ranked about equally well."""

SHARES = (0.0, 0.125, 0.25, 0.5)
"""Candidates for the heads' share: from the classifier alone to as much of the one as of the other.

The better the classifier, the smaller the share that helps: at 160 px a half, at 224 px an eighth to a quarter, where a
half did harm.
"""

_CHUNK = 8192  # rows in double precision at a time: features of a million images are many gigabytes


@dataclass(frozen=True, eq=False)
class ClassHeads:
    """Fitted heads of C classes on rows of D features.

    Parameters
    ----------
    mean : float64 array (D,)
        Of the threat-free training rows.
    weights : float64 array (D, C)
    intercepts : float64 array (C,)
        The heads' log-odds have the mean and the standard deviation of the classifier's logits over the threat-free
        training rows, so that both can be mixed.
    """

    mean: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray

    def log_odds(self, features: ArrayLike) -> np.ndarray:
        """Log-odds of each class: (n, D) -> (n, C) float64, each row by itself.

        Raises
        ------
        ValueError
            If the number of features is another than in fitting.
        """
        rows = np.asarray(features)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"expected rows of {len(self.mean)} features, got an array of shape {rows.shape}.")
        # einsum sums in an order that does not depend on the number of rows; a matrix product's may.
        parts = [np.einsum("nd,dc->nc", part - self.mean, self.weights) for part in _chunks(rows)]
        return np.concatenate([np.empty((0, len(self.intercepts))), *parts]) + self.intercepts

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that was learnt as plain arrays, for :meth:`from_arrays`."""
        return {"mean": self.mean, "weights": self.weights, "intercepts": self.intercepts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Rebuild heads; the inverse of :meth:`get_arrays`."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})


def fit_class_heads(
    features: ArrayLike, logits: ArrayLike, labels: ArrayLike, shrinkage: float = SHRINKAGE
) -> ClassHeads:
    """Fit one linear discriminant for each class.

    Parameters
    ----------
    features : array-like of shape (n, D)
        Of the classifier, for training rows: all that can be had, not a balanced choice.
    logits : array-like of shape (n, C)
        Of the classifier.
    labels : array-like of shape (n, C)
        1 = threat present. A class without a row of its own keeps the classifier's mean logit.
    shrinkage : float
        λ, above 0: weight of the mean variance that is added to each feature's.

    Returns
    -------
    ClassHeads

    Raises
    ------
    DataError
        If there are fewer than two threat-free rows.
    ValueError
        If `shrinkage` is not above 0.
    """
    rows, logits, labels = np.asarray(features), np.asarray(logits, np.float64), np.asarray(labels)
    if not shrinkage > 0:
        raise ValueError(f"shrinkage must be above 0, got {shrinkage!r}.")
    free = np.flatnonzero(~labels.any(axis=1))
    if len(free) < 2:
        raise DataError(f"heads need threat-free rows, got {len(free)}. Use more of them.")
    mean = np.zeros(rows.shape[1])
    for part in _chunks(rows, free):
        mean += part.sum(axis=0) / len(free)
    covariance = np.zeros((len(mean), len(mean)))
    for part in _chunks(rows, free):
        covariance += (part - mean).T @ (part - mean) / len(free)
    noise = max(float(np.trace(covariance)) / len(mean), np.finfo(float).tiny)
    present = np.flatnonzero(labels.any(axis=0))
    away = np.zeros((len(mean), labels.shape[1]))
    for c in present:
        away[:, c] = np.mean(rows[labels[:, c] > 0], axis=0, dtype=np.float64) - mean
    weights = np.linalg.solve(covariance / noise + shrinkage * np.eye(len(mean)), away)
    # Over the threat-free rows, the mean is 0 and the variance w'Sw.
    scatter = np.sqrt(np.maximum(np.einsum("dc,de,ec->c", weights, covariance, weights), 0))
    factor = np.divide(logits[free].std(axis=0), scatter, out=np.zeros_like(scatter), where=scatter > 0)
    return ClassHeads(mean, weights * factor, logits[free].mean(axis=0))


def _chunks(rows: np.ndarray, chosen: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Some rows, or all, in double precision, a few at a time."""
    count = len(rows) if chosen is None else len(chosen)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        yield np.asarray(rows[part] if chosen is None else rows[chosen[part]], dtype=np.float64)


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


def choose_share(
    logits: ArrayLike, log_odds: ArrayLike, labels: ArrayLike, shares: Sequence[float] = SHARES,
    sample_weight: ArrayLike | None = None,
) -> float:  # fmt: skip
    """Find the share of the heads that ranks held-out rows best; of equal ones the smallest.

    Parameters
    ----------
    logits, log_odds : array-like of shape (n, C)
        Of the classifier and of the heads, for rows that neither was trained on.
    labels : array-like of shape (n, C)
        1 = threat present.
    shares : sequence of float
        Candidates, in [0, 1].
    sample_weight : array-like of shape (n,), optional
        How often each row counts.

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
    shown = classes_shown(labels, "the heads' share")

    def quality(share: float) -> float:
        return mean_ap(labels[:, shown], mixed(logits, log_odds, share)[:, shown], sample_weight)

    return max(sorted(shares), key=quality)
