"""What a gate can do at best, and what one does that lets as many images through without looking at them.

Both put every suppressed image behind every image that is let through, whatever its score: the letter's rule in the
limit of a vanishing factor.
"""

from __future__ import annotations

import numpy as np

from gbad.errors import DataError
from gbad.phase3_gate import hard_gate

_VANISHING = 1e-300
DRAWS = 200


def oracle_gated(logits: np.ndarray, y_any: np.ndarray) -> np.ndarray:
    """Scores behind a gate that lets exactly the images with a threat through: no class can rank worse than before.

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
    y_true: np.ndarray, logits: np.ndarray, rate: float, weights: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """Expected average precision behind a gate that lets a share of all images through, drawn blindly.

    Parameters
    ----------
    y_true : array (n, C)
        1 = present.
    logits : float64 array (n, C)
    rate : float
        Share that is let through, in [0, 1].
    weights : float array (n,)
        How often each image counts.
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
        If the rate is no share.
    """
    if not 0.0 <= rate <= 1.0:
        raise DataError(f"the rate of a gate is {rate}; it must be in [0, 1].")
    generator = np.random.default_rng(seed)
    orders = [np.argsort(-column, kind="stable") for column in logits.T]
    total = np.zeros(logits.shape[1])
    for _ in range(draws):
        passed = generator.random(len(logits)) < rate
        for c, order in enumerate(orders):
            through = passed[order]
            order = np.concatenate([order[through], order[~through]])
            total[c] += _ranked(y_true[order, c], logits[order, c], weights[order], int(through.sum()))
    return total / draws


def _ranked(positive: np.ndarray, score: np.ndarray, weight: np.ndarray, passed: int) -> float:
    """AP of images in the order of their ranks; equal scores on the same side of the gate are one threshold."""
    border = np.diff(score) != 0
    if 0 < passed < len(score):
        border[passed - 1] = True
    ends = np.append(np.flatnonzero(border), len(score) - 1)
    found = np.cumsum(weight * positive)[ends]
    if not found[-1]:
        return float("nan")
    return float((np.diff(found, prepend=0.0) * found / np.cumsum(weight)[ends]).sum() / found[-1])
