"""Cells: one trained network each, with its scores, an entry of `gbad.benchmarks.store`.

Beside the trained network, the folder of a cell holds::

    validation.npz               scores of the validation part
    test-<digest>/scores.npz     scores of test images; the digest is of their names and of their content
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores
from gbad.benchmarks.paper.scales import Subset
from gbad.benchmarks.store import Arrays, Entry
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import LabelList
from gbad.errors import DataError, TooManyBadImagesError
from gbad.storage.digests import digest

VERSION = 3
"""Raised whenever the same settings would give other scores."""

BAD_SHARE = 0.01
"""Share of the test images above which a benchmark stops."""

CHUNK = 2048
"""Test images that are scored before their scores are kept: what a kill can cost."""

Scorer = Callable[[int, int], Scores | None]
"""From the first row of a part of the test images and the row behind it to the scores; None if no image is usable."""


@dataclass(frozen=True)
class Lists:
    """What cells learn from and are scored on.

    Attributes
    ----------
    subset : Subset
        A subset with the training list.
    train_digest : str
        Of the training list, see `BenchmarkData.train_digest`.
    test : LabelList
        Test images of all subsets that share the training list.
    """

    subset: Subset
    train_digest: str
    test: LabelList


@dataclass(frozen=True)
class Cell(ABC):
    """One network, trained on one list from one seed.

    Attributes
    ----------
    entry : Entry
        The trained network.
    name : str
        Name of the network.
    backbone : str
        Empty if it has none.
    seed : int
    lists : Lists
    scores : Entry
        Its scores of the test images.
    """

    entry: Entry
    name: str
    backbone: str
    seed: int
    lists: Lists
    scores: Entry

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the cell in messages."""

    @abstractmethod
    def _train(self, data: BenchmarkData, show_progress: bool) -> dict[str, Any]:
        """Train the network, save scores of the validation part, and give what it cost."""

    @abstractmethod
    def _scorer(self, data: BenchmarkData, paths: list[Path], bad: BadImages, show_progress: bool) -> Scorer:
        """Load the trained network to score the test images at `paths`; images that cannot be used go to `bad`."""

    @abstractmethod
    def costs(self) -> dict[str, Any]:
        """What the cell is and what it cost: a row of ``cells.csv``."""

    def train(self, data: BenchmarkData, *, show_progress: bool = False) -> bool:
        """Train the network and score its validation part, unless that is done; say whether it was computed."""
        return self.entry.complete(lambda: self._train(data, show_progress))

    def score(self, data: BenchmarkData, *, show_progress: bool = False) -> bool:
        """Score the test images with the trained network, unless that is done; say whether it was computed.

        Raises
        ------
        DataError
            If no image can be used.
        TooManyBadImagesError
            If more than `BAD_SHARE` of the images cannot be used.
        """

        def compute() -> dict[str, Any]:
            count = len(self.lists.test)
            paths = image_paths(data.folder, self.lists.test.names)
            scorer = self._scorer(data, paths, BadImages(count, BAD_SHARE, report=self.bad_images), show_progress)

            def part(start: int, stop: int) -> Arrays | None:
                scores = scorer(start, stop)
                return None if scores is None else scores.arrays()

            parts, seconds = self.scores.in_parts(count, CHUNK, part)
            if not parts:
                raise DataError(f"{data.folder}: none of {count:,} test images can be used. Run `gbad check` on it.")
            scores = Scores.concatenate([Scores(**arrays) for arrays in parts])
            lost = count - len(scores.names)
            if lost > BAD_SHARE * count:  # a continued run has counted only the bad images that it met itself
                raise TooManyBadImagesError(
                    f"{data.folder}: {lost:,} of {count:,} test images cannot be used, more than the {BAD_SHARE:.0%} "
                    f"tolerated. Run `gbad check` on it, repair the images, and delete {self.scores.folder}."
                )
            self._completed(scores, data).save(self.scores.folder / "scores.npz")
            return {"seconds": round(seconds, 1), "images": count}

        return self.scores.complete(compute)

    def _completed(self, scores: Scores, data: BenchmarkData) -> Scores:
        """Add what is known only about all test images together."""
        return scores

    @property
    def bad_images(self) -> Path:
        """CSV of the images that could not be used."""
        return self.entry.folder / "bad_images.csv"

    def test_scores(self) -> Scores:
        """Scores of test images that `score` has left."""
        return Scores.load(self.scores.folder / "scores.npz")

    def validation_scores(self) -> Scores:
        """Scores of the validation part that `train` has left."""
        return Scores.load(self._validation)

    @property
    def _validation(self) -> Path:
        return self.entry.folder / "validation.npz"


def scores_entry(entry: Entry, data: BenchmarkData, test: LabelList) -> Entry:
    """Place of a cell's scores of some test images: replaced images make another one."""
    return Entry.of(entry.folder, "test", {"names": digest(test.names), "images": data.images_digest(test.names)})
