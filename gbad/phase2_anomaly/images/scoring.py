"""Run networks over many images, batch by batch, without gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gbad.phase2_anomaly.images.rows import ImageRows, fixed_chunks

Judge = Callable[[Tensor], Tensor]
"""From a batch of images (b, C, S, S) in [-1, 1] to a result for each: (b, ...)."""


def judge_in_chunks(
    judge: Judge,
    images: ImageRows,
    chunk: int,
    device: str,
    rows: np.ndarray | None = None,
    dtype: type[np.floating] = np.float64,
) -> np.ndarray:
    """Judge images in chunks of one size, the last one filled up: a float32 result may depend on the batch's size.

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
    rows : ndarray of int, optional
        Images to judge; default: all, in order.
    dtype : type
        Of the result: maps of many images are large.

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
    judge: Judge, images: ImageRows, batch_size: int, device: str, order: np.ndarray | None = None
) -> np.ndarray:
    """Judge images in batches as published code does: the last one is smaller, or larger by one instead of alone.

    Networks in train mode normalise with the statistics of a batch, for which one image is too few. Parameters and
    result are those of `judge_in_chunks`; images fill the batches in the order of `order`, a permutation of their rows,
    and the result is in the order of the rows.
    """
    order = np.arange(len(images)) if order is None else order
    cuts = [cut for cut in range(batch_size, len(images), batch_size) if cut < len(images) - 1]
    with torch.no_grad():
        results = [judge(images.read(rows).to(device)).cpu().double().numpy() for rows in np.split(order, cuts)]
    return np.concatenate(results)[np.argsort(order)]
