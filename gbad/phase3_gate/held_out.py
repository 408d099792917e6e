"""P(anomalous) of rows for which the gate is fitted on the other rows."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from gbad.phase3_gate.gate import ThreatGate

FOLDS = 5


def held_out_probability(gate: ThreatGate, losses: np.ndarray, anomalous: np.ndarray) -> np.ndarray | None:
    """Cross-fitted P(anomalous): each fold's comes from a gate that was fitted on the other folds.

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
    float64 array (n,) or None
        In [0, 1]; None if one of the two kinds has a single row, which no fold can do without.
    """
    folds = min(FOLDS, *np.bincount(anomalous, minlength=2))
    if folds < 2:
        return None
    # Rows are not shuffled: near-identical neighbours of a list stay in one fold.
    split = StratifiedKFold(folds)
    return np.asarray(cross_val_predict(clone(gate), losses, anomalous, cv=split, method="predict_proba")[:, 1])
