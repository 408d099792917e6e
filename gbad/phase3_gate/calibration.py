"""Turn decision values into probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression


def platt_sigmoid(
    scores: np.ndarray, anomalous: np.ndarray, sample_weight: np.ndarray | None = None
) -> tuple[float, float]:
    """Fit ``P(anomalous) = sigmoid(slope * score + bias)`` (Platt, 1999).

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Decision values of rows that the machine was not fitted on.
    anomalous : ndarray of shape (n,), int
        1 = anomalous, 0 = not; both occur.
    sample_weight : ndarray of shape (n,), optional
        How often each row counts; None gives both kinds equal weight.

    Returns
    -------
    slope : float
        0 or larger; 0, with the prior odds as bias, if the scores rank the kinds no better than chance.
    bias : float
        In logits.
    """
    # Rows that count for many are as many rows: the targets are as soft as their number allows.
    counts = np.bincount(anomalous, sample_weight)
    target = np.where(anomalous == 1, (counts[1] + 1.0) / (counts[1] + 2.0), 1.0 / (counts[0] + 2.0))
    # A soft target t is the same as the row twice: as anomalous with weight t, and as normal with weight 1 - t.
    own = len(scores) / (2.0 * counts[anomalous]) if sample_weight is None else sample_weight
    weights = np.concatenate([target, 1.0 - target]) * np.tile(own, 2)
    scale = float(scores.std()) or 1.0
    doubled = np.tile(scores / scale, 2)[:, None]
    labels = np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(doubled, labels, sample_weight=weights)
    slope, bias = float(model.coef_[0, 0]) / scale, float(model.intercept_[0])
    prior = float(np.log(own[anomalous == 1].sum() / own[anomalous == 0].sum()))
    return (slope, bias) if slope > 0 else (0.0, prior)
