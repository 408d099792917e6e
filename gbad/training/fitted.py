"""The three training phases of GBAD on one run folder: each loads what the one before left, and is done only once.

A run folder holds::

    run.json                 data, classes, settings, versions
    split.csv                which training rows are kept for validation
    bad_images.csv           images that were skipped
    lock                     held while a training works here
    cache/                   decoded images (may be deleted)
    phase1/                  classifier.joblib, history.csv, checkpoint-<epoch>.pt, done.json
    phase2/                  detector.joblib, image_detector.joblib (if any), losses.csv, features/, done.json
    phase3/                  gate.joblib, done.json
    pipeline.joblib          all three in one file
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gbad.phase1_classifier import classifier_state
from gbad.storage.files import read_json
from gbad.training.phase1 import fit_phase1, load_classifier
from gbad.training.phase2 import (
    detector_from_state,
    detector_input,
    detector_state,
    fit_phase2,
    image_loss,
    load_detector,
    load_image_detector,
    make_detector,
    read_losses,
    sigmoid,
    threat_free_training_rows,
)
from gbad.training.phase3 import (
    any_threat_from_state,
    default_gate,
    fit_phase3,
    gate_from_state,
    gate_predictions,
    gate_state,
    heads_from_state,
    held_out_predictions,
    load_gate,
)
from gbad.training.training_set import TrainingSet, validation_rows

__all__ = [
    "TrainingSet",
    "any_threat_from_state",
    "default_gate",
    "detector_from_state",
    "detector_input",
    "detector_state",
    "finished_state",
    "fit_phase1",
    "fit_phase2",
    "fit_phase3",
    "gate_from_state",
    "gate_predictions",
    "gate_state",
    "heads_from_state",
    "held_out_predictions",
    "image_loss",
    "load_classifier",
    "load_detector",
    "load_gate",
    "load_image_detector",
    "make_detector",
    "read_losses",
    "sigmoid",
    "threat_free_training_rows",
    "validation_rows",
]


def finished_state(run: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Plain description of the three phases that a run folder holds."""
    state = {
        "classes": list(classes),
        "training": {f"phase{phase}": read_json(run / f"phase{phase}" / "done.json") for phase in (1, 2, 3)},
        "classifier": classifier_state(load_classifier(run)),
        "detector": detector_state(load_detector(run)),
        "gate": load_gate(run),
    }
    image_detector = load_image_detector(run)
    return state if image_detector is None else state | {"image_detector": detector_state(image_detector)}
