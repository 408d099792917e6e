"""Phase 1 on a run folder: train the classifier, or load what an earlier call left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import PartialState

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.errors import PipelineFileError, RunError
from gbad.phase1_classifier import (
    BACKBONES,
    Classifier,
    build_classifier,
    classifier_from_state,
    classifier_state,
    train_classifier,
)
from gbad.runtime.randomness import derived_seed
from gbad.storage.files import write_json
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.training_set import TrainingSet

_OPTIONS = {
    "fpn": {name: name for name in ("fpn_width", "head_width", "pooling", "fusion", "position_weight")},
    "plain": {},
    "chr": {"mask": "chr_mask", "threshold": "chr_threshold", "prediction": "chr_prediction"},
}
"""Per architecture: keyword of its class, and the parameter of `GBADPipeline` that it takes."""


def fit_phase1(
    data: TrainingSet, params: Mapping[str, Any], run: Path, bad: BadImages, *, show_progress: bool = False
) -> Classifier:
    """Train the classifier on rows of the training part, or load it if this run has it already.

    Parameters
    ----------
    data : TrainingSet
    params : mapping
        Parameters of `GBADPipeline`.
    run : Path
        The run folder.
    bad : BadImages
        Counts images that cannot be used.
    show_progress : bool
        Show progress bars.
    """
    folder = run / "phase1"
    if (folder / "done.json").exists():
        return load_classifier(run)
    begun = time.monotonic()
    seed, architecture = params["random_state"], params["architecture"]
    options = {keyword: params[name] for keyword, name in _OPTIONS[architecture].items()}
    model, origin = build_classifier(
        params["backbone"], len(data.classes), architecture=architecture, pretrained=params["pretrained"],
        weights=params["weights"], frozen_stages=_or_default(params, "frozen_stages"),
        frozen_norm=_or_default(params, "frozen_norm"), seed=seed, **options,
    )  # fmt: skip
    with PartialState().main_process_first():  # one process makes the files, the others find them whole
        opened = DecodedCache(data.source, run / "cache", bad)
    with closing(opened) as cache:
        model, history = train_classifier(
            model, cache, data.labels, np.flatnonzero(~data.validation), _monitored_rows(data, seed), data.classes,
            folder,
            boxes=data.boxes, epochs=params["epochs"], batch_size=params["batch_size"],
            optimiser=_or_default(params, "optimiser"),
            learning_rate=_or_default(params, "learning_rate"), weight_decay=params["weight_decay"],
            ema_decay=params["ema_decay"], negatives=params["negatives"], augmentation=params["augmentation"],
            precision=params["precision"], device=params["device"], seed=seed, show_progress=show_progress,
        )  # fmt: skip
    if PartialState().is_main_process:  # others hold the same weights, but statistics of their own share of the batches
        save_plain(classifier_state(model), folder / "classifier.joblib")
        write_json(
            folder / "done.json",
            {"backbone_weights": origin, "seconds": _seconds(begun, history), "classifier": model.spec},
        )
    return model


def load_classifier(run: Path) -> Classifier:
    """Classifier that phase 1 left in a run folder."""
    path = run / "phase1" / "classifier.joblib"
    if not path.exists():
        raise RunError(
            f"{run} has no classifier yet. "
            f"Run phase 1 first: python pipelines/phase1_train_classifier.py DATA --out {run}"
        )
    try:
        return classifier_from_state(load_plain(path))
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error


def _or_default(params: Mapping[str, Any], name: str) -> Any:
    """A parameter, or what suits the backbone where the user left it open."""
    value = params[name]
    return getattr(BACKBONES[params["backbone"]], name) if value is None else value


def _monitored_rows(data: TrainingSet, seed: int, negatives: int = 500) -> np.ndarray:
    """Validation rows whose AP is shown after each epoch: all positives, and not more negatives than is quick."""
    rows = np.flatnonzero(data.validation)
    without = rows[~data.positive[rows]]
    if len(without) > negatives:
        without = np.random.default_rng(derived_seed(seed, "monitor")).choice(without, negatives, replace=False)
    return np.sort(np.concatenate([rows[data.positive[rows]], without]))


def _seconds(begun: float, history: pd.DataFrame) -> float:
    """Seconds that phase 1 took, those before an interruption included."""
    return max(time.monotonic() - begun, float(history["seconds"].sum()) if len(history) else 0.0)
