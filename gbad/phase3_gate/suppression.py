"""Suppress the class scores of images that the gate calls normal: pure functions, one row at a time.

Average precision sees ranks only, so all scores are natural logarithms of probabilities in float64: GBAD's letter
prints confidences down to 1e-22 (Table 5), and float32 or rounding must not merge them into ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gbad.evaluation.bootstrap import bootstrap_average_precision
from gbad.phase3_gate.ranking import classes_shown, mean_ap

DEFAULT_ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_RESAMPLES = 200


def log_sigmoid(logits: ArrayLike) -> np.ndarray:
    """Logarithm of the sigmoid, exact for large logits of both signs.

    Parameters
    ----------
    logits : array-like of any shape
        Real numbers.

    Returns
    -------
    ndarray of the same shape, float64
        In (-inf, 0].

    Examples
    --------
    >>> log_sigmoid([-1000.0, 0.0, 30.0])
    array([-1.00000000e+03, -6.93147181e-01, -9.35762297e-14])
    """
    return -np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64))


def log_odds(log_probabilities: ArrayLike) -> np.ndarray:
    """Logits of probabilities that are given by their logarithms: the inverse of `log_sigmoid`.

    Parameters
    ----------
    log_probabilities : array-like of any shape
        In (-inf, 0].

    Returns
    -------
    ndarray of the same shape, float64
        Finite, also where a probability is rounded to 1.

    Examples
    --------
    >>> log_odds(np.log([0.5, 0.1])).round(4)
    array([ 0.    , -2.1972])
    """
    log_p = np.asarray(log_probabilities, dtype=np.float64)
    return log_p - np.log(np.maximum(-np.expm1(log_p), np.finfo(float).tiny))


def hard_gate(logits: ArrayLike, anomalous: ArrayLike, epsilon: float = 1e-3) -> np.ndarray:
    """Multiply the probabilities of normal images by a small number, and those of anomalous ones by 1.

    The rule of GBAD's letter (section 2). Once `epsilon` is smaller than the ratio of any two probabilities, it sorts
    by (gate, score): its size no longer matters, only what the gate misses.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier, one column per class.
    anomalous : array-like of shape (n,), bool
        The gate's decision.
    epsilon : float
        The small positive number, in (0, 1]; 1 is no gate.

    Returns
    -------
    ndarray of shape (n, C), float64
        Logarithms of the gated probabilities, in (-inf, 0]. The order of suppressed scores survives for logits up to
        about 30 (p = 1 - 1e-13).

    Raises
    ------
    ValueError
        If the shapes do not fit, the logits hold NaN or infinity, or `epsilon` is out of range.

    Examples
    --------
    >>> np.exp(hard_gate([[0.0], [0.0]], [True, False], epsilon=0.01)).ravel()
    array([0.5  , 0.005])
    """
    logits, anomalous = _checked(logits, anomalous)
    if not 0.0 < epsilon <= 1.0:
        raise ValueError(f"epsilon must be in (0, 1], got {epsilon!r}.")
    suppression = np.where(anomalous.astype(bool), 0.0, math.log(epsilon))
    return log_sigmoid(logits) + suppression[:, None]


def soft_gate(logits: ArrayLike, p_anomalous: ArrayLike, alpha: float = 1.0) -> np.ndarray:
    """Multiply the probabilities of each image by P(anomalous) to the power `alpha`.

    Unlike :func:`hard_gate` it does not put every threat that the gate misses behind every image that it passes.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier, one column per class.
    p_anomalous : array-like of shape (n,)
        The gate's probability, in [0, 1].
    alpha : float
        Strength of the gate, 0 or larger; 0 is no gate.

    Returns
    -------
    ndarray of shape (n, C), float64
        Logarithms of the gated probabilities, in (-inf, 0]; finite even where `p_anomalous` is 0.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is out of its range, or the logits hold NaN or infinity.

    Examples
    --------
    >>> np.exp(soft_gate([[0.0], [0.0]], [1.0, 0.25], alpha=0.5)).ravel()
    array([0.5 , 0.25])
    """
    logits, p_anomalous = _checked(logits, p_anomalous)
    if not alpha >= 0.0:
        raise ValueError(f"alpha must be 0 or larger, got {alpha!r}.")
    if not ((p_anomalous >= 0.0) & (p_anomalous <= 1.0)).all():
        raise ValueError("p_anomalous must be in [0, 1].")
    floor = np.finfo(np.float64).tiny
    return log_sigmoid(logits) + alpha * np.log(np.maximum(p_anomalous, floor))[:, None]


def suppress(
    logits: ArrayLike, score: ArrayLike, p_anomalous: ArrayLike, suppression: str, strength: float
) -> np.ndarray:
    """Apply a gate by the letter's rule or by the soft one.

    Parameters
    ----------
    logits : array-like of shape (n, C)
    score, p_anomalous : array-like of shape (n,)
        Of the gate: above 0 = anomalous; in [0, 1].
    suppression : {"hard", "soft"}
        :func:`hard_gate`, which looks at `score`, or :func:`soft_gate`, which looks at `p_anomalous`.
    strength : float
        ε of the hard rule, α of the soft one.

    Returns
    -------
    ndarray of shape (n, C), float64
        Logarithms of the gated probabilities.
    """
    if suppression == "hard":
        return hard_gate(logits, np.asarray(score) > 0, strength)
    return soft_gate(logits, p_anomalous, strength)


def choose_alpha(
    logits: ArrayLike, labels: ArrayLike, p_anomalous: ArrayLike, alphas: Sequence[float] = DEFAULT_ALPHAS,
    sample_weight: ArrayLike | None = None,
) -> float:  # fmt: skip
    """Find the strength of the soft gate on held-out rows: the smallest that ranks as well as the best does.

    As well means that its mean average precision is lower by no more than one standard error of the difference (paired
    bootstrap over the images). With 0 among the candidates, a gate whose gain may be chance is left out.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier, for rows that neither it nor the gate was trained on.
    labels : array-like of shape (n, C)
        1 = threat present, 0 = absent.
    p_anomalous : array-like of shape (n,)
        The gate's probability for these rows, in [0, 1]; see `gbad.phase3_gate.held_out_gate`.
    alphas : sequence of float
        Candidates, 0 or larger.
    sample_weight : array-like of shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        One of the candidates.

    Raises
    ------
    DataError
        If no class has a positive row.
    ValueError
        As in :func:`soft_gate`.
    """
    labels = np.asarray(labels)
    shown = classes_shown(labels, "the gate's strength")
    alphas, labels = sorted(alphas), labels[:, shown]
    scores = [soft_gate(logits, p_anomalous, alpha)[:, shown] for alpha in alphas]
    quality = [mean_ap(labels, of_one, sample_weight) for of_one in scores]
    drawn = bootstrap_average_precision(labels, scores, resamples=_RESAMPLES, sample_weight=sample_weight)
    draws = np.nanmean(drawn, axis=2)
    best = int(np.argmax(quality))
    errors = (draws[:, [best]] - draws).std(axis=0)
    return next(a for a, value, error in zip(alphas, quality, errors, strict=True) if quality[best] - value <= error)


def _checked(logits: ArrayLike, of_rows: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    logits, of_rows = np.asarray(logits, dtype=np.float64), np.asarray(of_rows)
    if logits.ndim != 2 or of_rows.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (n, C) and one gate value a row (n,), got {logits.shape} and {of_rows.shape}."
        )
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity.")
    return logits, of_rows
