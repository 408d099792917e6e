"""What the gate says of rows when it is fitted on the other rows."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from gbad.phase3_gate.gate import ThreatGate

FOLDS = 5


def held_out_gate(gate: ThreatGate, losses: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Cross-fitted gate: what each fold is told comes from a gate that was fitted on the other folds.

    What is chosen on a gate's own rows, such as the strength of its suppression, takes the gate for better than it is.

    Parameters
    ----------
    gate : ThreatGate
        Its settings; it need not be fitted and is left as it is.
    losses : float64 array (n, k)
    anomalous : int array (n,)
        1 = the image shows a threat, 0 = it does not.

    Returns
    -------
    score, p_anomalous : float64 arrays (n,)
        As `ThreatGate.decision_function` and `ThreatGate.predict_proba` give them. None, instead of both, if one of the
        two kinds has a single row, which no fold can do without.
    """
    folds = min(FOLDS, *np.bincount(anomalous, minlength=2))
    if folds < 2:
        return None
    score, p_anomalous = np.empty(len(losses)), np.empty(len(losses))
    # Rows are not shuffled: near-identical neighbours of a list stay in one fold.
    for fitted, others in StratifiedKFold(folds).split(losses, anomalous):
        own = clone(gate).fit(losses[fitted], anomalous[fitted])
        score[others] = own.decision_function(losses[others])
        p_anomalous[others] = own.probability(score[others])
    return score, p_anomalous
