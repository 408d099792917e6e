"""What phase 3 chooses on the validation part: the heads' share, the gate's strength and the classes' thresholds.

All three depend on how rare threats are. In a training list, threats are much more frequent than on a belt. The choices
can therefore be made for another prevalence: each threat-free row then counts several times. A limit keeps a few rows
from deciding alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gbad.phase3_gate.class_heads import choose_share, mixed
from gbad.phase3_gate.suppression import choose_alpha, suppress

MAX_WEIGHT = 10.0
"""Largest weight of a threat-free row in the choice of share and strength.

If each threat-free row counted a hundred times, the few that rank highest would decide by chance. Measured on halves of
the validation parts of six networks: shares chosen with weights of at most 10 ranked the other half better, at one
threat in a thousand.
"""


class Choices(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    share : float
        Share of the class heads in the ranking, in [0, 1]; 0 without heads.
    strength : float
        ε of the hard gate, α of the soft gate.
    thresholds : float64 array (C,)
        Thresholds on the gated probabilities.
    """

    share: float
    strength: float
    thresholds: npt.NDArray[np.float64]


class Evidence(NamedTuple):
    """Values of classifier, class heads and gate for n images, from which the gated probabilities are computed.

    Attributes
    ----------
    logits : float64 array (n, C)
        Logits of the classifier.
    heads : float64 array (n, C) or None
        Log-odds of the class heads, if there are any.
    gate_score : float64 array (n,)
        Values of `ThreatGate.decision_function`.
    p_anomalous : float64 array (n,)
        Values of `ThreatGate.probability`.
    """

    logits: npt.NDArray[np.float64]
    heads: npt.NDArray[np.float64] | None
    gate_score: npt.NDArray[np.float64]
    p_anomalous: npt.NDArray[np.float64]


def prevalence_weights(positive: npt.ArrayLike, prevalence: float | None = None) -> npt.NDArray[np.float64]:
    """How often each row counts in a list where a share `prevalence` of the images shows a threat.

    Parameters
    ----------
    positive : bool array (n,)
        Which rows show a threat.
    prevalence : float, optional
        In (0, 1). None: the share in these rows.

    Returns
    -------
    float64 array (n,)
        1 for rows with a threat, the same number above 0 for all others.

    Examples
    --------
    >>> prevalence_weights([True, False, False], 0.1).tolist()
    [1.0, 4.5, 4.5]
    """
    threat = np.asarray(positive, dtype=bool)
    free = int((~threat).sum())
    if prevalence is None or not free or free == len(threat):
        return np.ones(len(threat))
    return np.where(threat, 1.0, (1 / prevalence - 1) * threat.sum() / free)


def choose(
    rows: Evidence,
    labels: npt.NDArray[np.uint8],
    suppression: str,
    strength: float | None = None,
    prevalence: float | None = None,
) -> Choices:
    """Choose for a prevalence of threats, on rows that no phase was fitted on.

    Parameters
    ----------
    rows : Evidence
    labels : uint8 array (n, C)
        1 = threat present. If no row shows a threat, the heads' share is 0 and the thresholds are 0.5.
    suppression : {"hard", "soft"}
    strength : float, optional
        Fixed strength of the gate. None chooses the strength of a soft gate; with fewer than two rows with a threat, or
        fewer than two threat-free rows, it is 0, because there is no evidence that the gate helps.
    prevalence : float, optional
        Share of images with a threat, in (0, 1). None: the share in these rows. In the choice of share and strength, a
        threat-free row counts `MAX_WEIGHT` times at most. A prevalence far below 1 / (number of threat-free rows) gives
        thresholds above all threat-free rows: they mean little.
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


def apply_choices(
    rows: Evidence, suppression: str, share: float, strength: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mix in the class heads with a share, then apply the gate with a strength.

    Parameters
    ----------
    rows : Evidence
    suppression, share, strength
        See `Choices` and `choose`.

    Returns
    -------
    ranking : float64 array (n, C)
        The logits, with the log-odds of the heads mixed in.
    log_gated : float64 array (n, C)
        Logarithms of the gated probabilities.
    """
    ranking = rows.logits if rows.heads is None else mixed(rows.logits, rows.heads, share)
    return ranking, suppress(ranking, rows.gate_score, rows.p_anomalous, suppression, strength)


def best_thresholds(
    labels: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float64],
    sample_weight: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """Threshold with the highest F1 for each class, float64 (C,); 0.5 for a class without positives.

    Parameters
    ----------
    labels : uint8 array (n, C)
    probabilities : float64 array (n, C)
        In [0, 1].
    sample_weight : float array (n,), optional
        How often each row counts.
    """
    from sklearn.metrics import precision_recall_curve  # slow to import, and scoring does without

    thresholds = np.full(labels.shape[1], 0.5)
    for column in np.flatnonzero(labels.any(0)):
        precision, recall, values = precision_recall_curve(
            labels[:, column], probabilities[:, column], sample_weight=sample_weight
        )
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        thresholds[column] = values[int(np.argmax(f1[:-1]))]
    return thresholds
