"""Cells of image-level detectors, for Table 4 and Figures 5 and 6. The folder also holds ``detector.joblib``."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.paper.any_threat import SeedScores
from gbad.benchmarks.paper.cells import BAD_SHARE, VERSION, Cell, Lists, Scorer, scores_entry
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores, validation_sample
from gbad.benchmarks.paper.scales import Scale
from gbad.benchmarks.store import Entry
from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.images import image_paths
from gbad.data.source import source_from_paths, stream
from gbad.errors import DataError, DivergedError, GbadError
from gbad.phase2_anomaly import IMAGE_DETECTORS, ImageAnomalyDetector
from gbad.runtime.device import chosen_device
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed
from gbad.training.training_set import validation_rows

_BATCH = 256


@dataclass(frozen=True)
class DetectorCell(Cell):
    """One image-level detector, trained on the threat-free images of one list from one seed.

    Attributes
    ----------
    detector : ImageAnomalyDetector
        Not fitted.
    max_images : int
        Most threat-free images that it learns from.
    validation_fraction : float
        Share of the training list that it does not learn from.
    """

    detector: ImageAnomalyDetector[Any]
    max_images: int
    validation_fraction: float

    @property
    def label(self) -> str:
        """Name of the cell in messages."""
        size, subset = self.detector.image_size, self.lists.subset
        return f"{self.name}, {size} px, seed {self.seed}, training list {subset.list}"

    @property
    def _file(self) -> Path:
        return self.entry.folder / "detector.joblib"

    def _train(self, data: BenchmarkData, show_progress: bool) -> dict[str, Any]:
        """The split is that of the networks with the same seed, so all rows of Table 4 learn from the same part."""
        begun = time.monotonic()
        train = data.read(self.lists.subset, "train")
        paths = image_paths(data.folder, train.names)
        positive = np.asarray(train.positive)
        groups = data.groups(self.lists.subset)
        validation = validation_rows(train.names, train.labels, paths, self.validation_fraction, self.seed, groups)
        rows = np.flatnonzero(~validation & ~positive)
        if len(rows) > self.max_images:
            draw = np.random.default_rng(derived_seed(self.seed, "images of detector"))
            rows = np.sort(draw.choice(rows, self.max_images, replace=False))
        detector = self.detector.set_params(device=chosen_device())
        bad = BadImages(len(paths), BAD_SHARE, report=self.bad_images)
        source = source_from_paths(paths, detector.image_size)
        with closing(DecodedCache(source, self.entry.work / "cache", bad)) as cache:
            rows = cache.fill(rows, show_progress=show_progress)
            if len(rows) < 2:
                raise DataError(f"{data.folder}: {self.label} needs two threat-free training images, has {len(rows)}.")
            with progress_bar(self.name, detector.epochs, "epochs", show=show_progress) as advance:
                detector.fit(
                    cache[rows], checkpoint=self.entry.work / "checkpoint.pt",
                    callback=lambda epoch, total, _: advance(1, total),
                )  # fmt: skip
            detector.save(self._file)
            sample = cache.fill(validation_sample(validation, positive), show_progress=show_progress)
            names = np.array(train.names, dtype=str)[sample]
            scores = self._finite(detector.anomaly_score(cache[sample]))
            _scores(names, scores, train.labels[sample]).save(self._validation)
        seconds = round(time.monotonic() - begun, 1)
        return {"seconds": seconds, "epochs": detector.epochs, "images": len(rows)}

    def _scorer(self, data: BenchmarkData, paths: list[Path], bad: BadImages, show_progress: bool) -> Scorer:
        detector = IMAGE_DETECTORS[self.name].load(self._file).set_params(device=chosen_device())
        source = source_from_paths(paths, detector.image_size)

        def score(start: int, stop: int) -> Scores | None:
            found, values = [], []
            description = f"test images {start:,} to {stop:,} of {len(paths):,}"
            with progress_bar(description, stop - start, show=show_progress) as advance:
                for rows, images, errors in stream(source, np.arange(start, stop), _BATCH):
                    for error in errors.values():
                        bad.add(error)
                    if len(rows):
                        found.append(rows)
                        values.append(self._finite(detector.anomaly_score(images)))
                    advance(len(rows) + len(errors))
            if not found:
                return None
            return _scores(np.array(self.lists.test.names, dtype=str)[np.concatenate(found)], np.concatenate(values))

        return score

    def _finite(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if not np.isfinite(scores).all():
            raise DivergedError(
                f"{self.entry.folder}: scores of {self.label} are not finite: its training diverged. Delete the folder "
                "and train with another seed, or take the detector out of the benchmark."
            )
        return scores

    def seed_scores(self, names: tuple[str, ...]) -> SeedScores:
        """Anomaly scores for Table 4.

        Parameters
        ----------
        names : tuple of n str
            Test images of the table, in its order.

        Raises
        ------
        GbadError
            If an image of the table has no score.
        """
        rows, test = self.test_scores().select(names)
        if missing := len(names) - len(rows):
            raise GbadError(f"{self.entry.folder}: {missing:,} test images have no score. Delete it, and run again.")
        validation = self.validation_scores()
        assert validation.labels is not None
        assert validation.gate_score is not None
        assert test.gate_score is not None
        return SeedScores(np.asarray(validation.labels.any(axis=1)), validation.gate_score, test.gate_score)

    def costs(self) -> dict[str, Any]:
        """Seconds of training and of scoring, size of the images, epochs, and images that the detector was shown."""
        done, scoring = self.entry.result, self.scores.result
        return {
            "network": self.name, "backbone": "", "training_list": self.lists.subset.list, "seed": self.seed,
            "size": self.detector.image_size, "epochs": done["epochs"],
            "images_seen": done["epochs"] * done["images"],
            "detector_seconds": done["seconds"], "scoring_seconds": scoring["seconds"],
            "test_images": scoring["images"], "folder": self.entry.folder.name,
        }  # fmt: skip


def make_detector_cell(
    root: Path, data: BenchmarkData, lists: Lists, name: str, seed: int, scale: Scale, validation_fraction: float
) -> DetectorCell:
    """Describe a cell; nothing is written."""
    settings = dict(scale.image_detectors)
    max_images = int(settings.pop("max_images"))
    detector = IMAGE_DETECTORS[name](**settings, random_state=seed)
    params = {key: value for key, value in detector.get_params().items() if key != "device"}
    about = {
        "version": VERSION, "detector": name, "params": params, "max_images": max_images,
        "validation_fraction": validation_fraction, "training_list": lists.train_digest, "origin": data.origin,
    }  # fmt: skip
    entry = Entry.of(root, f"{name}-{lists.subset.list}-seed{seed}", about)
    scores = scores_entry(entry, data, lists.test)
    return DetectorCell(entry, name, "", seed, lists, scores, detector, max_images, validation_fraction)


def _scores(
    names: npt.NDArray[np.str_], anomaly: npt.NDArray[np.float64], labels: npt.NDArray[np.uint8] | None = None
) -> Scores:
    """Scores of a detector, which knows no classes."""
    return Scores(names, np.empty((len(names), 0)), gate_score=anomaly, labels=labels)
