"""Phase 1 on a run folder: train the classifier, or load what an earlier call left."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.transforms import AUGMENTATIONS
from gbad.errors import PipelineFileError, RunError
from gbad.phase1_classifier import (
    BACKBONES,
    Classifier,
    build_classifier,
    classifier_from_state,
    classifier_state,
    train_classifier,
)
from gbad.runtime.device import training_processes
from gbad.runtime.randomness import derived_seed
from gbad.storage.files import write_sealed
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.settings import Settings
from gbad.training.start import started_from
from gbad.training.training_set import TrainingSet

_log = logging.getLogger(__name__)

T = TypeVar("T")


def fit_phase1(
    data: TrainingSet, settings: Settings, run: Path, bad: BadImages, *, show_progress: bool = False
) -> None:
    """Train the classifier on the training part, unless this run folder has it already.

    Parameters
    ----------
    data : TrainingSet
    settings : Settings
    run : Path
        The run folder.
    bad : BadImages
        Counts images that cannot be used.
    show_progress : bool
        Show progress bars.
    """
    folder = run / "phase1"
    if (folder / "done.json").exists():
        return
    begun = time.monotonic()
    seed, suits = settings.random_state, BACKBONES[settings.backbone]
    start = started_from(settings)
    if settings.start is None and start is not None:
        _log.info(
            "training starts from %s, which comes with gbad; --start imagenet takes ImageNet weights", start["name"]
        )
    processes = training_processes(settings.device)
    if start is not None and not settings.epochs:
        if processes.is_main_process:
            _save(folder, classifier_from_state(start), f"pipeline {start['name']}", time.monotonic() - begun)
        return
    model, origin = build_classifier(
        settings.backbone, len(data.classes), architecture=settings.architecture, pretrained=settings.pretrained,
        weights=settings.weights, frozen_stages=given(settings.frozen_stages, suits.frozen_stages),
        frozen_norm=given(settings.frozen_norm, suits.frozen_norm), seed=seed, start=start,
        same_classes=start is None or start["classes"] == data.classes,
        **architecture_options(settings, start),
    )  # fmt: skip
    with processes.main_process_first():  # one process makes the files, the others find them whole
        opened = DecodedCache(data.source, run / "cache", bad)
    with closing(opened) as cache:
        model, history = train_classifier(
            model, cache, data.labels, np.flatnonzero(~data.validation), _monitored_rows(data, seed), data.classes,
            folder, boxes=data.boxes, epochs=settings.epochs, batch_size=settings.batch_size,
            optimiser=given(settings.optimiser, suits.optimiser),
            learning_rate=given(settings.learning_rate, suits.learning_rate), weight_decay=settings.weight_decay,
            ema_decay=settings.ema_decay, negatives=settings.negatives, freedom=AUGMENTATIONS[settings.augmentation],
            precision=settings.precision, device=settings.device, seed=seed, show_progress=show_progress,
        )  # fmt: skip
    if processes.is_main_process:  # others hold the same weights, but statistics of their own share of the batches
        _save(folder, model, origin, _seconds(begun, history))


def _save(folder: Path, model: Classifier, origin: str, seconds: float) -> None:
    save_plain(classifier_state(model), folder / "classifier.joblib")
    write_sealed(folder / "done.json", {"backbone_weights": origin, "seconds": seconds, "classifier": model.spec})


def load_classifier(run: Path) -> Classifier:
    """Load the classifier that phase 1 left in a run folder."""
    path = run / "phase1" / "classifier.joblib"
    if not path.exists():
        raise RunError(
            f"{run} has no classifier yet. "
            f"Run phase 1 first: python pipelines/phase1_train_classifier.py DATA --out {run}"
        )
    state = load_plain(path)
    try:
        return classifier_from_state(state)
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error


def architecture_options(settings: Settings, start: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Keywords of the architecture's class; `start` is the classifier that training starts from, if any."""
    if settings.architecture == "fpn":
        suits = BACKBONES[settings.backbone]
        # Convolutions of another form than the start's would start anew.
        form = "full" if start is None else start["spec"].get("fpn_form", "full")
        return {
            "fpn_width": given(settings.fpn_width, suits.fpn_width),
            "head_width": given(settings.head_width, suits.head_width),
            "fpn_form": given(settings.fpn_form, form),
            **{name: getattr(settings, name) for name in ("pooling", "fusion", "position_weight")},
        }
    if settings.architecture == "chr":
        return {name: getattr(settings, f"chr_{name}") for name in ("mask", "threshold", "prediction")}
    return {}


def given(value: T | None, suitable: T) -> T:
    """A setting, or what suits the backbone where the user left it open."""
    return suitable if value is None else value


def _monitored_rows(data: TrainingSet, seed: int, negatives: int = 500) -> npt.NDArray[np.int64]:
    """Validation rows whose AP is shown after each epoch: all positives, and not more negatives than is quick."""
    rows = np.flatnonzero(data.validation)
    without = rows[~data.positive[rows]]
    if len(without) > negatives:
        without = np.random.default_rng(derived_seed(seed, "monitor")).choice(without, negatives, replace=False)
    return np.sort(np.concatenate([rows[data.positive[rows]], without]))


def _seconds(begun: float, history: pd.DataFrame) -> float:
    """Seconds that phase 1 took, those before an interruption included."""
    return max(time.monotonic() - begun, float(history["seconds"].sum()) if len(history) else 0.0)
