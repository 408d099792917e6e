"""Names and paths of the images of a generated data set in SIXray's layout."""

from __future__ import annotations

from dataclasses import dataclass

from gbad.errors import DataError

IMAGES_PER_FOLDER = 10_000


@dataclass(frozen=True)
class GeneratedLayout:
    """Number, names and files of the images of a generated data set.

    Parameters
    ----------
    subset : int
        Name of the subset: the folder below ``ImageSet``.
    train_positives, test_positives : int
        Images with threats in each list.
    negatives_per_positive : int
        Threat-free images for each image with threats. The test list may have another number.
    size : int
        Longer side of the images in pixels.
    seed : int
        Another seed gives other images.
    test_negatives_per_positive : int, optional
        Threat-free images for each image with threats in the test list. By default as in the training list.
    """

    subset: int
    train_positives: int
    test_positives: int
    negatives_per_positive: int
    size: int
    seed: int
    test_negatives_per_positive: int | None = None

    @property
    def limits(self) -> dict[str, int]:
        """Least value of each number."""
        return {
            "train_positives": 0,
            "test_positives": 0,
            "negatives_per_positive": 0,
            "test_negatives_per_positive": 0,
            "size": 32,
            "seed": 0,
            "subset": 1,
        }

    def check(self) -> None:
        """Raise DataError if a number is out of range, or the data set would be empty."""
        for name, least in self.limits.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise DataError(f"{name} is {value}. Give at least {least}.")
        if len(self) == 0:
            raise DataError(
                "train_positives and test_positives are both 0: the data set would be empty. Give at least one image."
            )

    @property
    def parts(self) -> dict[str, tuple[range, range]]:
        """Numbers of the images with threats and of the threat-free images of each list. Numbers start at 1."""
        train, test = self.train_positives, self.test_positives
        without, test_without = self._negatives
        return {
            "train": (range(1, train + 1), range(1, without + 1)),
            "test": (range(train + 1, train + test + 1), range(without + 1, without + test_without + 1)),
        }

    def __len__(self) -> int:
        return self.train_positives + self.test_positives + sum(self._negatives)

    @property
    def _negatives(self) -> tuple[int, int]:
        """Threat-free images of the training list and of the test list."""
        ratio, of_test = self.negatives_per_positive, self.test_negatives_per_positive
        return self.train_positives * ratio, self.test_positives * (ratio if of_test is None else of_test)

    def name(self, position: int) -> str:
        """Name of an image: first images with threats (P00001, ...), then threat-free images (N0000001, ...)."""
        positives = self.train_positives + self.test_positives
        return f"P{position + 1:05d}" if position < positives else f"N{position - positives + 1:07d}"

    def name_and_part(self, position: int) -> tuple[str, str]:
        """Name of an image, and the list that it is on."""
        name = self.name(position)
        return name, next(p for p, ranges in self.parts.items() if int(name[1:]) in ranges[name[0] == "N"])

    def shard(self, position: int) -> str:
        """Numbered folder of an image, with a slash at its end; empty in a small data set."""
        return "" if len(self) <= IMAGES_PER_FOLDER else f"{position // IMAGES_PER_FOLDER}/"

    def files(self, position: int) -> dict[str, str]:
        """Files of an image: paths relative to the data set, by what they hold."""
        name = self.name(position)
        files = {"image": f"JPEGImage/{self.shard(position)}{name}.jpg"}
        if name.startswith("P"):
            files |= {"annotation": f"Annotation/{name}.xml", "mask": f"Mask/{name}.png"}
        return files
