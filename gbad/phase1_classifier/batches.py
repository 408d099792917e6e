"""Batches of training images: rows of the cache in random views, with their labels and boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gbad.data.arrays import UNKNOWN, Labels, Rows
from gbad.data.boxes import Boxes, padded_boxes
from gbad.data.cache import DecodedCache
from gbad.data.transforms import apply_views, draw_views
from gbad.runtime.randomness import derived_seed, torch_generator


def batch_loader(
    cache: DecodedCache,
    labels: Labels,
    boxes: Boxes | None,
    rows: Rows,
    *,
    freedom: Mapping[str, Any],
    seed: int,
    batch_size: int,
    size: int | None = None,
) -> DataLoader[tuple[Tensor, ...]]:
    """Loader of the batches of an epoch, in the order of the rows.

    A batch has images and labels; with boxes, also the boxes and the views: the arguments of `Classifier.loss`. A last
    batch of a single image, which has no batch statistics, is dropped, unless it is the only batch.

    Parameters
    ----------
    cache : DecodedCache
    labels : uint8 array (n, C)
        Labels of the whole list; `UNKNOWN` becomes NaN.
    boxes : Boxes or None
        Boxes of the whole list.
    rows : int array (k,)
        Rows of the list that `cache` holds.
    freedom : mapping
        Options of `gbad.data.transforms.draw_views`.
    seed : int
        Seed of the views.
    batch_size : int
    size : int, optional
        The views show the middle of the images only, see `gbad.data.transforms.apply_views`.
    """
    if len(rows) % batch_size == 1 and len(rows) > 1:
        rows = rows[:-1]
    batches = _Batches(cache, labels, boxes, rows, freedom, seed, size)
    # With a generator of its own, the loader draws no seed from the global random numbers.
    return DataLoader(batches, batch_size, collate_fn=lambda batch: batch, generator=torch_generator(seed))


class _Batches(Dataset[tuple[Tensor, ...]]):
    """Rows of an epoch; a whole batch is read and augmented at once."""

    def __init__(
        self, cache: DecodedCache, labels: Labels, boxes: Boxes | None, rows: Rows, freedom: Mapping[str, Any],
        seed: int, size: int | None,
    ) -> None:  # fmt: skip
        self.cache, self.labels, self.boxes, self.rows, self.seed = cache, labels, boxes, rows, seed
        self.freedom, self.size = freedom, size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, ...]:
        rows = self.rows[indices]
        # The position of the batch seeds its augmentation: a resumed run, or several processes, need no other state.
        views = draw_views(len(rows), torch_generator(derived_seed(self.seed, indices[0])), **self.freedom)
        labels = np.where(self.labels[rows] == UNKNOWN, np.nan, self.labels[rows]).astype(np.float32)
        batch = apply_views(self.cache[rows], views, self.size), torch.from_numpy(labels)
        if self.boxes is None:
            return batch
        return *batch, torch.from_numpy(padded_boxes(self.boxes, rows)), views.theta
