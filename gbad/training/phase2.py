"""Phase 2 on a run folder: train the anomaly detectors on threat-free images, and leave the losses of all rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from gbad.data.bad_images import BadImages
from gbad.data.cache import decode_images
from gbad.data.source import stream
from gbad.errors import DataError, RunError
from gbad.phase1_classifier import FeatureFile, extract_features
from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS, BiGANDetector, FeatureDetector, ImageAnomalyDetector
from gbad.phase2_anomaly.catalogue import name_of
from gbad.phase2_anomaly.detectors import (
    IMAGE_LOSS,
    Detectors,
    detector_from_plain,
    detector_input,
    detector_to_plain,
    image_loss,
)
from gbad.phase2_anomaly.familiarity import Familiarity, appearance, fit_familiarity
from gbad.runtime.device import chosen_device
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed
from gbad.runtime.text import counted
from gbad.storage.digests import file_digest
from gbad.storage.files import read_sealed, remove_folder, write_sealed
from gbad.storage.plain_data import load_plain, save_plain
from gbad.storage.tables import read_table, texts, write_table
from gbad.training.phase1 import load_classifier
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet

_log = logging.getLogger(__name__)

_SCORED_TOGETHER = 1024
_APPEARANCES = 2000  # training images, and again held-out ones, that tell how images look


@dataclass(frozen=True)
class Losses:
    """What phase 2 leaves for phase 3.

    Attributes
    ----------
    rows : int64 array (n,)
        Of the training list.
    validation : bool array (n,)
        Which of them belong to the validation part.
    losses : float64 array (n, k)
    logits : float64 array (n, C)
        Of phase 1.
    """

    rows: npt.NDArray[np.int64]
    validation: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]


def fit_phase2(
    data: TrainingSet, settings: Settings, run: Path, bad: BadImages, *, peak_extent: float | None = None,
    show_progress: bool = False,
) -> None:  # fmt: skip
    """Train the anomaly detectors on threat-free training rows, unless that is done; leave the losses for phase 3.

    The rows: up to ``max_negatives`` threat-free rows of the training part, on which the detectors are trained, its
    rows with threats, and the validation part, again with up to ``max_negatives`` threat-free rows. With a
    `peak_extent`, the places of the evidence in them are kept for a second look, see `extract_features`.
    """
    folder = run / "phase2"
    if (folder / "done.json").exists():
        return
    begun = time.monotonic()
    model = load_classifier(run).to(chosen_device(settings.device))
    features = extract_features(
        model, data.source, _phase2_rows(data, settings), folder / "features", bad, views=settings.views,
        peak_extent=peak_extent,
        show_progress=show_progress,
    )  # fmt: skip
    x = detector_input(features.features, features.logits)
    normal = threat_free_training_rows(features.rows, data)
    if not normal.any():
        raise DataError("phase 2 has no threat-free training image that can be used")
    detector = fit_detector(make_detector(settings), x[normal], folder, show_progress)
    losses, names = detector.losses(x), list(detector.loss_names)
    image_detector = make_image_detector(settings)
    if image_detector is not None:
        own = _fit_image_detector(image_detector, data, features.rows, normal, folder, show_progress)
        losses, names = np.concatenate([losses, own], axis=1), [*names, IMAGE_LOSS]
    _fit_familiarity(data, settings, features.rows, folder)
    write_table(_losses_table(data, features, losses, names), folder / "losses.csv")
    for name in ("checkpoint.pt", "image_checkpoint.pt"):
        (folder / name).unlink(missing_ok=True)
    remove_folder(folder / "images")
    done = {
        "seconds": time.monotonic() - begun,
        "threat_free_rows": int(normal.sum()),
        "losses": _digest_of_losses(run),
        **length_of_training(detector),
    }
    write_sealed(folder / "done.json", done)


def threat_free_training_rows(rows: npt.NDArray[np.int64], data: TrainingSet) -> npt.NDArray[np.bool_]:
    """Of `rows`, those that a detector may be trained on: in the training part, without a threat; bool (m,)."""
    return np.asarray(~data.validation[rows] & ~data.positive[rows])


def make_detector(settings: Settings) -> BiGANDetector | FeatureDetector:
    """Make the unfitted detector of features that the settings ask for."""
    given = settings.detector
    if not isinstance(given, str):
        own: BiGANDetector | FeatureDetector = clone(given)
        return own
    of_name = FEATURE_DETECTORS[given]
    seed = derived_seed(settings.random_state, "phase 2")
    if of_name is BiGANDetector:
        # Where nothing is held out, nothing is chosen, as in the paper: not the end of a training either.
        return BiGANDetector(random_state=seed, early_stopping=settings.validation_fraction > 0)
    return of_name(random_state=seed) if "random_state" in of_name().get_params() else of_name()


def make_image_detector(settings: Settings) -> ImageAnomalyDetector[Any] | None:
    """Make the unfitted image-level detector that the settings ask for; one that is named trains where phase 1 does."""
    given = settings.image_detector
    if given is None or not isinstance(given, str):
        return None if given is None else clone(given)
    seed = derived_seed(settings.random_state, "phase 2, images")
    return IMAGE_DETECTORS[given](random_state=seed, device=chosen_device(settings.device))


def load_familiarity(run: Path) -> Familiarity | None:
    """Load how training images look, which older runs and those without held-out images do not know."""
    path = run / "phase2" / "familiarity.joblib"
    return Familiarity.from_plain(load_plain(path)) if path.exists() else None


def _fit_familiarity(data: TrainingSet, settings: Settings, rows: npt.NDArray[np.int64], folder: Path) -> None:
    """Learn how training images look, unless that is done, from some of the images that phase 2 could read."""
    path = folder / "familiarity.joblib"
    held_out = data.validation[rows]
    if path.exists() or not held_out.any() or (~held_out).sum() < 2:
        return
    found = []
    for name, part in (("training", rows[~held_out]), ("validation", rows[held_out])):
        draw = np.random.default_rng(derived_seed(settings.random_state, "appearance", name))
        some = np.sort(draw.permutation(part)[:_APPEARANCES])
        found.append(np.concatenate([appearance(images) for _, images, _ in stream(data.source, some)]))
    save_plain(fit_familiarity(*found).to_plain(), path)


def load_detectors(run: Path) -> Detectors:
    """Load the detectors that phase 2 left in a run folder."""
    path = run / "phase2" / "detector.joblib"
    if not path.exists():
        raise RunError(f"{run} has no detector yet. Run phase 2 first: python pipelines/phase2_train_detector.py {run}")
    images = run / "phase2" / "image_detector.joblib"
    of_images = detector_from_plain(load_plain(images)) if images.exists() else None
    return Detectors(detector_from_plain(load_plain(path)), of_images)


def read_losses(run: Path, classes: Sequence[str]) -> Losses:
    """Read what phase 2 left; RunError if it is missing or damaged."""
    path = run / "phase2" / "losses.csv"
    if not path.exists():
        raise RunError(f"{run} has no losses yet. Run phase 2 first: python pipelines/phase2_train_detector.py {run}")
    # As text first: not every version of pandas reads back the very number that was written.
    columns = ("row", "part", *(f"logit_{name}" for name in classes))
    remedy = f"Delete it and {run / 'phase2' / 'done.json'}, then run phase 2 again."
    done = run / "phase2" / "done.json"
    known = read_sealed(done).get("losses") if done.exists() else None  # older runs have no digest
    if known is not None and known != _digest_of_losses(run):
        raise RunError(f"{path}: damaged, it is not what was written. {remedy}")
    table = read_table(path, columns, remedy)
    names = list(table.columns)
    try:
        rows = table["row"].to_numpy(np.int64)
        losses = table[names[names.index("part") + 1 : -len(classes)]].to_numpy(np.float64)
        logits = table[[f"logit_{name}" for name in classes]].to_numpy(np.float64)
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}). {remedy}") from error
    if not (np.isfinite(losses).all() and np.isfinite(logits).all()):
        raise RunError(f"{path}: damaged, it holds values that are not finite. {remedy}")
    return Losses(rows, (table["part"] == "validation").to_numpy(), losses, logits)


def _digest_of_losses(run: Path) -> str:
    return (file_digest(run / "phase2" / "losses.csv") or b"").hex()


def fit_detector(
    detector: BiGANDetector | FeatureDetector, x: npt.NDArray[np.float32], folder: Path, show_progress: bool,
    title: str = "phase 2, BiGAN",
) -> BiGANDetector | FeatureDetector:  # fmt: skip
    """Fit a detector of features on threat-free rows (n, D), and leave it as ``detector.joblib`` in a folder."""
    if isinstance(detector, BiGANDetector):
        with progress_bar(title, detector.epochs, "epochs", show=show_progress) as advance:
            detector.fit(x, checkpoint=folder / "checkpoint.pt", callback=lambda epoch, total, _: advance(1, total))
    else:
        detector.fit(x)  # a control takes moments
    if isinstance(detector, BiGANDetector) and detector.n_epochs_ < detector.max_epochs_:
        _log.info(
            "%s: stopped after %s of %s, since images that it did not learn from were reproduced no better",
            title, f"{detector.n_epochs_:,}", counted(detector.max_epochs_, "epoch"),
        )  # fmt: skip
    save_plain(detector_to_plain(detector), folder / "detector.joblib")
    return detector


def length_of_training(detector: BiGANDetector | FeatureDetector) -> dict[str, int]:
    """Epochs of a fitted BiGAN and what they would have been if nothing had stopped it; nothing of other detectors."""
    if not isinstance(detector, BiGANDetector):
        return {}
    return {"bigan_epochs": detector.n_epochs_, "bigan_max_epochs": detector.max_epochs_}


def _fit_image_detector(
    detector: ImageAnomalyDetector[Any], data: TrainingSet, rows: npt.NDArray[np.int64], normal: npt.NDArray[np.bool_],
    folder: Path, show_progress: bool,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Train an image-level detector on the threat-free training rows, unless that is done; its loss of all `rows`.

    It sees what it will be shown for scoring: images at the pipeline's size, warped to its own.
    """
    order = np.argsort(~normal, kind="stable")  # those that it learns from come first, so that they are one block
    images = decode_images(
        data.source, rows[order], detector.image_size, folder / "images", show_progress=show_progress
    )
    path = folder / "image_detector.joblib"
    if path.exists():
        detector = detector_from_plain(load_plain(path))
    else:
        name = f"phase 2, {name_of(detector)}"
        with progress_bar(name, detector.epochs, "epochs", show=show_progress) as advance:
            detector.fit(
                images[: normal.sum()], checkpoint=folder / "image_checkpoint.pt",
                callback=lambda epoch, total, _: advance(1, total),
            )  # fmt: skip
        save_plain(detector_to_plain(detector), path)
    losses = np.empty((len(rows), 1))
    with progress_bar("scoring images", len(rows), show=show_progress) as advance:
        for start in range(0, len(rows), _SCORED_TOGETHER):
            some = order[start : start + _SCORED_TOGETHER]
            losses[some] = image_loss(detector, images[start : start + _SCORED_TOGETHER])
            advance(len(some))
    return losses


def _phase2_rows(data: TrainingSet, settings: Settings) -> npt.NDArray[np.int64]:
    parts = []
    for name, part in (("training", ~data.validation), ("validation", data.validation)):
        without = np.flatnonzero(part & ~data.positive)
        if len(without) > settings.max_negatives:
            draw = np.random.default_rng(derived_seed(settings.random_state, "phase 2 rows", name))
            without = np.sort(draw.choice(without, settings.max_negatives, replace=False))
        parts += [without, np.flatnonzero(part & data.positive)]
    return np.concatenate(parts)


def _losses_table(
    data: TrainingSet, features: FeatureFile, losses: npt.NDArray[np.float64], names: Sequence[str]
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "row": features.rows,
            "name": texts(data.source.names[row] for row in features.rows),
            "part": np.where(data.validation[features.rows], "validation", "training"),
            **dict(zip(names, losses.T, strict=True)),
        }
    )
    logits = pd.DataFrame(np.asarray(features.logits), columns=[f"logit_{name}" for name in data.classes])
    return pd.concat([table, logits], axis=1)
