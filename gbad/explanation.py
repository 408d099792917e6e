"""What a pipeline says about images, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Explanation:
    """All intermediate values for n images and C classes.

    Attributes
    ----------
    logits : float64 array (n, C)
        Phase 1.
    ungated : float64 array (n, C)
        Probabilities of phase 1, in [0, 1].
    losses : float64 array (n, 2)
        Phase 2: reconstruction loss (Equation 3) and feature-matching loss (Equation 4), 0 or larger.
    gate_score : float64 array (n,)
        Phase 3: decision value of the support vector machine, above 0 for anomalous images.
    anomalous : bool array (n,)
        Phase 3: the decision.
    log_gated : float64 array (n, C)
        Logarithm of the gated probabilities: the ranking that average precision is computed from, without ties at zero.
    gated : float64 array (n, C)
        Gated probabilities, in [0, 1].
    """

    logits: np.ndarray
    ungated: np.ndarray
    losses: np.ndarray
    gate_score: np.ndarray
    anomalous: np.ndarray
    log_gated: np.ndarray
    gated: np.ndarray
