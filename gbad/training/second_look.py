"""The second look on a run folder: phases 1 and 2 once more, on regions of the images.

What the first look takes for a threat in threat-free images is what the second look learns to tell from threats, at a
higher resolution. The run folder holds, in ``second_look/``::

    shape.json               how regions are cut
    regions.joblib           the regions that are learnt from, see `gbad.training.regions.RegionList`
    cache/                   cut regions (may be deleted)
    classifier/              classifier.joblib, history.csv, checkpoint-<epoch>.pt
    features/                of threat-free training regions and of all validation regions
    detector.joblib          detector on the features of threat-free regions
    done.json
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.arrays import Rows
from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.regions import RegionShape, region_shape, region_source
from gbad.data.transforms import region_augmentation
from gbad.errors import RunError
from gbad.phase1_classifier import (
    BACKBONES,
    Classifier,
    FeatureFile,
    build_classifier,
    classifier_from_state,
    classifier_state,
    extract_features,
    train_classifier,
)
from gbad.phase2_anomaly.detectors import Detectors, detector_from_plain, detector_input
from gbad.runtime.device import chosen_device, training_processes
from gbad.runtime.randomness import derived_seed
from gbad.storage.files import read_sealed, write_sealed
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.phase1 import given
from gbad.training.phase2 import fit_detector, length_of_training, make_detector
from gbad.training.regions import (
    NEGATIVES_PER_POSITIVE,
    Importance,
    RegionList,
    find_regions,
    places_digest,
    suitable_passes,
)
from gbad.training.settings import Negatives, Settings
from gbad.training.start import started_from
from gbad.training.training_set import TrainingSet

MARGIN = 1.5
"""Regions are cut this many times as large for training, so that views can be shifted and turned."""

SHIFT = 0.19
"""Largest shift of a view, as a share of a region's side: how far off the first look may point."""

_MONITORED = 500  # threat-free validation regions whose average precision is shown after each epoch


@dataclass(frozen=True, eq=False)
class RegionModel:
    """Phases 1 and 2 of the second look, fitted.

    Attributes
    ----------
    shape : RegionShape
    most : int
        Largest number of regions of an image.
    importance : Importance
        In which order the classes' evidence is looked at.
    classifier : mapping
        Of regions, as plain data: see `gbad.phase1_classifier.classifier_state`.
    detectors : Detectors
        On features of regions.
    """

    shape: RegionShape
    most: int
    importance: Importance
    classifier: Mapping[str, Any]
    detectors: Detectors

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        return {
            "shape": asdict(self.shape),
            "most": self.most,
            "importance": {"mean": self.importance.mean, "deviation": self.importance.deviation},
            "classifier": self.classifier,
            "detectors": self.detectors.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild; the inverse of `to_plain`."""
        return cls(
            RegionShape(**plain["shape"]), plain["most"], Importance(**plain["importance"]), plain["classifier"],
            Detectors.from_plain(plain["detectors"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class RegionScores:
    """What phases 1 and 2 of the second look say of the validation regions.

    Attributes
    ----------
    regions : RegionList
        Of m regions.
    logits : float64 array (m, C)
    losses : float64 array (m, k)
    """

    regions: RegionList
    logits: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]


def shape_of_regions(run: Path, data: TrainingSet, settings: Settings) -> RegionShape:
    """How regions of a training list's images are cut: measured once, and kept in the run folder."""
    path = run / "second_look" / "shape.json"
    if not path.exists():
        write_sealed(path, asdict(region_shape(data.source, settings.region_size)))
    return RegionShape(**read_sealed(path))


def fit_second_look(
    data: TrainingSet, settings: Settings, run: Path, bad: BadImages, *, negatives: Negatives = "hard",
    show_progress: bool = False,
) -> None:  # fmt: skip
    """Train classifier and detector of regions, unless that is done or no second look is wanted.

    Parameters
    ----------
    data : TrainingSet
    settings : Settings
    run : Path
        The run folder, in which phase 2 is done.
    bad : BadImages
        Counts images that cannot be used.
    negatives : {"fixed", "fresh", "hard", "natural", "all"}
        Which threat-free regions an epoch sees, see `gbad.phase1_classifier.sampling.epoch_rows`.
    show_progress : bool
        Show progress bars.
    """
    folder = run / "second_look"
    if not settings.second_look or (folder / "done.json").exists():
        return
    begun = time.monotonic()
    is_main = training_processes(settings.device).is_main_process
    # Only the main process has the files of phase 2: folders of several machines need not be the same.
    found = [_regions(data, settings, run, bad) if is_main else None]
    from accelerate.utils import broadcast_object_list  # slow to import, and scoring does without

    shape, regions = broadcast_object_list(found)[0]
    model, origin, history = _train(data, regions, settings, shape, folder, bad, negatives, show_progress)
    if not is_main:
        return
    save_plain(classifier_state(model), folder / "classifier" / "classifier.joblib")
    learnt = ~regions.validation & regions.threat_free
    features = extract_features(
        model.to(chosen_device(settings.device)), region_source(data.source, regions.rows, regions.centres, shape),
        np.flatnonzero(learnt | regions.validation), folder / "features", bad,
        title="second look, features", show_progress=show_progress,
    )  # fmt: skip
    x = detector_input(features.features, features.logits)
    detector = fit_detector(
        make_detector(settings), x[learnt[features.rows]], folder, show_progress, title="second look, BiGAN"
    )
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    write_sealed(
        folder / "done.json",
        {
            "seconds": max(time.monotonic() - begun, float(history["seconds"].sum())),
            "backbone_weights": origin,
            "regions_with_threat": int((~regions.validation & regions.positive).sum()),
            "threat_free_regions": int(learnt.sum()), "validation_regions": int(regions.validation.sum()),
            "region_side": shape.side, "images": int(history["images"].sum()), **length_of_training(detector),
        },
    )  # fmt: skip


def _regions(data: TrainingSet, settings: Settings, run: Path, bad: BadImages) -> tuple[RegionShape, RegionList]:
    """Find the regions, or read those that an earlier call has found."""
    path, features = run / "second_look" / "regions.joblib", FeatureFile(run / "phase2" / "features")
    shape = shape_of_regions(run, data, settings)
    if not path.exists():
        find_regions(data, features, shape, settings.regions, bad).save(path)
    regions = RegionList.load(path)
    check_regions(regions, features, path)
    return shape, regions


def check_regions(regions: RegionList, features: FeatureFile, path: Path) -> None:
    """RunError if regions were found with another phase 2 than the one that is there now."""
    if regions.found_in != places_digest(features):
        raise RunError(
            f"{path} was made with another phase 2. Delete the folder {path.parent} and run the same command again: "
            "the second look begins again."
        )


def load_region_model(run: Path, data: TrainingSet, settings: Settings) -> RegionModel:
    """Load what `fit_second_look` left in a run folder."""
    folder = run / "second_look"
    features = FeatureFile(run / "phase2" / "features")
    free = ~data.validation[features.rows] & ~data.positive[features.rows]
    return RegionModel(
        shape_of_regions(run, data, settings), settings.regions, Importance.of(np.asarray(features.logits)[free]),
        load_plain(folder / "classifier" / "classifier.joblib"),
        Detectors(detector_from_plain(load_plain(folder / "detector.joblib"))),
    )  # fmt: skip


def validation_regions(run: Path) -> RegionScores:
    """Score the validation regions by what `fit_second_look` left in a run folder."""
    folder = run / "second_look"
    features = FeatureFile(folder / "features")
    regions = RegionList.load(folder / "regions.joblib")
    check_regions(regions, FeatureFile(run / "phase2" / "features"), folder / "regions.joblib")
    chosen = np.flatnonzero(regions.validation[features.rows])
    rows = features.rows[chosen]
    logits = np.asarray(features.logits)[chosen]
    detector = detector_from_plain(load_plain(folder / "detector.joblib"))
    losses = detector.losses(detector_input(np.asarray(features.features)[chosen], logits))
    some = RegionList(regions.rows[rows], regions.centres[rows], regions.labels[rows], regions.validation[rows])
    return RegionScores(some, logits, losses)


def _train(
    data: TrainingSet, regions: RegionList, settings: Settings, shape: RegionShape, folder: Path, bad: BadImages,
    negatives: Negatives, show_progress: bool,
) -> tuple[Classifier, str, pd.DataFrame]:  # fmt: skip
    suits, seed = BACKBONES[settings.backbone], derived_seed(settings.random_state, "second look")
    trained = folder / "classifier" / "classifier.joblib"
    start = started_from(settings, regions=True)
    if start is not None and settings.region_epochs == 0:
        return classifier_from_state(start), f"pipeline {start['name']}", pd.DataFrame({"seconds": [], "images": []})
    model, origin = build_classifier(
        settings.backbone, len(data.classes), architecture="plain", pretrained=settings.pretrained,
        weights=settings.weights,
        frozen_stages=given(settings.frozen_stages, suits.frozen_stages),
        frozen_norm=given(settings.frozen_norm, suits.frozen_norm), seed=seed,
        start=start,
        same_classes=start is None or start["classes"] == data.classes,
    )  # fmt: skip
    source = region_source(data.source, regions.rows, regions.centres, shape, MARGIN)
    learnt = ~regions.validation
    threats, free = int((learnt & regions.positive).sum()), int((learnt & ~regions.positive).sum())
    passes = suitable_passes(threats + min(NEGATIVES_PER_POSITIVE * threats, free))
    processes = training_processes(settings.device)
    with processes.main_process_first():
        opened = DecodedCache(source, folder / "cache", bad)
    with closing(opened) as cache:
        model, history = train_classifier(
            model, cache, regions.labels, np.flatnonzero(learnt), _monitored(regions, seed), data.classes,
            trained.parent, boxes=None, epochs=given(settings.region_epochs, passes), batch_size=settings.batch_size,
            optimiser=given(settings.optimiser, suits.optimiser),
            learning_rate=given(settings.learning_rate, suits.learning_rate),
            weight_decay=settings.weight_decay, ema_decay=settings.ema_decay, negatives=negatives,
            negatives_per_positive=NEGATIVES_PER_POSITIVE, freedom=region_augmentation(settings.augmentation, SHIFT),
            precision=settings.precision, device=settings.device, seed=seed, size=shape.size, title="second look",
            show_progress=show_progress,
        )  # fmt: skip
    return model, origin, history


def _monitored(regions: RegionList, seed: int) -> Rows:
    """Validation regions that show a threat, and not more threat-free ones than is quick."""
    free = np.flatnonzero(regions.validation & regions.threat_free)
    if len(free) > _MONITORED:
        free = np.random.default_rng(derived_seed(seed, "monitor")).choice(free, _MONITORED, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(regions.validation & regions.positive), free]))
