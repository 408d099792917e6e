"""What decides the content of a simulated data set, and where each of its files lies."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 3
"""Raised whenever the same parameters would give other images."""

IMAGES_PER_FOLDER = 10_000


@dataclass(frozen=True)
class SimulationSettings:
    """All that decides what a simulated data set holds.

    Parameters
    ----------
    subset : int
        Name of the subset: the folder below ``ImageSet``.
    train_positives, test_positives : int
        Images with threats in each list.
    negatives_per_positive : int
        Threat-free images for each image with threats, in both lists.
    size : int
        Longer side of the images in pixels.
    seed : int
        Seed of the simulation.
    raw : bool
        Whether the two channels are written too.
    load : float
        Amount of harmless contents, relative to the usual one.
    remove_threats : bool
        Whether the threats are left out while the labels stay (control experiment).
    version : int
        Version of the simulator.
    """

    subset: int
    train_positives: int
    test_positives: int
    negatives_per_positive: int
    size: int
    seed: int
    raw: bool = False
    load: float = 1.0
    remove_threats: bool = False
    version: int = VERSION

    @property
    def parts(self) -> dict[str, tuple[range, range]]:
        """Numbers of the images with threats and of the threat-free images of each list; numbers start at 1."""
        train, test, ratio = self.train_positives, self.test_positives, self.negatives_per_positive
        return {
            "train": (range(1, train + 1), range(1, train * ratio + 1)),
            "test": (range(train + 1, train + test + 1), range(train * ratio + 1, (train + test) * ratio + 1)),
        }

    def __len__(self) -> int:
        return (self.train_positives + self.test_positives) * (1 + self.negatives_per_positive)

    def name(self, position: int) -> str:
        """Name of an image: first all with threats (P00001, ...), then the threat-free ones (N0000001, ...)."""
        positives = self.train_positives + self.test_positives
        return f"P{position + 1:05d}" if position < positives else f"N{position - positives + 1:07d}"

    def files(self, position: int) -> dict[str, str]:
        """Paths, relative to the data set, of the files that belong to an image."""
        name = self.name(position)
        shard = "" if len(self) <= IMAGES_PER_FOLDER else f"{position // IMAGES_PER_FOLDER}/"
        files = {"image": f"JPEGImage/{shard}{name}.jpg"}
        if self.raw:
            files |= {"low": f"Raw/{shard}{name}_low.png", "high": f"Raw/{shard}{name}_high.png"}
        if name.startswith("P"):
            files |= {"annotation": f"Annotation/{name}.xml", "mask": f"Mask/{name}.png"}
        return files
