"""Scores by the gate for the very rows that it is fitted on, as for rows that it has not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from gbad.phase3_gate.gate import ThreatGate

FOLDS = 5


def cross_fitted_gate(
    gate: ThreatGate, losses: npt.NDArray[np.float64], anomalous: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Score each fold by a gate that is fitted on the other folds.

    A gate scores its own rows better than new rows. A choice made with such scores, for example of the gate's
    strength, would trust the gate too much.

    Parameters
    ----------
    gate : ThreatGate
        Its settings; it need not be fitted and is left as it is.
    losses : float64 array (n, k)
    anomalous : int array (n,)
        1 = the image shows a threat, 0 = it does not.

    Returns
    -------
    gate_score, p_anomalous : float64 arrays (n,)
        Values of `ThreatGate.decision_function` and `ThreatGate.probability`. None instead of both if there are fewer
        than two rows with a threat or fewer than two without.
    """
    from sklearn.model_selection import StratifiedKFold  # slow to import, and scoring does without

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
