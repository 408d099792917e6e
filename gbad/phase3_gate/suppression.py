"""Suppress the class scores of images that the gate calls normal: pure functions that treat each row by itself.

Average precision depends on ranks only. All scores are therefore natural logarithms of probabilities in float64: GBAD
(Dumagpi et al. 2020) prints confidences down to 1e-22 (Table 5), and neither float32 nor rounding may turn them into
ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.evaluation.bootstrap import bootstrap_average_precision
from gbad.phase3_gate.ranking import classes_shown, mean_ap

DEFAULT_ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_RESAMPLES = 200


def log_sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logarithm of the sigmoid, exact for large logits of both signs.

    Parameters
    ----------
    logits : array-like of any shape
        Real numbers.

    Returns
    -------
    float64 array of the same shape
        In (-inf, 0].

    Examples
    --------
    >>> log_sigmoid([-1000.0, 0.0, 30.0])
    array([-1.00000000e+03, -6.93147181e-01, -9.35762297e-14])
    """
    return np.asarray(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))


def log_odds(log_probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logits from the logarithms of probabilities: the inverse of `log_sigmoid`.

    Parameters
    ----------
    log_probabilities : array-like of any shape
        In (-inf, 0].

    Returns
    -------
    float64 array of the same shape
        Finite, also where a probability rounds to 1.

    Examples
    --------
    >>> log_odds(np.log([0.5, 0.1])).round(4)
    array([ 0.    , -2.1972])
    """
    log_p = np.asarray(log_probabilities, dtype=np.float64)
    return np.asarray(log_p - np.log(np.maximum(-np.expm1(log_p), np.finfo(float).tiny)))


def hard_gate(logits: npt.ArrayLike, anomalous: npt.ArrayLike, epsilon: float = 1e-3) -> npt.NDArray[np.float64]:
    """Multiply the probabilities of normal images by a small number; keep those of anomalous images.

    The rule of GBAD (Dumagpi et al. 2020, section 2). If `epsilon` is smaller than the ratio of any two probabilities,
    the rule sorts by (gate, score). The exact value of `epsilon` then no longer matters.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier.
    anomalous : array-like of shape (n,), bool
        The gate's decision.
    epsilon : float
        The small number, in (0, 1]; with 1, the gate has no effect.

    Returns
    -------
    float64 array (n, C)
        Logarithms of the gated probabilities, in (-inf, 0]. Suppressed scores keep their order for logits up to about
        30 (p = 1 - 1e-13).

    Raises
    ------
    ValueError
        If the shapes do not fit, the logits hold NaN or infinity, or `epsilon` is out of range.

    Examples
    --------
    >>> np.exp(hard_gate([[0.0], [0.0]], [True, False], epsilon=0.01)).ravel()
    array([0.5  , 0.005])
    """
    checked, of_rows = _checked(logits, anomalous)
    if not 0.0 < epsilon <= 1.0:
        raise ValueError(f"epsilon must be in (0, 1], got {epsilon!r}.")
    suppression = np.where(of_rows.astype(bool), 0.0, math.log(epsilon))
    return log_sigmoid(checked) + suppression[:, None]


def soft_gate(logits: npt.ArrayLike, p_anomalous: npt.ArrayLike, alpha: float) -> npt.NDArray[np.float64]:
    """Multiply the probabilities of each image by P(anomalous) to the power `alpha`.

    A threat that the gate misses can still rank above a threat-free image that the gate calls anomalous, unlike with
    :func:`hard_gate`.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier.
    p_anomalous : array-like of shape (n,)
        Probability by the gate, in [0, 1].
    alpha : float
        Strength of the gate, 0 or larger; with 0, the gate has no effect.

    Returns
    -------
    float64 array (n, C)
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
    checked, p = _checked(logits, p_anomalous)
    if not alpha >= 0.0:
        raise ValueError(f"alpha must be 0 or larger, got {alpha!r}.")
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError("p_anomalous must be in [0, 1].")
    floor = np.finfo(np.float64).tiny
    return np.asarray(log_sigmoid(checked) + alpha * np.log(np.maximum(p, floor))[:, None])


def suppress(
    logits: npt.ArrayLike, score: npt.ArrayLike, p_anomalous: npt.ArrayLike, suppression: str, strength: float
) -> npt.NDArray[np.float64]:
    """Apply the gate by the paper's rule or by the soft rule.

    Parameters
    ----------
    logits : array-like of shape (n, C)
    score : array-like of shape (n,)
        Score by the gate: above 0 = anomalous.
    p_anomalous : array-like of shape (n,)
        Probability by the gate, in [0, 1].
    suppression : {"hard", "soft"}
        :func:`hard_gate`, which uses `score`, or :func:`soft_gate`, which uses `p_anomalous`.
    strength : float
        ε of the hard rule, α of the soft rule.

    Returns
    -------
    float64 array (n, C)
        Logarithms of the gated probabilities.
    """
    if suppression == "hard":
        return hard_gate(logits, np.asarray(score) > 0, strength)
    return soft_gate(logits, p_anomalous, strength)


def choose_alpha(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    p_anomalous: npt.ArrayLike,
    alphas: Sequence[float] = DEFAULT_ALPHAS,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Find the strength of the soft gate: the smallest that ranks about as well as the best one.

    "About as well" means: its mean average precision is lower by at most one standard error of the difference (paired
    bootstrap over the images). With 0 among the candidates, the gate is only used if its gain is larger than chance.

    Parameters
    ----------
    logits : array-like of shape (n, C)
        Logits of the classifier, for rows that neither classifier nor gate was trained on.
    labels : array-like of shape (n, C)
        1 = threat present, 0 = absent.
    p_anomalous : array-like of shape (n,)
        Probability by the gate for these rows, in [0, 1]; see `gbad.phase3_gate.cross_fitted_gate`.
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
    threats = np.asarray(labels)
    shown = classes_shown(threats, "the gate's strength")
    alphas, threats = sorted(alphas), threats[:, shown]
    scores = [soft_gate(logits, p_anomalous, alpha)[:, shown] for alpha in alphas]
    return alphas[least_as_good(threats, scores, sample_weight)]


def least_as_good(
    labels: npt.NDArray[Any], scores: Sequence[npt.NDArray[np.float64]], sample_weight: npt.ArrayLike | None = None
) -> int:
    """Number of the first candidate that ranks about as well as the best one.

    "About as well" means: its mean average precision is lower by at most one standard error of the difference (paired
    bootstrap over the images).

    Parameters
    ----------
    labels : array (n, k)
        1 = threat present; each class has positives.
    scores : sequence of float64 arrays (n, k)
        By each candidate, the simplest first.
    sample_weight : array-like of shape (n,), optional
        How often each row counts.
    """
    quality = [mean_ap(labels, of_one, sample_weight) for of_one in scores]
    drawn = bootstrap_average_precision(labels, scores, resamples=_RESAMPLES, sample_weight=sample_weight)
    draws = np.nanmean(drawn, axis=2)
    best = int(np.argmax(quality))
    errors = (draws[:, [best]] - draws).std(axis=0)
    return next(
        k for k, (value, error) in enumerate(zip(quality, errors, strict=True)) if quality[best] - value <= error
    )


def _checked(logits: npt.ArrayLike, of_rows: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    checked, values = np.asarray(logits, dtype=np.float64), np.asarray(of_rows)
    if checked.ndim != 2 or values.shape != checked.shape[:1]:
        raise ValueError(
            f"expected logits (n, C) and one gate value a row (n,), got {checked.shape} and {values.shape}."
        )
    if not np.isfinite(checked).all():
        raise ValueError("logits hold NaN or infinity.")
    return checked, values
