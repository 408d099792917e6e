"""GBAD fitted: the three phases as one object that scores images, saves itself as plain data and reads run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Pixels
from gbad.data.maps import smooth, within
from gbad.data.original import ArrayImage, Original
from gbad.explanation import Explanation, SeenRegions
from gbad.phase1_classifier import (
    Classifier,
    class_heatmaps,
    classifier_state,
    in_half_precision,
    knows_positions,
    predict_batch,
    scoring_network,
    see,
)
from gbad.phase2_anomaly.detectors import Detectors, sigmoid
from gbad.phase2_anomaly.familiarity import Familiarity
from gbad.phase3_gate import Decision, HeldOut
from gbad.runtime.device import chosen_device
from gbad.storage.files import read_sealed
from gbad.training.fitted_second_look import FittedSecondLook
from gbad.training.phase1 import load_classifier
from gbad.training.phase2 import load_detectors, load_familiarity
from gbad.training.phase3 import load_decision, load_held_out, load_second_decision
from gbad.training.second_look import load_region_model
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet


@dataclass(frozen=True, eq=False)
class FittedGBAD:
    """The fitted phases.

    Attributes
    ----------
    classes : tuple of C str
    classifier : mapping
        Phase 1 as plain data, see `gbad.phase1_classifier.classifier_state`; `network` is the module.
    detectors : Detectors
        Phase 2.
    decision : Decision
        Phase 3.
    second : FittedSecondLook or None
        The three phases of the second look, if there is one.
    training : mapping
        Per phase, what its ``done.json`` says of what it was trained on. Seconds stay in the run folder: equal
        trainings give equal files.
    views : {1, 2, 4}
        Mirrored views of an image whose mean is scored.
    device : {"auto", "cpu"}
        Where the classifier scores.
    held_out : HeldOut or None
        Scores of the validation part, from which operating points are taken; None if nothing was held out.
    familiarity : Familiarity or None
        Tells images that look like no training image; None if nothing was held out, and in older files.
    """

    classes: tuple[str, ...]
    classifier: Mapping[str, Any]
    detectors: Detectors
    decision: Decision
    second: FittedSecondLook | None
    training: Mapping[str, Any]
    views: int
    device: str
    held_out: HeldOut | None = None
    familiarity: Familiarity | None = None

    @cached_property
    def network(self) -> Classifier:
        """The classifier in evaluation mode, on the device that scores are computed on."""
        return scoring_network(self.classifier, chosen_device(self.device))

    def on_device(self, device: str) -> Self:
        """The same phases, scoring on another device."""
        second = None if self.second is None else replace(self.second, device=device)
        return replace(self, device=device, second=second)

    def in_half_precision(self) -> Self:
        """The same phases with the weights of both classifiers rounded to float16."""
        second = self.second
        if second is not None:
            model = replace(second.model, classifier=in_half_precision(second.model.classifier))
            second = replace(second, model=model)
        return replace(self, classifier=in_half_precision(self.classifier), second=second)

    @property
    def looks_twice(self) -> bool:
        """Whether any image gets a second look."""
        return self.second is not None and self.second.decision.share > 0

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """On the gated probabilities, float64 (C,): at or above, a class counts as present."""
        return self.decision.thresholds if self.second is None else self.second.decision.thresholds

    def explain(self, images: npt.NDArray[np.uint8], originals: Sequence[Original] = ()) -> Explanation:
        """Score images through all three phases.

        Parameters
        ----------
        images : uint8 array (n, size, size, 3)
            RGB, at the size that the phases were trained on.
        originals : sequence of n Original
            The same images at the resolution of their files; only for a pipeline that `looks_twice`.
        """
        names = self.detectors.loss_names
        if not len(images):
            return Explanation.empty(len(self.classes), names)
        looks_twice = self.looks_twice
        seen = see(self.network, images, self.views) if looks_twice else None
        logits, features = predict_batch(self.network, images, self.views) if seen is None else seen[:2]
        losses = self.detectors.losses(features, logits, images)
        first = self.decision.decide(logits, features, losses)
        of_first: dict[str, Any] = {
            "logits": logits, "ungated": sigmoid(logits), "losses": losses, "loss_names": names,
            "unfamiliarity": self._unfamiliarity(images),
            "heads": first.heads, "gate_score": first.gate_score, "anomalous": first.anomalous,
            "first_ranking": first.ranking, "first_look": first.log_gated,
        }  # fmt: skip
        if self.second is None or seen is None:
            return Explanation(
                **of_first, ranking=first.ranking, log_gated=first.log_gated, any_threat=first.any_threat,
                looked_twice=np.zeros(len(images), bool), second_look=np.full_like(logits, np.nan),
                regions=SeenRegions.empty(len(self.classes)),
            )  # fmt: skip
        twice = self.second.decision.looks_twice(first.any_threat)
        regions, boxes = self.second.regions(self.network, seen, twice, originals)
        both = self.second.decision.decide(first, regions)
        return Explanation(
            **of_first, ranking=both.ranking, log_gated=both.log_gated, any_threat=both.any_threat, looked_twice=twice,
            second_look=both.second,
            regions=SeenRegions(
                regions.image, boxes, regions.logits, both.region_log_odds, regions.losses, both.region_gate_score
            ),
        )  # fmt: skip

    def evidence(
        self, image: Pixels, original: Original, seen: Explanation, number: int, columns: Sequence[int]
    ) -> npt.NDArray[np.float64]:
        """Evidence for k classes at each place of one image: its highest place is where a class is said to be.

        Of an image with one look it is `gbad.phase1_classifier.class_heatmaps`. In an image that was looked at twice, a
        class is sought in the region that speaks most for it: of several places that stand out, that one has been
        looked at and held up. There, positions that were learnt from boxes stay; HiResCAM of the first look gives way
        to that of the second.

        Parameters
        ----------
        image : uint8 array (size, size, 3)
            RGB, at the size that the phases were trained on.
        original : Original
            The same image at the resolution of its file.
        seen : Explanation
            Of this image and others.
        number : int
            Which of them it is.
        columns : sequence of k int
            Of the classes.

        Returns
        -------
        float64 array (k, h, w)
            In [0, 1], at the resolution of the first look's finest map, and blurred; the cells cover the whole image.

        Raises
        ------
        ImageError
            If the image cannot be decoded at the resolution of its file.
        """
        if not len(columns):
            return np.empty((0, 1, 1))
        maps = np.array([smooth(one) for one in class_heatmaps(self.network, image[None], [*columns])[0]])
        regions = seen.regions.of(number)
        if self.second is not None and len(regions):
            boxes = seen.regions.boxes[regions[seen.regions.log_odds[regions][:, [*columns]].argmax(0)]]
            maps = np.array([within(one, box) for one, box in zip(maps, boxes, strict=True)])
            if not knows_positions(self.network):
                again = self.second.evidence(original, boxes, columns, maps.shape[1:])
                maps = np.array([
                    within(smooth(two), box) if two.any() else one
                    for one, two, box in zip(maps, again, boxes, strict=True)
                ])  # fmt: skip
        return maps if knows_positions(self.network) else _scaled(maps)

    def _unfamiliarity(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        known = self.familiarity
        return np.full(len(images), np.nan) if known is None else known.distance(images) / known.threshold

    def try_out(self, size: int) -> None:
        """Score one blank image of a size, both looks, to see that all parts fit together.

        Raises
        ------
        ValueError
            If the scores have another shape than they should, or are not finite.
        Exception
            Whatever parts that do not fit raise.
        """
        blank = np.full((1, size, size, 3), 255, np.uint8)
        originals = [ArrayImage(blank[0])]
        n_classes, names = len(self.classes), self.detectors.loss_names
        with np.errstate(all="ignore"):
            logits, features = predict_batch(self.network, blank, self.views)
            losses = self.detectors.losses(features, logits, blank)
            first = self.decision.decide(logits, features, losses)
            found = {
                "logits": (logits, n_classes), "losses": (losses, len(names)),
                "probabilities": (first.log_gated, n_classes), "score for any threat": (first.any_threat[:, None], 1),
            }  # fmt: skip
            if self.second is not None:
                seen = see(self.network, blank, self.views)
                regions, _ = self.second.regions(self.network, seen, np.ones(1, bool), originals)
                both = self.second.decision.decide(first, regions)
                found |= {
                    "logits of regions": (regions.logits[:1], n_classes),
                    "probabilities after the second look": (both.log_gated, n_classes),
                    "score for any threat after the second look": (both.any_threat[:, None], 1),
                }
        for what, (values, columns) in found.items():
            if values.shape != (1, columns) or not np.isfinite(values).all():
                raise ValueError(f"{what} of a blank image: {values.tolist()}, not {columns} finite numbers")

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        return {
            "classes": list(self.classes),
            "classifier": self.classifier,
            "detectors": self.detectors.to_plain(),
            "decision": self.decision.to_plain(),
            "second": None if self.second is None else self.second.to_plain(),
            "training": self.training,
            "held_out": None if self.held_out is None else self.held_out.to_plain(),
            "familiarity": None if self.familiarity is None else self.familiarity.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], settings: Settings) -> Self:
        """Rebuild the fitted phases; the inverse of `to_plain`."""
        second = plain["second"]
        held_out, familiarity = plain.get("held_out"), plain.get("familiarity")  # which older files lack
        return cls(
            tuple(plain["classes"]), plain["classifier"], Detectors.from_plain(plain["detectors"]),
            Decision.from_plain(plain["decision"]),
            None if second is None else FittedSecondLook.from_plain(second, settings.device), plain["training"],
            settings.views, settings.device, None if held_out is None else HeldOut.from_plain(held_out),
            None if familiarity is None else Familiarity.from_plain(familiarity),
        )  # fmt: skip

    @classmethod
    def from_run(cls, run: Path, data: TrainingSet, settings: Settings) -> Self:
        """Read the three phases from a run folder in which they are done."""
        folders = {f"phase{phase}": run / f"phase{phase}" for phase in (1, 2, 3)}
        decision, of_second = load_second_decision(run), None
        if settings.second_look and decision is not None:
            folders["second_look"] = run / "second_look"
            of_second = FittedSecondLook(load_region_model(run, data, settings), decision, settings.device)
        return cls(
            data.classes, classifier_state(load_classifier(run)), load_detectors(run), load_decision(run), of_second,
            {name: _without_seconds(read_sealed(folder / "done.json")) for name, folder in folders.items()},
            settings.views, settings.device, load_held_out(run), load_familiarity(run),
        )  # fmt: skip


def _scaled(maps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Maps (k, h, w) with the maximum 1; those that are all zero stay."""
    most = maps.max((1, 2), keepdims=True, initial=0.0)
    return np.asarray(np.divide(maps, most, out=maps, where=most > 0))


def _without_seconds(done: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in done.items() if name != "seconds"}
