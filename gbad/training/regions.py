"""Which regions the second look learns from: threats, and what the first look takes for threats."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import UNKNOWN, Labels, Mask, Rows
from gbad.data.bad_images import BadImages
from gbad.data.regions import RegionShape, choose_regions
from gbad.data.source import ImageSource, opened
from gbad.errors import DataError, ImageError, RunError
from gbad.phase1_classifier import FeatureFile
from gbad.storage.digests import digest
from gbad.storage.plain_data import load_plain, save_plain
from gbad.training.training_set import TrainingSet

NEGATIVES_PER_POSITIVE = 3
"""Regions without a threat in an epoch, for each region with one."""

POOL = 8
"""Regions without a threat that epochs draw from, for each region with one: the hardest for the first look."""

PASSES = (6, 12)
"""Smallest and largest number of passes over the training set of regions, where the user names none."""

REGIONS_SEEN = 28_000
"""Regions that these passes show together, where their range allows it: few regions need more passes."""


@dataclass(frozen=True, eq=False)
class Importance:
    """How much a class's logit stands out of what threat-free images have: the order in which regions are looked at.

    Attributes
    ----------
    mean, deviation : float64 arrays (C,)
        Of the logits of threat-free training images.
    """

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, threat_free: npt.NDArray[np.float64]) -> Self:
        """Learn from the logits (n, C) of threat-free images."""
        return cls(threat_free.mean(0), np.maximum(threat_free.std(0), 1e-6))

    def __call__(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Standardise logits, float64 (n, C)."""
        return (logits - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class RegionList:
    """Regions of images of the training list.

    Attributes
    ----------
    rows : int64 array (m,)
        Images, as rows of the training list.
    centres : float32 array (m, 2)
        x and y as shares of the image's width and height.
    labels : uint8 array (m, C)
        1 = the region shows the class, 0 = it does not, `UNKNOWN` = its image does, perhaps elsewhere.
    validation : bool array (m,)
        Regions of the validation part, of which there are as many as a finished pipeline would look at.
    found_in : str
        Digest of what phase 2 left: of rows and places.
    """

    rows: Rows
    centres: npt.NDArray[np.float32]
    labels: Labels
    validation: Mask
    found_in: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positive(self) -> Mask:
        """Regions that show a threat."""
        return np.asarray((self.labels == 1).any(1))

    @property
    def threat_free(self) -> Mask:
        """Regions of which it is known that they show none."""
        return np.asarray((self.labels == 0).all(1))

    def save(self, path: Path) -> None:
        """Write to a file."""
        save_plain({field.name: getattr(self, field.name) for field in fields(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`."""
        plain: dict[str, Any] = load_plain(path)
        return cls(**plain)


def suitable_passes(regions: int) -> int:
    """How many epochs of `regions` regions the second look is trained for, where the user names no number."""
    return min(max(math.ceil(REGIONS_SEEN / max(regions, 1)), PASSES[0]), PASSES[1])


def find_regions(
    data: TrainingSet, features: FeatureFile, shape: RegionShape, most: int, bad: BadImages, *, pool: float = POOL
) -> RegionList:
    """Find the regions that the second look learns from and is judged on.

    Of a training image with threats: a region at each box, or where there are none at the evidence for each class that
    it shows. Of all threat-free training images: the regions that a finished pipeline would look at, of which the
    hardest are kept. Of all validation images: the regions that a finished pipeline would look at.

    Parameters
    ----------
    data : TrainingSet
    features : FeatureFile
        Of phase 2, with peaks.
    shape : RegionShape
    most : int
        Largest number of regions of an image.
    bad : BadImages
        Counts images that cannot be used.
    pool : float
        Threat-free training regions to keep for each region with a threat; infinity keeps all.

    Raises
    ------
    RunError
        If phase 2 was run without a second look.
    DataError
        If no image can be used.
    """
    if features.peaks is None:
        raise RunError("phase 2 was run without a second look. Train in another run folder.")
    rows, logits = features.rows, np.asarray(features.logits)
    free = ~data.validation[rows] & ~data.positive[rows]
    importance = Importance.of(logits[free])(logits)
    sizes = _sizes(data.source, rows, bad)
    found: list[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.uint8], float]] = []
    for number, row in enumerate(rows.tolist()):
        if row not in sizes:
            continue
        peaks, of_image = np.asarray(features.peaks[number]), data.labels[row]
        places, classes, limit = peaks, np.arange(len(of_image)), most
        if of_image.any() and not data.validation[row]:
            boxes = None if data.boxes is None else data.boxes.get(row)
            places, classes = threat_places(peaks, of_image, boxes)
            limit = len(places)
        middles, region = choose_regions(places, importance[number, classes], sizes[row], shape.side, limit)
        for which, middle in enumerate(middles.tolist()):
            inside = classes[region == which]
            shown = np.where(of_image == 1, UNKNOWN, 0).astype(np.uint8)
            shown[inside[of_image[inside] == 1]] = 1
            found.append((row, places[middle], shown, float(importance[number, inside].max())))
    if not found:
        raise DataError("no image can be looked at twice: run `gbad check` on the data.")
    of_row, centres, labels, hardness = (np.array(values) for values in zip(*found, strict=True))
    validation = data.validation[of_row]
    threat_free = (labels == 0).all(1)
    mined = np.flatnonzero(~validation & threat_free)
    most_mined = min(len(mined), pool * int((~validation & ~threat_free).sum()))
    mined = mined[np.argsort(-hardness[mined], kind="stable")[: int(most_mined)]]
    kept = np.sort(np.concatenate([np.flatnonzero(validation | ~threat_free), mined]))
    return RegionList(
        of_row[kept].astype(np.int64), centres[kept], labels[kept], validation[kept], places_digest(features)
    )


def places_digest(features: FeatureFile) -> str:
    """Digest of the rows and places that phase 2 has left."""
    return digest(features.rows, np.asarray(features.peaks))


def threat_places(
    peaks: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float32] | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Places of the threats of an image: the middles of their boxes, and for classes without a box the peaks.

    Parameters
    ----------
    peaks : float32 array (C, 2)
    labels : uint8 array (C,)
    boxes : float32 array (k, 5), optional
        As in `gbad.data.boxes.Boxes`.

    Returns
    -------
    places : float32 array (p, 2)
    classes : int array (p,)
    """
    boxed = np.empty((0, 5), np.float32) if boxes is None else boxes
    middles = np.stack([(boxed[:, 1] + boxed[:, 3]) / 2, (boxed[:, 2] + boxed[:, 4]) / 2], 1)
    others = np.setdiff1d(np.flatnonzero(labels), boxed[:, 0].astype(np.intp))
    return np.concatenate([middles, peaks[others]]), np.concatenate([boxed[:, 0].astype(np.intp), others])


def _sizes(source: ImageSource, rows: Rows, bad: BadImages) -> dict[int, tuple[int, int]]:
    """Width and height of images from their headers, by row; without those that cannot be read."""

    def size(row: int) -> tuple[int, int] | ImageError:
        try:
            return opened(source, row).size
        except ImageError as error:
            return error

    found: dict[int, tuple[int, int]] = {}
    with ThreadPoolExecutor() as pool:
        for row, one in zip(rows.tolist(), pool.map(size, rows.tolist()), strict=True):
            if isinstance(one, ImageError):
                bad.add(one)
            else:
                found[row] = one
    return found
