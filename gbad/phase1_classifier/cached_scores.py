"""Score cached images during training: average precision on the validation rows, hardness of negatives."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Labels, Rows
from gbad.data.cache import DecodedCache
from gbad.data.transforms import middle
from gbad.errors import DivergedError
from gbad.evaluation.metrics import average_precision_per_class
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.prediction import predict_batch
from gbad.runtime.progress import progress_bar

_TOGETHER = 64  # images that are classified at a time


def cached_average_precision(
    model: Classifier,
    cache: DecodedCache,
    labels: Labels,
    rows: Rows,
    classes: tuple[str, ...],
    size: int | None = None,
) -> dict[str, float]:
    """Average precision per class on cached rows; NaN for all classes if there are no rows.

    Parameters
    ----------
    model : Classifier
        It is put into evaluation mode.
    cache : DecodedCache
    labels : uint8 array (n, C)
        Labels of the whole list; `UNKNOWN` counts as absent.
    rows : int array (k,)
        Rows of the list; those that cannot be used are left out.
    classes : tuple of str
        Names of the C classes.
    size : int, optional
        Score the middle of the images only, of this side in pixels.

    Raises
    ------
    DivergedError
        If a logit is not finite.
    """
    model.eval()
    rows = cache.fill(rows)
    if not len(rows):
        return dict.fromkeys(classes, math.nan)
    chunks = [_logits(model, cache, rows[i : i + _TOGETHER], size) for i in range(0, len(rows), _TOGETHER)]
    logits = np.concatenate(chunks)
    if not np.isfinite(logits).all():
        raise DivergedError("logits of validation images are not finite")
    return average_precision_per_class((labels[rows] == 1).astype(np.uint8), logits, classes)


def highest_logits(
    model: Classifier, cache: DecodedCache, size: int | None, title: str, show_progress: bool, rows: Rows
) -> npt.NDArray[np.float64]:
    """Highest logit of any class, float64 (k,) for rows (k,); minus infinity for images that cannot be used.

    The model is put into evaluation mode. `size` as in `cached_average_precision`; `title` of the training.
    """
    model.eval()
    scores = np.full(len(rows), -np.inf)
    with progress_bar(f"{title}, looking for hard negatives", len(rows), show=show_progress) as advance:
        for start in range(0, len(rows), _TOGETHER):
            batch = rows[start : start + _TOGETHER]
            usable = np.isin(batch, cache.fill(batch))
            if usable.any():
                scores[start : start + _TOGETHER][usable] = _logits(model, cache, batch[usable], size).max(1)
            advance(len(batch))
    return scores


def _logits(model: Classifier, cache: DecodedCache, rows: Rows, size: int | None) -> npt.NDArray[np.float64]:
    return predict_batch(model, np.ascontiguousarray(middle(cache[rows], size)))[0]
