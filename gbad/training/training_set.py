"""What the three phases are trained on, and which part of it is kept for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gbad.data.boxes import Boxes
from gbad.data.source import ImageSource
from gbad.data.split import split_validation
from gbad.training.checks import check_labels


@dataclass(frozen=True)
class TrainingSet:
    """The training list.

    Attributes
    ----------
    source : ImageSource
        Its n images.
    labels : uint8 array (n, C)
        1 = threat present.
    classes : tuple of str
        Names of the C classes.
    validation : bool array (n,)
        Rows that phases 1 and 2 do not train on.
    boxes : Boxes, optional
        Where threats are, for phase 1 with a position weight.
    """

    source: ImageSource
    labels: np.ndarray
    classes: tuple[str, ...]
    validation: np.ndarray
    boxes: Boxes | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)

    @property
    def positive(self) -> np.ndarray:
        """Whether an image shows any threat, bool (n,)."""
        return np.asarray(self.labels.any(1))


def validation_rows(
    names: Sequence[str],
    labels: np.ndarray,
    paths: Sequence[str | Path] | None,
    fraction: float,
    seed: int,
    groups: Sequence[str | None] | None = None,
) -> np.ndarray:
    """Rows of a training list to keep for validation, bool (n,): whole groups, or runs of 40 neighbours or fewer.

    `groups` has the known group of each image, or None. Images without a group are kept in runs: consecutive SIXray
    numbers often show the same bag. A list with fewer than 400 positives gets shorter runs, so that both parts receive
    positives. A fraction of 0 keeps none.
    """
    if fraction == 0:
        return np.zeros(len(names), bool)
    neighbours = int(np.clip(labels.any(1).sum() // 10, 1, 40))
    return split_validation(names, labels, paths, fraction=fraction, neighbours=neighbours, seed=seed, groups=groups)
