"""What a gate can do at best, and what one does that suppresses as much without looking at the images."""

from __future__ import annotations

import numpy as np

from gbad.errors import DataError
from gbad.phase3_gate import hard_gate, log_sigmoid

_VANISHING = 1e-300
DRAWS = 200


def oracle_gated(logits: np.ndarray, y_any: np.ndarray) -> np.ndarray:
    """Scores behind a gate that lets exactly the images with a threat through: no class can rank worse than before.

    Every suppressed image comes behind every image that is let through: the letter's rule in the limit of a vanishing
    factor.

    Parameters
    ----------
    logits : float64 array (n, C)
    y_any : bool array (n,)
        Whether an image shows any threat.

    Returns
    -------
    float64 array (n, C)
        Logarithms of the gated probabilities.
    """
    return hard_gate(logits, y_any, _VANISHING)


def random_gate_average_precision(
    y_true: np.ndarray, logits: np.ndarray, log_factors: np.ndarray, weights: np.ndarray, *, draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Expected average precision behind a gate whose factors are dealt to the images blindly.

    Hard gates and soft ones, strong ones and faint ones thus keep their own strength; what they lose is what they know.

    Parameters
    ----------
    y_true : array (n, C)
        1 = present.
    logits : float64 array (n, C)
    log_factors : float64 array (n,)
        Logarithms of the factors by which the gate multiplies the images' probabilities.
    weights : float array (n,)
        How often each image counts, and how often its factor is dealt.
    draws : int
        Gates drawn; the mean over them is given.
    seed : int
        Of the draws.

    Returns
    -------
    float64 array (C,)
        NaN for a class without positives.

    Raises
    ------
    DataError
        If a factor is not in (0, 1].
    """
    if not (np.isfinite(log_factors) & (log_factors <= 0)).all():
        worst = float(np.exp(np.max(log_factors)))
        raise DataError(f"a gate multiplies a probability by {worst:g}; its factors must be in (0, 1].")
    generator = np.random.default_rng(seed)
    before, shares = log_sigmoid(logits), weights / weights.sum()
    total = np.zeros(logits.shape[1])
    for _ in range(draws):
        dealt = log_factors[generator.choice(len(log_factors), len(log_factors), p=shares)]
        for c in range(logits.shape[1]):
            total[c] += _ranked_precision(y_true[:, c], before[:, c] + dealt, weights)
    return total / draws


def _ranked_precision(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Average precision with equal scores as one threshold: as scikit-learn has it, in a fraction of its time."""
    order = np.argsort(-score)
    positive, score, weight = positive[order], score[order], weight[order]
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    found = np.cumsum(weight * positive)[ends]
    if not found[-1]:
        return float("nan")
    return float((np.diff(found, prepend=0.0) * found / np.cumsum(weight)[ends]).sum() / found[-1])
