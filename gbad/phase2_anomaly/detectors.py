"""The fitted phase 2, as one object: a detector on features, and an image-level detector if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.phase2_anomaly.catalogue import FEATURE_DETECTORS, IMAGE_DETECTORS, name_of
from gbad.phase2_anomaly.features.bigan import BiGANDetector
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector

Float = npt.NDArray[np.floating[Any]]

IMAGE_LOSS = "image_anomaly"
"""Name of the loss that an image-level detector adds."""


@dataclass(frozen=True, eq=False)
class Detectors:
    """The fitted phase 2.

    Attributes
    ----------
    of_features : BiGANDetector or FeatureDetector
        Looks at the features and predictions of phase 1.
    of_images : ImageAnomalyDetector or None
        Looks at the images.
    """

    of_features: BiGANDetector | FeatureDetector
    of_images: ImageAnomalyDetector[Any] | None = None

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the k losses."""
        return (*self.of_features.loss_names, *(() if self.of_images is None else (IMAGE_LOSS,)))

    def losses(self, features: Float, logits: Float, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Losses of n images, float64 (n, k), 0 or larger.

        Parameters
        ----------
        features : float32 array (n, D)
            Of phase 1.
        logits : float array (n, C)
            Of phase 1.
        images : uint8 array (n, H, W, 3)
            At the pipeline's size.
        """
        losses = self.of_features.losses(detector_input(features, logits))
        return losses if self.of_images is None else np.hstack([losses, image_loss(self.of_images, images)])

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        images = None if self.of_images is None else detector_to_plain(self.of_images)
        return {"features": detector_to_plain(self.of_features), "images": images}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild detectors; the inverse of `to_plain`."""
        images = None if plain["images"] is None else detector_from_plain(plain["images"])
        return cls(detector_from_plain(plain["features"]), images)


def detector_input(features: Float, logits: Float) -> npt.NDArray[np.float32]:
    """Rows for a detector of features: features of FC1 to FC4 ⧺ predicted probabilities, float32 (n, D + C)."""
    return np.concatenate([features, sigmoid(logits).astype(np.float32)], axis=1)


def sigmoid(logits: Float) -> npt.NDArray[np.float64]:
    """Probabilities of logits in float64, without overflow."""
    probabilities: npt.NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))
    return probabilities


def image_loss(detector: ImageAnomalyDetector[Any], images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Anomaly by an image-level detector as one more loss, float64 (n, 1), 0 or larger.

    0 is the most normal of the images that set the detector's range, 1 the least normal.
    """
    return np.maximum(detector.anomaly_score(images), 0.0)[:, None]


def detector_to_plain(detector: Any) -> dict[str, Any]:
    """Describe a fitted detector of either kind by plain data."""
    return {"kind": name_of(detector), "params": detector.get_params(), "arrays": detector.get_arrays()}


def detector_from_plain(plain: Mapping[str, Any]) -> Any:
    """Rebuild a detector; the inverse of `detector_to_plain`."""
    known = {**FEATURE_DETECTORS, **IMAGE_DETECTORS}
    return known[plain["kind"]].from_arrays(plain["params"], plain["arrays"])
