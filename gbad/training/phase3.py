"""Phase 3 on a run folder: fit the decision on what phase 2 left."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gbad.errors import RunError
from gbad.phase1_classifier import FeatureFile
from gbad.phase3_gate import (
    Decided,
    Decision,
    HeldOut,
    Regions,
    SecondDecision,
    both_looks,
    can_calibrate,
    default_gate,
    fit_decision,
    fit_second_decision,
    log_odds,
)
from gbad.storage.files import write_sealed
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.checks import check_both_kinds
from gbad.training.phase2 import Losses, read_losses
from gbad.training.second_look import validation_regions
from gbad.training.settings import Settings, defaults, gate_strength
from gbad.training.training_set import TrainingSet

_log = logging.getLogger(__name__)


def fit_phase3(data: TrainingSet, settings: Settings, run: Path) -> None:
    """Fit class heads, the gate and all that is chosen on the validation part, unless that is done.

    Without a ``prevalence`` in the settings, the choices are for the prevalence of the validation part. Phase 2 may
    have left out threat-free rows of it.

    Raises
    ------
    DataError
        If the rows that the gate is fitted on lack images with or without threats.
    """
    folder = run / "phase3"
    if (folder / "done.json").exists():
        return
    begun = time.monotonic()
    _warn_of_unused(settings)
    first = fit_first_look(data, settings, run)
    decision, threat = first.decision, data.positive[first.found.rows]
    save_plain(decision.to_plain(), folder / "gate.joblib")
    held_out = _held_out(data, first)
    of_second: dict[str, Any] = {}
    if settings.second_look:
        second, of_validation = fit_second_look(data, settings, run, first)
        save_plain(second.to_plain(), folder / "second_look.joblib")
        save_plain({"second": of_validation}, folder / "second_look_validation.joblib")
        held_out = _held_out(data, first, second, of_validation)
        of_second["second_look"] = {
            "share": second.share, "strength": second.strength,
            "threshold": second.threshold if np.isfinite(second.threshold) else None,
            "thresholds": dict(zip(data.classes, second.thresholds, strict=True)),
        }  # fmt: skip
    save_plain({"held_out": held_out}, folder / "held_out.joblib")
    write_sealed(
        folder / "done.json",
        {
            "seconds": time.monotonic() - begun, "rows": int(first.used.sum()),
            "positives": int(threat[first.used].sum()), "suppression": decision.suppression,
            "strength": decision.strength, "heads_share": decision.heads_share,
            "thresholds": dict(zip(data.classes, decision.thresholds, strict=True)), **of_second,
        },
    )  # fmt: skip


def _warn_of_unused(settings: Settings) -> None:
    """Tell who chose a strength that the gate does not have."""
    unused, its_own = ("alpha", "soft") if settings.suppression == "hard" else ("epsilon", "hard")
    value = getattr(settings, unused)
    if value != defaults()[unused]:
        _log.warning(
            "%s %s is not used: it is for suppression %s, and suppression is %s.",
            unused, value, its_own, settings.suppression,
        )  # fmt: skip


def _held_out(
    data: TrainingSet, first: FirstLook, second: SecondDecision | None = None,
    of_second: npt.NDArray[np.float64] | None = None,
) -> dict[str, Any] | None:  # fmt: skip
    """Scores of the validation part as plain data; None if there is none."""
    rows = first.found.rows[first.found.validation]
    if not len(rows) or first.prevalence is None or not 0 < first.prevalence < 1:
        return None
    any_threat, gated = first.judged.any_threat, first.judged.log_gated
    if second is not None and of_second is not None:
        gated = both_looks(first.judged.ranking, gated, of_second, second.share)[1]
        any_threat = second.any_threat.score(log_odds(gated))
    # A score that was not calibrated is for no prevalence, whatever the settings name.
    prevalence = first.prevalence if can_calibrate(data.positive[rows]) else None
    return HeldOut(any_threat, log_odds(gated), data.labels[rows], prevalence).to_plain()


def load_held_out(run: Path) -> HeldOut | None:
    """Load scores of the validation part that phase 3 left in a run folder; None if it left none."""
    path = run / "phase3" / "held_out.joblib"
    plain = load_plain(path)["held_out"] if path.exists() else None  # older run folders have no such file
    return None if plain is None else HeldOut.from_plain(plain)


class FirstLook(NamedTuple):
    """Phase 3 of the first look, fitted.

    Attributes
    ----------
    decision : Decision
    judged : Decided
        What it says of the validation part, as of rows that it has not seen.
    found : Losses
        What phase 2 has left, of n rows.
    used : bool array (n,)
        Rows that the gate was fitted on.
    prevalence : float or None
        Share of images with a threat that the choices are for.
    """

    decision: Decision
    judged: Decided
    found: Losses
    used: npt.NDArray[np.bool_]
    prevalence: float | None


def fit_first_look(data: TrainingSet, settings: Settings, run: Path) -> FirstLook:
    """Fit phase 3 of the first look on what phase 2 has left; nothing is written."""
    found = read_losses(run, data.classes)
    labels, threat = data.labels[found.rows], data.positive[found.rows]
    used = ~found.validation if settings.gate_fit == "paper" else found.validation
    check_both_kinds(threat[used], "part of the training list that the gate is fitted on")
    prevalence = settings.prevalence
    if prevalence is None and data.positive[data.validation].any():
        prevalence = float(data.positive[data.validation].mean())
    decision, judged = fit_decision(
        found.logits, features_of(run, found.rows) if settings.class_heads else None, found.losses, labels,
        found.validation, gate=settings.gate, gate_fit=settings.gate_fit, suppression=settings.suppression,
        strength=gate_strength(settings), prevalence=prevalence,
    )  # fmt: skip
    return FirstLook(decision, judged, found, used, prevalence)


def fit_second_look(
    data: TrainingSet, settings: Settings, run: Path, first: FirstLook
) -> tuple[SecondDecision, npt.NDArray[np.float64]]:
    """Fit phase 3 of the second look on the validation part; nothing is written.

    Returns
    -------
    decision : SecondDecision
    second : float64 array (n, C)
        What it says of the validation part, see `gbad.phase3_gate.fit_second_decision`.
    """
    scores = validation_regions(run)
    rows = first.found.rows[first.found.validation]
    order = np.argsort(rows)
    image = order[np.searchsorted(rows, scores.regions.rows, sorter=order)]
    shows = np.where(scores.regions.positive, 1.0, np.where(scores.regions.threat_free, 0.0, np.nan))
    return fit_second_decision(
        first.judged, data.labels[rows], Regions(image, scores.logits, scores.losses), shows,
        looked_at=settings.second_look_share, gate=settings.gate or default_gate("held-out"),
        suppression=settings.suppression, strength=gate_strength(settings), prevalence=first.prevalence,
    )  # fmt: skip


def load_second_decision(run: Path) -> SecondDecision | None:
    """Load the second look's decision that phase 3 left in a run folder; None if it left none."""
    path = run / "phase3" / "second_look.joblib"
    return SecondDecision.from_plain(load_plain(path)) if path.exists() else None


def load_second_of_validation(run: Path) -> npt.NDArray[np.float64]:
    """Log-odds by the second look of the validation rows of phase 2, as phase 3 was chosen on them: (n, C)."""
    second: npt.NDArray[np.float64] = load_plain(run / "phase3" / "second_look_validation.joblib")["second"]
    return second


def load_decision(run: Path) -> Decision:
    """Load the decision that phase 3 left in a run folder."""
    path = run / "phase3" / "gate.joblib"
    if not path.exists():
        raise RunError(f"{run} has no gate yet. Run phase 3 first: python pipelines/phase3_fit_gate.py {run}")
    return Decision.from_plain(load_plain(path))


def features_of(run: Path, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Features that phase 2 left for some rows of the list, float32 (n, D) in the order of `rows`, int (n,)."""
    file = FeatureFile(run / "phase2" / "features")
    order = np.argsort(file.rows)
    return np.asarray(file.features[order[np.searchsorted(file.rows, rows, sorter=order)]])
