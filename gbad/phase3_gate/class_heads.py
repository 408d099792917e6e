"""Class heads: a linear discriminant for each class, on the classifier's features, against threat-free images.

The classifier of phase 1 learns from as many threat-free images as there are images with threats. Most threat-free
images of an imbalanced list it has seen seldom or never. The variation of the features among all threat-free images is
noise for the recognition of threats. Fisher's discriminant ("The use of multiple measurements in taxonomic problems",
Annals of Eugenics 7, 1936) weighs the features by this noise: w = (S + λs²I)⁻¹ (m_c - m), with mean m and covariance S
of the threat-free rows, their mean variance s², and the mean m_c of the rows that show class c.

Logits of the classifier and log-odds of the heads are mixed. The share of the heads is chosen on the validation part;
share 0, the classifier alone, is among the candidates. The rarer threats are, the more the heads tend to help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.errors import DataError
from gbad.phase3_gate.ranking import classes_shown, mean_ap

SHRINKAGE = 0.3
"""λ. Between 0.03 and 1, validation rows of simulated bags were ranked about equally well."""

SHARES = (0.0, 0.125, 0.25, 0.5)
"""Candidates for the heads' share, from the classifier alone to equal parts of both.

The better the classifier, the smaller the share that helps: a half at 160 px; an eighth to a quarter at 224 px, where a
half did harm.
"""

_CHUNK = 8192  # rows in double precision at a time: the features of a million images take many gigabytes


@dataclass(frozen=True, eq=False)
class ClassHeads:
    """Fitted heads of C classes on rows of D features.

    Parameters
    ----------
    mean : float64 array (D,)
        Mean of the threat-free training rows.
    weights : float64 array (D, C)
    intercepts : float64 array (C,)

    Notes
    -----
    Over the threat-free training rows, the log-odds of the heads have the mean and the standard deviation of the
    classifier's logits, so that both can be mixed.
    """

    mean: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]

    def log_odds(self, features: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log-odds of each class: (n, D) -> (n, C) float64, each row by itself.

        Raises
        ------
        ValueError
            If the number of features differs from the fitted one.
        """
        rows = np.asarray(features)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"expected rows of {len(self.mean)} features, got an array of shape {rows.shape}.")
        # The order in which einsum sums does not depend on the number of rows; a matrix product's order may.
        parts = [np.einsum("nd,dc->nc", part - self.mean, self.weights) for part in _chunks(rows)]
        log_odds: npt.NDArray[np.float64] = np.concatenate([np.empty((0, len(self.intercepts))), *parts])
        return log_odds + self.intercepts

    def get_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Give all that was learnt as plain arrays, for :meth:`from_arrays`."""
        return {"mean": self.mean, "weights": self.weights, "intercepts": self.intercepts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Rebuild heads; the inverse of :meth:`get_arrays`."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})


def fit_class_heads(
    features: npt.ArrayLike, logits: npt.ArrayLike, labels: npt.ArrayLike, shrinkage: float = SHRINKAGE
) -> ClassHeads:
    """Fit one linear discriminant for each class.

    Parameters
    ----------
    features : array-like of shape (n, D)
        Features of the classifier for training rows: as many as possible, not a balanced choice.
    logits : array-like of shape (n, C)
        Logits of the classifier.
    labels : array-like of shape (n, C)
        1 = threat present. The head of a class without positives always gives the mean logit of the classifier.
    shrinkage : float
        λ, above 0: weight of the mean variance, which is added to the variance of each feature.

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
        raise DataError(f"class heads need at least two threat-free rows, got {len(free)}: pass more of them.")
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
    # Over the threat-free rows, the heads have mean 0 and variance w'Sw.
    scatter = np.sqrt(np.maximum(np.einsum("dc,de,ec->c", weights, covariance, weights), 0))
    factor = np.divide(logits[free].std(axis=0), scatter, out=np.zeros_like(scatter), where=scatter > 0)
    return ClassHeads(mean, weights * factor, logits[free].mean(axis=0))


def _chunks(rows: npt.NDArray[Any], chosen: npt.NDArray[np.intp] | None = None) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the chosen rows, or all, in double precision, `_CHUNK` at a time."""
    count = len(rows) if chosen is None else len(chosen)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        yield np.asarray(rows[part] if chosen is None else rows[chosen[part]], dtype=np.float64)


def mixed(logits: npt.ArrayLike, log_odds: npt.ArrayLike, share: float) -> npt.NDArray[np.float64]:
    """Mix logits of the classifier with log-odds of the heads, both (n, C); with share 0, the logits stay.

    Examples
    --------
    >>> mixed([[2.0]], [[-2.0]], 0.25).tolist()
    [[1.0]]
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1], got {share!r}.")
    return (1.0 - share) * np.asarray(logits, dtype=np.float64) + share * np.asarray(log_odds, dtype=np.float64)


def choose_share(
    logits: npt.ArrayLike,
    log_odds: npt.ArrayLike,
    labels: npt.ArrayLike,
    shares: Sequence[float] = SHARES,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Find the share of the heads that ranks rows best; of equally good shares the smallest.

    Parameters
    ----------
    logits, log_odds : array-like of shape (n, C)
        Logits of the classifier and log-odds of the heads, for rows that neither was trained on.
    labels : array-like of shape (n, C)
        1 = threat present.
    shares : sequence of float
        Candidates, in [0, 1].
    sample_weight : array-like of shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        The candidate with the highest mean average precision over the classes that have positives.

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
