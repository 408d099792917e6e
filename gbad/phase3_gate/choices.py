"""What phase 3 chooses on held-out rows: the heads' share, the gate's strength and the classes' thresholds.

All three depend on how rare threats are. A training list holds many more of them than any belt does, so the choices can
be made for another prevalence: threat-free rows then count as often as it takes, with a limit where few of them would
decide alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve

from gbad.phase3_gate.class_heads import choose_share, mixed
from gbad.phase3_gate.suppression import choose_alpha, suppress

MAX_WEIGHT = 10.0
"""Of a threat-free row in the choice of share and strength.

Where each counts a hundred times, the few that rank highest decide, and the choice is chance: on halves of six
networks' validation parts, shares chosen with at most 10 ranked the other half better at one threat in a thousand.
"""


class Choices(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    share : float
        Of the class heads, in [0, 1]; 0 without heads.
    strength : float
        ε of the hard gate, α of the soft one.
    thresholds : float64 array (C,)
        On the gated probabilities.
    """

    share: float
    strength: float
    thresholds: np.ndarray


class Evidence(NamedTuple):
    """What is known of n images before it is decided how much heads and gate count.

    Attributes
    ----------
    logits : float64 array (n, C)
        Of the classifier.
    heads : float64 array (n, C) or None
        Log-odds by the class heads, if there are any.
    gate_score : float64 array (n,)
        Of the gate, as `ThreatGate.decision_function` gives it.
    p_anomalous : float64 array (n,)
        As `ThreatGate.probability` gives it.
    """

    logits: np.ndarray
    heads: np.ndarray | None
    gate_score: np.ndarray
    p_anomalous: np.ndarray


def prevalence_weights(positive: ArrayLike, prevalence: float | None = None) -> np.ndarray:
    """How often each row counts in a list where a share `prevalence` of the images shows a threat.

    Parameters
    ----------
    positive : bool array (n,)
        Which rows show a threat.
    prevalence : float, optional
        In (0, 1); None is that of the rows.

    Returns
    -------
    float64 array (n,)
        1 for rows with a threat, one number above 0 for the others.

    Examples
    --------
    >>> prevalence_weights([True, False, False], 0.1).tolist()
    [1.0, 4.5, 4.5]
    """
    positive = np.asarray(positive, dtype=bool)
    free = int((~positive).sum())
    if prevalence is None or not free or free == len(positive):
        return np.ones(len(positive))
    return np.where(positive, 1.0, (1 / prevalence - 1) * positive.sum() / free)


def choose(
    rows: Evidence, labels: np.ndarray, suppression: str, strength: float | None = None, prevalence: float | None = None
) -> Choices:
    """Choose for a prevalence of threats, on rows that none of the phases was fitted on.

    Parameters
    ----------
    rows : Evidence
    labels : uint8 array (n, C)
        1 = threat present. Without any, there is nothing to choose by: heads have no share, and thresholds are 0.5.
    suppression : {"hard", "soft"}
    strength : float, optional
        Fixed strength of the gate; None chooses that of a soft gate: 0 where there are fewer than two rows with or
        without a threat, as nobody can say what a gate is worth there.
    prevalence : float, optional
        Share of images with a threat, in (0, 1); None is that of the rows. For share and strength a threat-free row
        counts `MAX_WEIGHT` times at most. Where threats are rarer than one in as many images as there are threat-free
        rows, thresholds lie above all of these, and say little.
    """
    positive = labels.any(axis=1)
    weights = prevalence_weights(positive, prevalence)
    capped = np.minimum(weights, MAX_WEIGHT)
    share, ranking = 0.0, rows.logits
    if rows.heads is not None and positive.any():
        share = choose_share(rows.logits, rows.heads, labels, sample_weight=capped)
        ranking = mixed(rows.logits, rows.heads, share)
    if strength is None:
        few = min(positive.sum(), (~positive).sum()) < 2
        strength = 0.0 if few else choose_alpha(ranking, labels, rows.p_anomalous, sample_weight=capped)
    _, gated = apply_choices(rows, suppression, share, strength)
    return Choices(share, strength, best_thresholds(labels, np.exp(gated), weights))


def apply_choices(rows: Evidence, suppression: str, share: float, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Rank by a share of the heads, behind a gate of some strength.

    Parameters
    ----------
    rows : Evidence
    suppression, share, strength
        See `Choices` and `choose`.

    Returns
    -------
    ranking : float64 array (n, C)
        The logits, with those of the heads mixed in.
    log_gated : float64 array (n, C)
        Logarithms of the gated probabilities.
    """
    ranking = rows.logits if rows.heads is None else mixed(rows.logits, rows.heads, share)
    return ranking, suppress(ranking, rows.gate_score, rows.p_anomalous, suppression, strength)


def best_thresholds(
    labels: np.ndarray, probabilities: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Threshold of the highest F1 for each class, float64 (C,); 0.5 for a class without positives.

    Parameters
    ----------
    labels : uint8 array (n, C)
    probabilities : float64 array (n, C)
        In [0, 1].
    sample_weight : float array (n,), optional
        How often each row counts.
    """
    thresholds = np.full(labels.shape[1], 0.5)
    for column in np.flatnonzero(labels.any(0)):
        precision, recall, values = precision_recall_curve(
            labels[:, column], probabilities[:, column], sample_weight=sample_weight
        )
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        thresholds[column] = values[int(np.argmax(f1[:-1]))]
    return thresholds
