"""Cells of image-level detectors: one trained detector each, with its anomaly scores, for Table 4 and Figures 5 and 6.

They keep the rules of `gbad.benchmarks.paper.cells`. A folder holds::

    cell.json                what the fingerprint stands for
    detector.joblib          the trained detector
    validation.npz           scores of the validation part
    test-<names>.npz         scores of test images
    done.json                seconds, epochs, images
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gbad.benchmarks.paper.any_threat import SeedScores
from gbad.benchmarks.paper.cells import BAD_SHARE, VERSION, fingerprint, is_scored, score_in_parts, scores_path
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores, validation_sample
from gbad.benchmarks.paper.scales import Scale, Subset
from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.images import image_paths
from gbad.data.labels import LabelList
from gbad.data.source import source_from_paths, stream
from gbad.errors import DataError, DivergedError, GbadError
from gbad.phase2_anomaly import IMAGE_DETECTORS, ImageAnomalyDetector
from gbad.runtime.device import chosen_device
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed
from gbad.storage.files import read_json, remove_folder, write_json
from gbad.training.training_set import validation_rows

_BATCH = 256


@dataclass(frozen=True)
class DetectorCell:
    """One image-level detector, trained on the threat-free images of one list from one seed.

    Attributes
    ----------
    folder : Path
    name : str
        In `gbad.phase2_anomaly.IMAGE_DETECTORS`.
    seed : int
    subset : Subset
        Whose training list it learns from.
    detector : ImageAnomalyDetector
        Not fitted.
    max_images : int
        Threat-free images that it learns from, at most.
    validation_fraction : float
        Share of the training list that it does not learn from.
    content : dict
        What the fingerprint stands for.
    """

    folder: Path
    name: str
    seed: int
    subset: Subset
    detector: ImageAnomalyDetector[Any]
    max_images: int
    validation_fraction: float
    content: dict[str, Any]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.name}, {self.detector.image_size} px, seed {self.seed}, training list {self.subset.list}"


def make_detector_cell(
    root: Path, data: BenchmarkData, subset: Subset, name: str, seed: int, scale: Scale, validation_fraction: float
) -> DetectorCell:
    """Describe a cell; nothing is read or written but the training list."""
    settings = dict(scale.image_detectors)
    max_images = int(settings.pop("max_images"))
    detector = IMAGE_DETECTORS[name](**settings, random_state=seed)
    params = {key: value for key, value in detector.get_params().items() if key != "device"}
    content = {
        "version": VERSION, "detector": name, "params": params, "max_images": max_images,
        "validation_fraction": validation_fraction, "training_list": data.fingerprint(subset), "origin": data.origin,
    }  # fmt: skip
    folder = root / f"{name}-{subset.list}-seed{seed}-{fingerprint(content)}"
    return DetectorCell(folder, name, seed, subset, detector, max_images, validation_fraction, content)


def train_detector_cell(cell: DetectorCell, data: BenchmarkData, *, show_progress: bool = False) -> bool:
    """Train a cell's detector and score its validation part, unless that is done; say whether anything was.

    The split is that of the networks with the same seed, so all rows of Table 4 have learnt from the same part.
    """
    if (cell.folder / "done.json").exists():
        return False
    write_json(cell.folder / "cell.json", cell.content)
    begun = time.monotonic()
    train = data.read(cell.subset, "train")
    paths = image_paths(data.folder, train.names)
    positive = np.asarray(train.positive)
    held_out = validation_rows(train.names, train.labels, paths, cell.validation_fraction, cell.seed)
    rows = np.flatnonzero(~held_out & ~positive)
    if len(rows) > cell.max_images:
        draw = np.random.default_rng(derived_seed(cell.seed, "images of detector"))
        rows = np.sort(draw.choice(rows, cell.max_images, replace=False))
    detector = cell.detector.set_params(device=chosen_device())
    bad = BadImages(len(paths), BAD_SHARE, report=cell.folder / "bad_images.csv")
    with closing(DecodedCache(source_from_paths(paths, detector.image_size), cell.folder / "cache", bad)) as cache:
        rows = cache.fill(rows, show_progress=show_progress)
        if len(rows) < 2:
            raise DataError(f"{data.folder}, list {cell.subset.list}: {cell.label} has no threat-free training image")
        with progress_bar(cell.name, detector.epochs, "epochs", show=show_progress) as advance:
            detector.fit(
                cache[rows], checkpoint=cell.folder / "checkpoint.pt",
                callback=lambda epoch, total, _: advance(1, total),
            )  # fmt: skip
        detector.save(cell.folder / "detector.joblib")
        sample = cache.fill(validation_sample(held_out, positive), show_progress=show_progress)
        names = np.array(train.names, dtype=str)[sample]
        scores = _finite(detector.anomaly_score(cache[sample]), cell)
        _scores(names, scores, train.labels[sample]).save(cell.folder / "validation.npz")
    remove_folder(cell.folder / "cache")
    (cell.folder / "checkpoint.pt").unlink(missing_ok=True)
    done = {"seconds": round(time.monotonic() - begun, 1), "epochs": detector.epochs, "images": len(rows)}
    write_json(cell.folder / "done.json", done)
    return True


def score_detector_cell(
    cell: DetectorCell, data: BenchmarkData, test: LabelList, *, show_progress: bool = False
) -> bool:
    """Score test images with a cell's trained detector, unless that is done; say whether anything was.

    Raises
    ------
    TooManyBadImagesError
        If more than one image in a hundred cannot be used.
    DivergedError
        If the score of an image is not finite.
    """
    path = scores_path(cell.folder, test.names)
    if is_scored(path, data, test.names):
        return False
    detector = IMAGE_DETECTORS[cell.name].load(cell.folder / "detector.joblib").set_params(device=chosen_device())
    paths = image_paths(data.folder, test.names)
    source = source_from_paths(paths, detector.image_size)
    bad = BadImages(len(paths), BAD_SHARE, report=cell.folder / "bad_images.csv")

    def score(start: int, stop: int) -> Scores | None:
        found, values = [], []
        description = f"test images {start:,} to {stop:,} of {len(paths):,}"
        with progress_bar(description, stop - start, show=show_progress) as advance:
            for rows, images, errors in stream(source, np.arange(start, stop), _BATCH):
                for error in errors.values():
                    bad.add(error)
                if len(rows):
                    found.append(rows)
                    values.append(_finite(detector.anomaly_score(images), cell))
                advance(len(rows) + len(errors))
        if not found:
            return None
        return _scores(np.array(test.names, dtype=str)[np.concatenate(found)], np.concatenate(values))

    score_in_parts(path, len(paths), data.images(test.names), score)
    return True


def _finite(scores: np.ndarray, cell: DetectorCell) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise DivergedError(
            f"{cell.folder}: scores of {cell.label} are not finite: its training diverged. Delete the folder and train "
            "with another seed, or take the detector out of the benchmark."
        )
    return scores


def detector_scores(cells: Sequence[DetectorCell], scored: tuple[str, ...], names: tuple[str, ...]) -> list[SeedScores]:
    """Anomaly scores of a detector for Table 4, one entry a seed.

    Parameters
    ----------
    cells : sequence of DetectorCell
        One a seed.
    scored : tuple of str
        Names that the cells were scored on.
    names : tuple of n str
        Test images of the table, in its order.

    Raises
    ------
    GbadError
        If an image of the table has no score.
    """
    found = []
    for cell in cells:
        rows, test = Scores.load(scores_path(cell.folder, scored)).select(names)
        validation = Scores.load(cell.folder / "validation.npz")
        if len(rows) < len(names):
            missing = len(names) - len(rows)
            raise GbadError(f"{cell.folder}: {missing:,} test images have no score. Delete it, and run again.")
        assert validation.labels is not None
        assert validation.gate_score is not None
        assert test.gate_score is not None
        threat = np.asarray(validation.labels.any(axis=1))
        found.append(SeedScores(threat, validation.gate_score, test.gate_score))
    return found


def detector_costs(cell: DetectorCell, names: tuple[str, ...]) -> dict[str, Any]:
    """What a cell is and cost, as `gbad.benchmarks.paper.cells.cell_costs` says it of a network."""
    done = read_json(cell.folder / "done.json")
    scoring = read_json(scores_path(cell.folder, names).with_suffix(".json"))
    return {
        "network": cell.name, "backbone": "", "training_list": cell.subset.list, "seed": cell.seed,
        "epochs": done["epochs"], "images_seen": done["epochs"] * done["images"], "detector_seconds": done["seconds"],
        "scoring_seconds": scoring["seconds"], "test_images": scoring["images"], "folder": cell.folder.name,
    }  # fmt: skip


def _scores(names: np.ndarray, anomaly: np.ndarray, labels: np.ndarray | None = None) -> Scores:
    """Scores of a detector, which knows no classes."""
    return Scores(names, np.empty((len(names), 0)), gate_score=anomaly, labels=labels)
