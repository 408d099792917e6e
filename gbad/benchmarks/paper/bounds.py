"""Two bounds of a gate: a perfect one, and one that suppresses as much without looking at the images."""

from __future__ import annotations

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.data.arrays import Mask
from gbad.errors import DataError
from gbad.evaluation.bootstrap import binned_average_precision, positive_bins
from gbad.evaluation.metrics import Rule
from gbad.phase3_gate import hard_gate, log_sigmoid

_VANISHING = 1e-300
DRAWS = 200


def oracle_gated(logits: Floats, y_any: Mask) -> Floats:
    """Scores behind a gate that passes exactly the images with a threat: no class can rank worse than before.

    Every suppressed image ranks below every image that passes: the paper's rule in the limit of a vanishing
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
    y_true: Mask, logits: Floats, log_factors: Floats, weights: Floats, rule: Rule = "all_points", *,
    draws: int = DRAWS, seed: int = 0,
) -> Floats:  # fmt: skip
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
    rule : {"all_points", "voc07", "voc10"}
        See `gbad.evaluation.metrics.average_precision`.
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
    members = [np.flatnonzero(column) for column in y_true.T]
    total = np.array([0.0 if len(rows) else np.nan for rows in members])
    for _ in range(draws):
        dealt = log_factors[generator.choice(len(log_factors), len(log_factors), p=shares)]
        for c, rows in enumerate(members):
            if len(rows):
                total[c] += binned_average_precision(positive_bins(before[:, c] + dealt, rows), rows, weights, rule)
    return total / draws
