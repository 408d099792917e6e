"""The second look fitted: from images that look suspicious to the scores of their regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from gbad.data.maps import in_their_images
from gbad.data.original import Original
from gbad.data.regions import choose_regions, cut_regions
from gbad.phase1_classifier import (
    Classifier,
    evidence_peaks,
    predict_batch,
    scoring_network,
    stage_evidence,
)
from gbad.phase1_classifier.evidence import Seen
from gbad.phase3_gate import Regions, SecondDecision
from gbad.runtime.device import chosen_device
from gbad.training.second_look import RegionModel

_TOGETHER = 64  # regions that are classified at a time


@dataclass(frozen=True, eq=False)
class FittedSecondLook:
    """The fitted phases of the second look.

    Attributes
    ----------
    model : RegionModel
        Phases 1 and 2, on regions.
    decision : SecondDecision
        Phase 3.
    device : {"auto", "cpu"}
        Where the classifier of regions scores.
    """

    model: RegionModel
    decision: SecondDecision
    device: str

    @cached_property
    def network(self) -> Classifier:
        """The classifier of regions in evaluation mode, on the device that scores are computed on."""
        return scoring_network(self.model.classifier, chosen_device(self.device))

    def regions(
        self, first: Classifier, seen: Seen, twice: npt.NDArray[np.bool_], originals: Sequence[Original]
    ) -> tuple[Regions, npt.NDArray[np.float64]]:
        """Cut the regions of images that are looked at twice, and score them.

        Parameters
        ----------
        first : Classifier
            Of the first look.
        seen : Seen
            What it has seen in n images.
        twice : bool array (n,)
            Which of them are looked at twice.
        originals : sequence of n Original

        Returns
        -------
        regions : Regions
        boxes : float64 array (m, 4)
            As in `gbad.explanation.SeenRegions`.

        Raises
        ------
        ImageError
            If an image cannot be decoded at the resolution of its file.
        """
        shape, chosen = self.model.shape, np.flatnonzero(twice)
        if not len(chosen):
            classes = len(self.model.importance.mean)
            losses = np.empty((0, len(self.model.detectors.loss_names)))
            return Regions(np.empty(0, np.int64), np.empty((0, classes)), losses), np.empty((0, 4))
        peaks = evidence_peaks(first, [level[torch.from_numpy(chosen)] for level in seen.levels], shape.extent)
        importance = self.model.importance(seen.logits[chosen])
        centres, boxes = [], []
        for row, places, order in zip(chosen.tolist(), peaks, importance, strict=True):
            size = originals[row].size
            own = places[choose_regions(places, order, size, shape.side, self.model.most)[0]]
            half = shape.side / 2 / np.array(size)
            centres.append(own)
            boxes.append(np.concatenate([own - half, own + half], 1))
        cut = cut_regions([originals[row] for row in chosen.tolist()], centres, shape)
        parts = [predict_batch(self.network, cut[i : i + _TOGETHER]) for i in range(0, len(cut), _TOGETHER)]
        logits, features = (np.concatenate(values) for values in zip(*parts, strict=True))
        losses = self.model.detectors.losses(features, logits, cut)
        return Regions(np.repeat(chosen, [len(own) for own in centres]), logits, losses), np.concatenate(boxes)

    def evidence(
        self, original: Original, boxes: npt.NDArray[np.float64], columns: Sequence[int], cells: tuple[int, int]
    ) -> npt.NDArray[np.float64]:
        """Evidence for k classes, each in a region of one image, see `gbad.phase1_classifier.stage_evidence`.

        Parameters
        ----------
        original : Original
        boxes : float64 array (k, 4)
            Of the regions, as in `gbad.explanation.SeenRegions`.
        columns : sequence of k int
            Of the classes.
        cells : (int, int)
            Rows and columns of the result, whose cells cover the image.

        Returns
        -------
        float64 array (k, rows, columns)
            0 or larger; 0 outside of the regions.

        Raises
        ------
        ImageError
            If the image cannot be decoded at the resolution of its file.
        """
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)
        cut = cut_regions([original], [centres], self.model.shape)
        return in_their_images(stage_evidence(self.network, cut, columns), boxes, cells)

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        return {"model": self.model.to_plain(), "decision": self.decision.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], device: str) -> Self:
        """Rebuild; the inverse of `to_plain`."""
        return cls(RegionModel.from_plain(plain["model"]), SecondDecision.from_plain(plain["decision"]), device)
