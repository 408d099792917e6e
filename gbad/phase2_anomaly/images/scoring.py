"""Run networks over many images, batch by batch, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.images.rows import ImageRows, fixed_chunks

Real = TypeVar("Real", np.float32, np.float64)

Parts = TypeVar("Parts", Tensor, Floats)

Judge = Callable[[Tensor], Tensor]
"""From a batch of images (b, C, S, S) in [-1, 1] to a result for each: (b, ...)."""


def weighted_sum(parts: Parts, weights: Sequence[float]) -> Parts:
    """Add up the parts of a score: (n, p) and p weights -> (n,)."""
    total: Parts = weights[0] * parts[:, 0]
    for column, weight in enumerate(weights[1:], 1):
        total = total + weight * parts[:, column]
    return total


def judge_in_chunks(
    judge: Judge,
    images: ImageRows,
    chunk: int,
    device: str,
    dtype: type[Real],
    rows: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Real]:
    """Judge images in chunks of one size, the last one filled up: a float32 result may depend on the size of the batch.

    Parameters
    ----------
    judge : callable
        Networks in eval mode.
    images : ImageRows
        n images.
    chunk : int
        Images that are judged together.
    device : str
        Where the networks are.
    dtype : type
        Of the result, float32 or float64: maps of many images are large.
    rows : ndarray of int, optional
        Images to judge; by default all, in order.

    Returns
    -------
    ndarray of shape (n or len(rows), ...)
    """
    rows = np.arange(len(images)) if rows is None else rows
    with torch.no_grad():
        results = [
            judge(images.read(part).to(device))[:used].cpu().numpy().astype(dtype)
            for part, used in fixed_chunks(rows, chunk)
        ]
    return np.concatenate(results)


def judge_in_batches(
    judge: Judge, images: ImageRows, batch_size: int, device: str, order: npt.NDArray[np.int64] | None = None
) -> Floats:
    """Judge images in batches as published code does. The last batch is smaller, but never a single image.

    A single last image joins the batch before it: networks in train mode normalise with the statistics of a batch, for
    which one image is too few. Parameters and result are those of `judge_in_chunks`; images fill the batches in the
    order of `order`, a permutation of their rows, and the result is in the order of the rows.
    """
    order = np.arange(len(images)) if order is None else order
    cuts = [cut for cut in range(batch_size, len(images), batch_size) if cut < len(images) - 1]
    with torch.no_grad():
        results = [judge(images.read(rows).to(device)).cpu().double().numpy() for rows in np.split(order, cuts)]
    return np.concatenate(results)[np.argsort(order)]
