"""Phase 3 on a run folder: fit class heads and the gate, choose how strongly they act, and the decision thresholds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from gbad.errors import RunError
from gbad.phase1_classifier import FeatureFile
from gbad.phase3_gate import (
    AnyThreat,
    ClassHeads,
    Evidence,
    ThreatGate,
    apply_choices,
    choose,
    cross_fitted_gate,
    fit_any_threat,
    fit_class_heads,
    log_odds,
    suppress,
)
from gbad.storage.files import write_json
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.phase2 import read_losses
from gbad.training.settings import check_kinds
from gbad.training.training_set import TrainingSet


def gate_predictions(
    logits: np.ndarray, losses: np.ndarray, gate: ThreatGate, suppression: str, strength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply phase 3.

    Parameters
    ----------
    logits : float64 array (n, C)
        Of phase 1.
    losses : float64 array (n, k)
        Of phase 2.
    gate : ThreatGate
        Fitted.
    suppression : {"hard", "soft"}
        The letter's rule, or multiplication by a power of P(anomalous).
    strength : float
        ε of the hard rule, α of the soft one.

    Returns
    -------
    log_gated : float64 array (n, C)
        Logarithms of the gated probabilities.
    gate_score : float64 array (n,)
    anomalous : bool array (n,)
    """
    score = gate.decision_function(losses)
    gated = suppress(logits, score, gate.probability(score), suppression, strength)
    return gated, score, score > 0


def fit_phase3(data: TrainingSet, params: Mapping[str, Any], run: Path) -> None:
    """Fit class heads, the gate on the losses, its strength, and the classes' thresholds, unless that is done.

    Class heads learn from the training rows; the validation part says whether they are used.
    ``gate_fit="paper"`` fits the plain machine on the training rows, as the letter does; ``"held-out"`` a monotone one
    on the validation part, whose losses are not flattered by training; strength and thresholds then see what gates
    fitted on other folds say of each row. The heads' share, the soft gate's strength, where the user leaves
    it open, and the thresholds come from the validation part in both cases, for the ``prevalence`` of the settings
    (`gbad.phase3_gate.choose`), or that of the training list, of which phase 2 may have left out threat-free rows.
    """
    folder = run / "phase3"
    if (folder / "done.json").exists():
        return
    begun = time.monotonic()
    rows, held_out, losses, logits = read_losses(run, data.classes)
    labels = data.labels[rows]
    anomalous = data.positive[rows]
    paper = params["gate_fit"] == "paper"
    used = ~held_out if paper else held_out
    check_kinds(anomalous[used], "part of the training list that the gate is fitted on")
    heads = of_heads = None
    if params["class_heads"]:
        features = features_of(run, rows)
        heads = fit_class_heads(features[~held_out], logits[~held_out], labels[~held_out])
        of_heads = heads.log_odds(features[held_out])
    gate = clone(params["gate"]) if params["gate"] is not None else default_gate(params["gate_fit"])
    gate.fit(losses[used], anomalous[used].astype(int))
    strength = params["epsilon"] if params["suppression"] == "hard" else params["alpha"]
    score, p_anomalous = held_out_predictions(gate, params["gate_fit"], losses[held_out], anomalous[held_out])
    judged = Evidence(logits[held_out], of_heads, score, p_anomalous)
    prevalence = params["prevalence"]
    if prevalence is None and data.positive[data.validation].any():
        prevalence = float(data.positive[data.validation].mean())
    share, strength, thresholds = choose(judged, labels[held_out], params["suppression"], strength, prevalence)
    _, gated = apply_choices(judged, params["suppression"], share, strength)
    any_threat = AnyThreat.identity(len(data.classes))
    if (held_out & anomalous).any() and np.count_nonzero(held_out & ~anomalous) > 1:
        any_threat = fit_any_threat(log_odds(gated), labels[held_out], prevalence)
    save_plain(gate_state(gate, strength, thresholds, heads, share, any_threat), folder / "gate.joblib")
    write_json(
        folder / "done.json",
        {
            "seconds": time.monotonic() - begun, "rows": int(used.sum()), "positives": int(anomalous[used].sum()),
            "suppression": params["suppression"], "strength": strength, "heads_share": share,
            "thresholds": dict(zip(data.classes, thresholds, strict=True)),
        },
    )  # fmt: skip


def held_out_predictions(
    gate: ThreatGate, gate_fit: str, losses: np.ndarray, anomalous: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a fitted gate says of the validation part, as if it had not been fitted there.

    The letter's gate has not seen that part; one that was fitted there is judged by its like, fitted on other folds,
    unless there are too few rows for folds.

    Parameters
    ----------
    gate : ThreatGate
        Fitted.
    gate_fit : {"held-out", "paper"}
        How.
    losses : float64 array (n, k)
    anomalous : bool array (n,)
        Which images show a threat.

    Returns
    -------
    gate_score, p_anomalous : float64 arrays (n,)
    """
    held = None if gate_fit == "paper" else cross_fitted_gate(gate, losses, anomalous.astype(int))
    if held is not None:
        return held
    score = gate.decision_function(losses)
    return score, gate.probability(score)


def default_gate(gate_fit: str) -> ThreatGate:
    """Give the unfitted gate of a way of fitting: the plain machine for "paper", else a monotone one."""
    paper = gate_fit == "paper"
    return ThreatGate(monotone=not paper, clip=not paper, max_rows=None if paper else 10_000)


def load_gate(run: Path) -> dict[str, Any]:
    """What phase 3 left in a run folder, see `gate_state`."""
    path = run / "phase3" / "gate.joblib"
    if not path.exists():
        raise RunError(f"{run} has no gate yet. Run phase 3 first: python pipelines/phase3_fit_gate.py {run}")
    return load_plain(path)


def gate_state(
    gate: ThreatGate, strength: float, thresholds: np.ndarray, heads: ClassHeads | None, share: float,
    any_threat: AnyThreat,
) -> dict[str, Any]:  # fmt: skip
    """Plain description of a fitted phase 3; without class heads, their keys are left out."""
    state = {
        "params": gate.get_params(), "arrays": gate.get_arrays(), "strength": strength, "thresholds": thresholds,
        "any_threat": any_threat.get_arrays(),
    }  # fmt: skip
    return state if heads is None else state | {"heads": heads.get_arrays(), "heads_share": share}


def gate_from_state(state: Mapping[str, Any]) -> ThreatGate:
    """Rebuild the gate of a `gate_state`."""
    return ThreatGate.from_arrays(state["params"], state["arrays"])


def heads_from_state(state: Mapping[str, Any]) -> tuple[ClassHeads | None, float]:
    """Rebuild class heads and their share of a `gate_state`."""
    heads = state.get("heads")
    return (None, 0.0) if heads is None else (ClassHeads.from_arrays(heads), state["heads_share"])


def any_threat_from_state(state: Mapping[str, Any]) -> AnyThreat:
    """Rebuild the calibration of a `gate_state`; of one from before there was any, the log-odds as they are."""
    arrays = state.get("any_threat", {})
    return AnyThreat.from_arrays(arrays) if "slope" in arrays else AnyThreat.identity(len(state["thresholds"]))


def features_of(run: Path, rows: np.ndarray) -> np.ndarray:
    """Features that phase 2 left for some rows of the list, float32 (n, D) in the order of `rows`, int (n,)."""
    file = FeatureFile(run / "phase2" / "features")
    order = np.argsort(file.rows)
    return np.asarray(file.features[order[np.searchsorted(file.rows, rows, sorter=order)]])
