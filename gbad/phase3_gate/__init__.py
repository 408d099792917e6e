"""Phase 3: the gate that decides whether an image is anomalous, and what it does to the class scores."""

from gbad.phase3_gate.any_threat import AnyThreat, can_calibrate, fit_any_threat
from gbad.phase3_gate.choices import Evidence, apply_choices, best_thresholds, choose, prevalence_weights
from gbad.phase3_gate.class_heads import ClassHeads, choose_share, fit_class_heads, mixed
from gbad.phase3_gate.cross_fitting import cross_fitted_gate
from gbad.phase3_gate.decision import Decided, Decision, default_gate, fit_decision, judge_gate
from gbad.phase3_gate.gate import ThreatGate
from gbad.phase3_gate.operating_points import (
    HeldOut,
    OperatingPoint,
    at_false_alarm_rate,
    at_prevalence,
    at_recall,
    at_threshold,
    column_of,
    p_values,
)
from gbad.phase3_gate.second_look import (
    Regions,
    SecondDecision,
    best_of,
    both_looks,
    choose_second_share,
    fit_second_decision,
)
from gbad.phase3_gate.suppression import choose_alpha, hard_gate, log_odds, log_sigmoid, soft_gate, suppress

__all__ = [
    "AnyThreat",
    "ClassHeads",
    "Decided",
    "Decision",
    "Evidence",
    "HeldOut",
    "OperatingPoint",
    "Regions",
    "SecondDecision",
    "ThreatGate",
    "apply_choices",
    "at_false_alarm_rate",
    "at_prevalence",
    "at_recall",
    "at_threshold",
    "best_of",
    "best_thresholds",
    "both_looks",
    "can_calibrate",
    "choose",
    "choose_alpha",
    "choose_second_share",
    "choose_share",
    "column_of",
    "cross_fitted_gate",
    "fit_any_threat",
    "default_gate",
    "fit_class_heads",
    "fit_decision",
    "fit_second_decision",
    "judge_gate",
    "hard_gate",
    "log_odds",
    "log_sigmoid",
    "mixed",
    "p_values",
    "prevalence_weights",
    "soft_gate",
    "suppress",
]
