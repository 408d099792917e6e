"""GBAD fitted: the three phases as one object that scores images, saves itself as plain data and reads run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.explanation import Explanation
from gbad.phase1_classifier import Classifier, classifier_from_state, classifier_state, predict_batch
from gbad.phase2_anomaly.detectors import Detectors, sigmoid
from gbad.phase3_gate import Decision
from gbad.runtime.device import chosen_device
from gbad.storage.files import read_json
from gbad.training.phase1 import load_classifier
from gbad.training.phase2 import load_detectors
from gbad.training.phase3 import load_decision
from gbad.training.settings import Settings


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
    training : mapping
        Per phase, what its ``done.json`` says: seconds, and what it was trained on.
    views : {1, 2, 4}
        Mirrored views of an image whose mean is scored.
    device : {"auto", "cpu"}
        Where the classifier scores.
    """

    classes: tuple[str, ...]
    classifier: Mapping[str, Any]
    detectors: Detectors
    decision: Decision
    training: Mapping[str, Any]
    views: int
    device: str

    @cached_property
    def network(self) -> Classifier:
        """The classifier in evaluation mode, on the device that scores are computed on."""
        return classifier_from_state(dict(self.classifier)).to(chosen_device(self.device))

    def explain(self, images: npt.NDArray[np.uint8]) -> Explanation:
        """Score images through all three phases.

        Parameters
        ----------
        images : uint8 array (n, size, size, 3)
            RGB, at the size that the phases were trained on.
        """
        names = self.detectors.loss_names
        if not len(images):
            return Explanation.empty(len(self.classes), names)
        logits, features = predict_batch(self.network, images, self.views)
        losses = self.detectors.losses(features, logits, images)
        decided = self.decision.decide(logits, features, losses)
        return Explanation(logits=logits, ungated=sigmoid(logits), losses=losses, loss_names=names, **decided._asdict())

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        return {
            "classes": list(self.classes),
            "classifier": self.classifier,
            "detectors": self.detectors.to_plain(),
            "decision": self.decision.to_plain(),
            "training": self.training,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], settings: Settings) -> Self:
        """Rebuild the fitted phases; the inverse of `to_plain`."""
        return cls(
            tuple(plain["classes"]), plain["classifier"], Detectors.from_plain(plain["detectors"]),
            Decision.from_plain(plain["decision"]), plain["training"], settings.views, settings.device,
        )  # fmt: skip

    @classmethod
    def from_run(cls, run: Path, classes: Sequence[str], settings: Settings) -> Self:
        """Read the three phases from a run folder in which they are done."""
        training = {f"phase{phase}": read_json(run / f"phase{phase}" / "done.json") for phase in (1, 2, 3)}
        return cls(
            tuple(classes), classifier_state(load_classifier(run)), load_detectors(run), load_decision(run), training,
            settings.views, settings.device,
        )  # fmt: skip
