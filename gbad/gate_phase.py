"""Phase 3 on a run folder: fit class heads and the gate, choose how strongly they act, and the decision thresholds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import precision_recall_curve

from gbad.detector_phase import read_losses
from gbad.errors import RunError
from gbad.files import write_json
from gbad.persistence import load_plain, save_plain
from gbad.phase1_classifier import FeatureFile
from gbad.phase3_gate import (
    AnyThreatScale,
    ClassHeads,
    ThreatGate,
    choose_alpha,
    choose_share,
    fit_any_threat_scale,
    fit_class_heads,
    held_out_gate,
    log_odds,
    mixed,
    suppress,
)
from gbad.settings import check_kinds
from gbad.training_set import TrainingSet


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
    fitted on other folds say of each row. The soft gate's strength, where the user leaves
    it open, and the thresholds come from the validation part in both cases. A threshold is the one of the highest F1,
    or 0.5 for a class without positives there.
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
    heads, share = None, 0.0
    if params["class_heads"]:
        features = _features(run, rows)
        heads = fit_class_heads(features[~held_out], logits[~held_out], labels[~held_out])
        of_heads = heads.log_odds(features)
        share = choose_share(logits[held_out], of_heads[held_out], labels[held_out])
        heads = heads if share else None
        logits = mixed(logits, of_heads, share)
    gate = clone(params["gate"]) if params["gate"] is not None else default_gate(params["gate_fit"])
    gate.fit(losses[used], anomalous[used].astype(int))
    strength = params["epsilon"] if params["suppression"] == "hard" else params["alpha"]
    # The letter's gate has not seen the validation part; one that was fitted there is judged by its like.
    held = None if paper else held_out_gate(gate, losses[held_out], anomalous[held_out].astype(int))
    if held is None:
        score = gate.decision_function(losses[held_out])
        p_anomalous = gate.probability(score)
    else:
        score, p_anomalous = held
    if strength is None:
        fair = paper or held is not None
        strength = choose_alpha(logits[held_out], labels[held_out], p_anomalous) if fair else 0.0
    gated = suppress(logits[held_out], score, p_anomalous, params["suppression"], strength)
    thresholds = best_thresholds(labels[held_out], np.exp(gated))
    scale = AnyThreatScale.identity(len(data.classes))
    if np.count_nonzero(held_out & ~anomalous) > 1:
        scale = fit_any_threat_scale(log_odds(gated), labels[held_out])
    save_plain(gate_state(gate, strength, thresholds, heads, share, scale), folder / "gate.joblib")
    write_json(
        folder / "done.json",
        {
            "seconds": time.monotonic() - begun, "rows": int(used.sum()), "positives": int(anomalous[used].sum()),
            "suppression": params["suppression"], "strength": strength, "heads_share": share,
            "thresholds": dict(zip(data.classes, thresholds, strict=True)),
        },
    )  # fmt: skip


def default_gate(gate_fit: str) -> ThreatGate:
    """Give the unfitted gate of a way of fitting: the plain machine for "paper", else a monotone one."""
    paper = gate_fit == "paper"
    return ThreatGate(monotone=not paper, clip=not paper, max_rows=None if paper else 10_000)


def ranking_logits(logits: np.ndarray, features: np.ndarray, heads: ClassHeads | None, share: float) -> np.ndarray:
    """Logits (n, C) that phase 3 ranks by: those of phase 1, mixed with what class heads say of the features (n, D)."""
    return logits if heads is None else mixed(logits, heads.log_odds(features), share)


def load_gate(run: Path) -> dict[str, Any]:
    """What phase 3 left in a run folder, see `gate_state`."""
    path = run / "phase3" / "gate.joblib"
    if not path.exists():
        raise RunError(f"{run} has no gate yet. Run phase 3 first: python pipelines/phase3_fit_gate.py {run}")
    return load_plain(path)


def gate_state(
    gate: ThreatGate, strength: float, thresholds: np.ndarray, heads: ClassHeads | None, share: float,
    any_threat: AnyThreatScale,
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


def any_threat_from_state(state: Mapping[str, Any]) -> AnyThreatScale:
    """Rebuild the scale of a `gate_state`; the log-odds as they are where it was left before there were scales."""
    arrays = state.get("any_threat")
    return AnyThreatScale.identity(len(state["thresholds"])) if arrays is None else AnyThreatScale.from_arrays(arrays)


def best_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Threshold of the highest F1 for each class, float64 (C,); 0.5 for a class without positives.

    Parameters
    ----------
    labels : uint8 array (n, C)
    probabilities : float64 array (n, C)
        In [0, 1].
    """
    thresholds = np.full(labels.shape[1], 0.5)
    for column in np.flatnonzero(labels.any(0)):
        precision, recall, values = precision_recall_curve(labels[:, column], probabilities[:, column])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        thresholds[column] = values[int(np.argmax(f1[:-1]))]
    return thresholds


def _features(run: Path, rows: np.ndarray) -> np.ndarray:
    """Features that phase 2 left for some rows of the list, float32 (n, D)."""
    file = FeatureFile(run / "phase2" / "features")
    order = np.argsort(file.rows)
    return np.asarray(file.features[order[np.searchsorted(file.rows, rows, sorter=order)]])
