"""Turn decision values into probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def platt_sigmoid(
    scores: npt.NDArray[np.float64],
    anomalous: npt.NDArray[np.int64],
    sample_weight: npt.NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Fit ``P(anomalous) = sigmoid(slope * score + bias)`` (Platt, 1999).

    Parameters
    ----------
    scores : float64 array (n,)
        Decision values of rows that the machine was not fitted on.
    anomalous : int array (n,)
        1 = anomalous, 0 = not anomalous; both occur.
    sample_weight : float64 array (n,), optional
        How often each row counts. None gives the anomalous rows the same total weight as the others.

    Returns
    -------
    slope : float
        0 or larger. If the scores rank no better than chance: 0, with the logarithm of the prior odds as bias.
    bias : float
        In logits.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import, and scoring does without

    # A row of weight w is like w rows: the targets are as soft as that number of rows allows.
    counts = np.bincount(anomalous, sample_weight)
    target = np.where(anomalous == 1, (counts[1] + 1.0) / (counts[1] + 2.0), 1.0 / (counts[0] + 2.0))
    # A soft target t is like the row twice: once anomalous with weight t, once not anomalous with weight 1 - t.
    own = len(scores) / (2.0 * counts[anomalous]) if sample_weight is None else sample_weight
    weights = np.concatenate([target, 1.0 - target]) * np.tile(own, 2)
    scale = float(scores.std()) or 1.0
    doubled = np.tile(scores / scale, 2)[:, None]
    labels = np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(doubled, labels, sample_weight=weights)
    slope, bias = float(model.coef_[0, 0]) / scale, float(model.intercept_[0])
    prior = float(np.log(own[anomalous == 1].sum() / own[anomalous == 0].sum()))
    return (slope, bias) if slope > 0 else (0.0, prior)
