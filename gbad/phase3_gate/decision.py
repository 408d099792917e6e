"""What phase 3 has learnt, as one object: class heads, gate, how much both count, thresholds, and any threat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from gbad.phase3_gate.any_threat import AnyThreat, can_calibrate, fit_any_threat
from gbad.phase3_gate.choices import Evidence, apply_choices, choose
from gbad.phase3_gate.class_heads import ClassHeads, fit_class_heads
from gbad.phase3_gate.cross_fitting import cross_fitted_gate
from gbad.phase3_gate.gate import ThreatGate
from gbad.phase3_gate.suppression import log_odds

Float = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


class Decided(NamedTuple):
    """What phase 3 says of n images and C classes.

    Attributes
    ----------
    heads : float64 array (n, C)
        Log-odds by the class heads; the logits where there are none.
    ranking : float64 array (n, C)
        The logits, with the log-odds of the class heads mixed in; what the gate suppresses.
    log_gated : float64 array (n, C)
        Logarithms of the gated probabilities.
    gate_score : float64 array (n,)
        Decision value of the gate, above 0 for anomalous images.
    anomalous : bool array (n,)
    any_threat : float64 array (n,)
        Logarithm of the odds that the image shows any threat.
    """

    heads: npt.NDArray[np.float64]
    ranking: npt.NDArray[np.float64]
    log_gated: npt.NDArray[np.float64]
    gate_score: npt.NDArray[np.float64]
    anomalous: npt.NDArray[np.bool_]
    any_threat: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Decision:
    """The fitted phase 3.

    Attributes
    ----------
    gate : ThreatGate
        Support vector machine on the losses of phase 2.
    suppression : {"hard", "soft"}
        The paper's rule, or multiplication by a power of P(anomalous).
    strength : float
        ε of the hard rule, α of the soft rule.
    heads : ClassHeads or None
    heads_share : float
        How much the class heads count in the ranking, in [0, 1]; 0 without heads.
    any_threat : AnyThreat
        Calibration of the classes for the score of any threat.
    thresholds : float64 array (C,)
        On the gated probabilities: at or above, a class counts as present.
    """

    gate: ThreatGate
    suppression: str
    strength: float
    heads: ClassHeads | None
    heads_share: float
    any_threat: AnyThreat
    thresholds: npt.NDArray[np.float64]

    def decide(self, logits: Float, features: Features, losses: Float) -> Decided:
        """Decide on images.

        Parameters
        ----------
        logits : float64 array (n, C)
            Of phase 1.
        features : float32 array (n, D)
            Of phase 1.
        losses : float64 array (n, k)
            Of phase 2.
        """
        score = self.gate.decision_function(losses)
        heads = None if self.heads is None else self.heads.log_odds(features)
        evidence = Evidence(logits, heads, score, self.gate.probability(score))
        ranking, log_gated = apply_choices(evidence, self.suppression, self.heads_share, self.strength)
        any_threat = self.any_threat.score(log_odds(log_gated))
        return Decided(logits if heads is None else heads, ranking, log_gated, score, score > 0, any_threat)

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        return {
            "gate": {"params": self.gate.get_params(), "arrays": self.gate.get_arrays()},
            "suppression": self.suppression,
            "strength": self.strength,
            "heads": None if self.heads is None else self.heads.get_arrays(),
            "heads_share": self.heads_share,
            "any_threat": self.any_threat.get_arrays(),
            "thresholds": self.thresholds,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild a decision; the inverse of `to_plain`."""
        heads = plain["heads"]
        return cls(
            gate=ThreatGate.from_arrays(plain["gate"]["params"], plain["gate"]["arrays"]),
            suppression=plain["suppression"],
            strength=plain["strength"],
            heads=None if heads is None else ClassHeads.from_arrays(heads),
            heads_share=plain["heads_share"],
            any_threat=AnyThreat.from_arrays(plain["any_threat"]),
            thresholds=plain["thresholds"],
        )


def default_gate(gate_fit: str) -> ThreatGate:
    """Unfitted gate that suits a way of fitting: the plain machine for ``"paper"``, else a monotone one."""
    if gate_fit == "paper":
        return ThreatGate(monotone=False, clip=False, max_rows=6_000, reduction="merge")
    return ThreatGate()


def fit_decision(
    logits: Float,
    features: Features | None,
    losses: Float,
    labels: npt.NDArray[np.uint8],
    validation: npt.NDArray[np.bool_],
    *,
    gate: ThreatGate | None,
    gate_fit: str,
    suppression: str,
    strength: float | None,
    prevalence: float | None,
) -> tuple[Decision, Decided]:
    """Fit phase 3 on rows of the training list.

    Class heads learn from the training part. The gate learns from the training part, as in the paper, or from the
    validation part, whose losses training has not made smaller. The validation part decides how much heads and gate
    count, and sets the thresholds. A gate that was fitted there is judged by gates fitted on other folds. Without a
    validation part, thresholds are 0.5 and no class is calibrated.

    Parameters
    ----------
    logits : float64 array (n, C)
        Of phase 1.
    features : float32 array (n, D) or None
        Of phase 1; None leaves the class heads out.
    losses : float64 array (n, k)
        Of phase 2.
    labels : uint8 array (n, C)
        1 = threat present.
    validation : bool array (n,)
        Rows of the validation part.
    gate : ThreatGate or None
        Settings of the gate; it is left as it is. None takes `default_gate`.
    gate_fit : {"held-out", "paper"}
        Fit the gate on the validation part, or on the training part.
    suppression : {"hard", "soft"}
    strength : float or None
        ε or α; None chooses α on the validation part.
    prevalence : float or None
        Share of images with a threat in use, see `gbad.phase3_gate.choices.choose`.

    Returns
    -------
    decision : Decision
    decided : Decided
        What it says of the validation part, in the order of its rows, but with the gates that judge it (`judge_gate`).
    """
    threat: npt.NDArray[np.bool_] = np.asarray(labels.any(axis=1))
    used = ~validation if gate_fit == "paper" else validation
    heads = of_heads = None
    if features is not None:
        heads = fit_class_heads(features[~validation], logits[~validation], labels[~validation])
        of_heads = heads.log_odds(features[validation])
    fitted = clone(gate) if gate is not None else default_gate(gate_fit)
    fitted.fit(losses[used], threat[used].astype(int))
    judged = Evidence(
        logits[validation], of_heads, *judge_gate(fitted, gate_fit, losses[validation], threat[validation])
    )
    share, strength, thresholds = choose(judged, labels[validation], suppression, strength, prevalence)
    ranking, log_gated = apply_choices(judged, suppression, share, strength)
    any_threat = AnyThreat.identity(labels.shape[1])
    if can_calibrate(threat[validation]):
        any_threat = fit_any_threat(log_odds(log_gated), labels[validation], prevalence)
    decided = Decided(
        judged.logits if of_heads is None else of_heads, ranking, log_gated, judged.gate_score, judged.gate_score > 0,
        any_threat.score(log_odds(log_gated)),
    )  # fmt: skip
    return Decision(fitted, suppression, strength, heads, share, any_threat, thresholds), decided


def judge_gate(
    gate: ThreatGate, gate_fit: str, losses: Float, threat: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scores by a fitted gate on the validation part, as if it had not been fitted there.

    The paper's gate has not seen the validation part. A gate that was fitted there is replaced by gates fitted on other
    folds, unless there are too few rows for folds.

    Parameters
    ----------
    gate : ThreatGate
        Fitted.
    gate_fit : {"held-out", "paper"}
        How.
    losses : float64 array (n, k)
        Of the validation part; it may be empty.
    threat : bool array (n,)
        Which images show a threat.

    Returns
    -------
    gate_score, p_anomalous : float64 arrays (n,)
    """
    if not len(losses):
        return np.empty(0), np.empty(0)
    by_folds = None if gate_fit == "paper" else cross_fitted_gate(gate, losses, threat.astype(int))
    if by_folds is not None:
        return by_folds
    score = gate.decision_function(losses)
    return score, gate.probability(score)
