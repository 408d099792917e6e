"""Control without a network: how well three plain statistics of the pixels find abnormal images."""

from __future__ import annotations

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.data.arrays import Pixels


def control_scores(train: Pixels, test: Pixels) -> Floats:
    """Squared Mahalanobis distance of the test rows' statistics from those of the training rows.

    A detector that is no better has learnt no more than brightness, contrast and busyness.

    Parameters
    ----------
    train, test : uint8 ndarray of shape (n, s, s, c)
        Normal images to learn from, and images to score.

    Returns
    -------
    float64 ndarray of shape (n,)
        Higher = more abnormal; each row by itself.
    """
    known = _statistics(train)
    mean, covariance = known.mean(0), np.cov(known, rowvar=False)
    scale = 1e-6 * max(float(np.trace(covariance)), 1e-12)  # for images that are all alike
    inverse = np.linalg.inv(covariance + scale * np.eye(len(covariance)))
    away = _statistics(test) - mean
    return np.asarray(np.einsum("ni,ij,nj->n", away, inverse, away))


def _statistics(images: Pixels) -> Floats:
    """Mean, standard deviation and mean total variation of each image's grey values in [0, 1]: (n, 3)."""
    found = np.empty((len(images), 3))
    for row, image in enumerate(images):  # one at a time: the images may be a file on disk
        grey = image.mean(2) / 255
        variation = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
        found[row] = grey.mean(), grey.std(), variation
    return found
