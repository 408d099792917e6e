"""What a detector costs: parameters, and milliseconds an image."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from gbad.data.arrays import Pixels
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector

BATCHES = (1, 64)
_REPEATS = 10
_SECONDS = 2.0


def inference_parameters(detector: ImageAnomalyDetector[Any], images: Pixels) -> int:
    """Count the parameters of those layers that are called to score images.

    Networks that only training needs, such as the discriminator of an autoencoder that is scored by its
    reconstruction, do not count.

    Parameters
    ----------
    detector : ImageAnomalyDetector
        Fitted.
    images : uint8 ndarray
        One image or more.
    """
    used: dict[int, nn.Parameter] = {}

    def remember(module: nn.Module, _: object) -> None:
        used.update((id(parameter), parameter) for parameter in module.parameters(recurse=False))

    hook = register_module_forward_pre_hook(remember)
    try:
        detector.score_samples(images)
    finally:
        hook.remove()
    return sum(parameter.numel() for parameter in used.values())


def milliseconds_per_image(detector: ImageAnomalyDetector[Any], images: Pixels, batch: int) -> float:
    """Time to score decoded images with networks that are built, median of up to ten repeats within about two seconds.

    The networks see `batch` images at a time, no filling: one at a time is what a scanner's operator waits for.

    Parameters
    ----------
    detector : ImageAnomalyDetector
        Fitted.
    images : uint8 ndarray
        One image or more; repeated if there are fewer than `batch`.
    batch : int
        Images that are scored together.
    """
    images = np.resize(images, (batch, *images.shape[1:]))
    score = detector.prepared_scorer(batch)
    score(images)  # the first call sets up what later ones reuse
    seconds: list[float] = []
    while not seconds or (len(seconds) < _REPEATS and sum(seconds) < _SECONDS):
        start = time.perf_counter()
        score(images)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / batch
