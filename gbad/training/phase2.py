"""Phase 2 on a run folder: train the anomaly detectors on threat-free images, and leave the losses of all rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from gbad.data.bad_images import BadImages
from gbad.data.cache import decode_images
from gbad.errors import DataError, RunError
from gbad.phase1_classifier import FeatureFile, extract_features
from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS, BiGANDetector, ImageAnomalyDetector
from gbad.phase2_anomaly.catalogue import name_of
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed
from gbad.storage.files import atomic_path, read_table, remove_folder, write_json
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.phase1 import load_classifier
from gbad.training.settings import IMAGE_LOSS
from gbad.training.training_set import TrainingSet

_SCORED_TOGETHER = 1024


def detector_input(features: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Rows that phase 2 looks at: features of FC1 to FC4 ⧺ predicted probabilities, float32 (n, D + C)."""
    return np.concatenate([features, sigmoid(logits).astype(np.float32)], axis=1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits in float64, without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))


def image_loss(detector: ImageAnomalyDetector[Any], images: np.ndarray) -> np.ndarray:
    """Anomaly of images by an image-level detector as one more loss: its clean score, (n, 1) float64, 0 or larger.

    0 is the most normal of the images that set its range, and 1 the least normal of them.
    """
    return np.maximum(detector.anomaly_score(images), 0.0)[:, None]


def fit_phase2(
    data: TrainingSet, params: Mapping[str, Any], run: Path, bad: BadImages, *, show_progress: bool = False
) -> Any:
    """Train the anomaly detector on threat-free training rows, or load it; leave the losses of all rows phase 3 needs.

    The rows: up to ``max_negatives`` negatives of the training part (on which the detector is trained), its positives,
    and the validation part (again up to ``max_negatives`` negatives). An image-level detector, where there is one,
    learns from the same images, and its scores become a column behind the detector's losses.
    """
    folder = run / "phase2"
    if (folder / "done.json").exists():
        return load_detector(run)
    begun = time.monotonic()
    rows = _phase2_rows(data, params)
    model = load_classifier(run).to(_device() if params["device"] == "auto" else "cpu")
    features = extract_features(
        model, data.source, rows, folder / "features", bad, views=params["views"], show_progress=show_progress
    )
    x = detector_input(features.features, features.logits)
    normal = threat_free_training_rows(features.rows, data)
    if not normal.any():
        raise DataError("phase 2 has no threat-free training image that can be used")
    detector = _fit_detector(make_detector(params), x[normal], folder, show_progress)
    losses, names = detector.losses(x), list(detector.loss_names)
    image_detector = make_image_detector(params)
    if image_detector is not None:
        own = _fit_image_detector(image_detector, data, features.rows, normal, folder, bad, show_progress)
        losses, names = np.concatenate([losses, own], axis=1), [*names, IMAGE_LOSS]
    with atomic_path(folder / "losses.csv") as temporary:  # paths need not be UTF-8
        _losses_table(data, features, losses, names).to_csv(temporary, index=False, errors="surrogateescape")
    for name in ("checkpoint.pt", "image_checkpoint.pt"):
        (folder / name).unlink(missing_ok=True)
    remove_folder(folder / "images")
    write_json(folder / "done.json", {"seconds": time.monotonic() - begun, "threat_free_rows": int(normal.sum())})
    return detector


def threat_free_training_rows(rows: np.ndarray, data: TrainingSet) -> np.ndarray:
    """Of `rows`, those that a detector may be trained on: in the training part, without a threat; bool (m,)."""
    return np.asarray(~data.validation[rows] & ~data.positive[rows])


def make_detector(params: Mapping[str, Any]) -> Any:
    """Unfitted detector of the parameters; by default the BiGAN."""
    given = params["detector"]
    if given is not None and not isinstance(given, str):
        return clone(given)
    of_name = FEATURE_DETECTORS[given or "bigan"]
    seed = derived_seed(params["random_state"], "phase 2")
    return of_name(random_state=seed) if "random_state" in of_name().get_params() else of_name()


def make_image_detector(params: Mapping[str, Any]) -> ImageAnomalyDetector[Any] | None:
    """Unfitted image-level detector of the parameters, or None; one that is named trains where phase 1 does."""
    given = params["image_detector"]
    if given is None or not isinstance(given, str):
        return None if given is None else clone(given)
    seed = derived_seed(params["random_state"], "phase 2, images")
    return IMAGE_DETECTORS[given](random_state=seed, device=_device() if params["device"] == "auto" else "cpu")


def detector_state(detector: Any) -> dict[str, Any]:
    """Plain description of a fitted detector of either kind."""
    return {"kind": name_of(detector), "params": detector.get_params(), "arrays": detector.get_arrays()}


def detector_from_state(state: Mapping[str, Any]) -> Any:
    """Rebuild a detector; the inverse of `detector_state`. Files from before there were kinds hold a BiGAN."""
    kind = state.get("kind", "bigan")
    if kind in IMAGE_DETECTORS:
        return IMAGE_DETECTORS[kind].from_arrays(state["params"], state["arrays"])
    return FEATURE_DETECTORS[kind].from_arrays(state["params"], state["arrays"])


def load_detector(run: Path) -> Any:
    """Detector that phase 2 left in a run folder."""
    path = run / "phase2" / "detector.joblib"
    if not path.exists():
        raise RunError(f"{run} has no detector yet. Run phase 2 first: python pipelines/phase2_train_detector.py {run}")
    return detector_from_state(load_plain(path))


def load_image_detector(run: Path) -> ImageAnomalyDetector[Any] | None:
    """Image-level detector that phase 2 left in a run folder; None if the run has none."""
    path = run / "phase2" / "image_detector.joblib"
    return detector_from_state(load_plain(path)) if path.exists() else None


def read_losses(run: Path, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read what phase 2 left: rows of the list (n,), held out or not (n,), losses (n, k) and logits (n, C), float64."""
    path = run / "phase2" / "losses.csv"
    if not path.exists():
        raise RunError(f"{run} has no losses yet. Run phase 2 first: python pipelines/phase2_train_detector.py {run}")
    # As text first: not every version of pandas reads back the very number that was written.
    columns = ("row", "part", *(f"logit_{name}" for name in classes))
    remedy = f"Delete it and {run / 'phase2' / 'done.json'}, then run phase 2 again."
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
    return rows, (table["part"] == "validation").to_numpy(), losses, logits


def _fit_detector(detector: Any, x: np.ndarray, folder: Path, show_progress: bool) -> Any:
    if isinstance(detector, BiGANDetector):
        with progress_bar("phase 2, BiGAN", detector.epochs, "epochs", show=show_progress) as advance:
            detector.fit(x, checkpoint=folder / "checkpoint.pt", callback=lambda epoch, total, _: advance(1, total))
    else:
        detector.fit(x)  # a control takes moments
    save_plain(detector_state(detector), folder / "detector.joblib")
    return detector


def _fit_image_detector(
    detector: ImageAnomalyDetector[Any], data: TrainingSet, rows: np.ndarray, normal: np.ndarray, folder: Path,
    bad: BadImages, show_progress: bool,
) -> np.ndarray:  # fmt: skip
    """Train an image-level detector on the threat-free training rows, unless that is done; its loss of all `rows`.

    It sees what it will be shown for scoring: images at the pipeline's size, warped to its own.
    """
    order = np.argsort(~normal, kind="stable")  # those that it learns from come first, so that they are one block
    images = decode_images(
        data.source, rows[order], detector.image_size, folder / "images", show_progress=show_progress
    )
    path = folder / "image_detector.joblib"
    if path.exists():
        detector = detector_from_state(load_plain(path))
    else:
        name = f"phase 2, {name_of(detector)}"
        with progress_bar(name, detector.epochs, "epochs", show=show_progress) as advance:
            detector.fit(
                images[: normal.sum()], checkpoint=folder / "image_checkpoint.pt",
                callback=lambda epoch, total, _: advance(1, total),
            )  # fmt: skip
        save_plain(detector_state(detector), path)
    losses = np.empty((len(rows), 1))
    with progress_bar("scoring images", len(rows), show=show_progress) as advance:
        for start in range(0, len(rows), _SCORED_TOGETHER):
            some = order[start : start + _SCORED_TOGETHER]
            losses[some] = image_loss(detector, images[start : start + _SCORED_TOGETHER])
            advance(len(some))
    return losses


def _device() -> str:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if accelerator is None else accelerator.type


def _phase2_rows(data: TrainingSet, params: Mapping[str, Any]) -> np.ndarray:
    parts = []
    for name, part in (("training", ~data.validation), ("validation", data.validation)):
        without = np.flatnonzero(part & ~data.positive)
        if len(without) > params["max_negatives"]:
            draw = np.random.default_rng(derived_seed(params["random_state"], "phase 2 rows", name))
            without = np.sort(draw.choice(without, params["max_negatives"], replace=False))
        parts += [without, np.flatnonzero(part & data.positive)]
    return np.concatenate(parts)


def _losses_table(data: TrainingSet, features: FeatureFile, losses: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "row": features.rows,
            "name": [data.source.names[row] for row in features.rows],
            "part": np.where(data.validation[features.rows], "validation", "training"),
            **dict(zip(names, losses.T, strict=True)),
        }
    )
    logits = pd.DataFrame(np.asarray(features.logits), columns=[f"logit_{name}" for name in data.classes])
    return pd.concat([table, logits], axis=1)
