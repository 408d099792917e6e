"""The ranges of the hyperparameters that all image-level detectors have."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from sklearn.utils import check_scalar

if TYPE_CHECKING:
    from gbad.phase2_anomaly.image_detector import ImageAnomalyDetector


def check_common_parameters(detector: ImageAnomalyDetector[Any]) -> None:
    """Raise ValueError or TypeError for a hyperparameter of `ImageAnomalyDetector` that is out of its range."""
    if detector.image_size not in (32, 64, 128, 256):
        raise ValueError(f"image_size must be 32, 64, 128 or 256, got {detector.image_size!r}.")
    if detector.channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1, 3 or None (as the training images), got {detector.channels!r}.")
    check_scalar(detector.epochs, "epochs", numbers.Integral, min_val=1)
    check_scalar(detector.batch_size, "batch_size", numbers.Integral, min_val=2)
    check_scalar(detector.calibration_images, "calibration_images", numbers.Integral, min_val=1)
    check_scalar(detector.learning_rate, "learning_rate", numbers.Real, min_val=0.0, include_boundaries="neither")
    check_scalar(detector.beta1, "beta1", numbers.Real, min_val=0.0, max_val=1.0, include_boundaries="left")
    check_scalar(
        detector.contamination, "contamination", numbers.Real, min_val=0.0, max_val=0.5, include_boundaries="right"
    )
