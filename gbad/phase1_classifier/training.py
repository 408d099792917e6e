"""Train the classifier of phase 1; checkpoint after each epoch, continue where a killed run stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gbad.data.arrays import Labels, Rows
from gbad.data.boxes import Boxes
from gbad.data.cache import DecodedCache
from gbad.errors import DivergedError, GbadError
from gbad.evaluation.metrics import mean_average_precision
from gbad.phase1_classifier.architectures import classifier_from_state, classifier_state
from gbad.phase1_classifier.batches import batch_loader
from gbad.phase1_classifier.cached_scores import cached_average_precision, highest_logits
from gbad.phase1_classifier.checkpoints import load_checkpoint, save_checkpoint
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.optimisation import WeightAverage, build_optimiser, relative_rate
from gbad.phase1_classifier.processes import build_accelerator, shared_rows
from gbad.phase1_classifier.sampling import epoch_rows
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed

_log = logging.getLogger(__name__)

OPTIMISERS = ("sgd", "adamw")


def train_classifier(
    model: Classifier,
    cache: DecodedCache,
    labels: Labels,
    training_rows: Rows,
    validation_rows: Rows,
    classes: tuple[str, ...],
    folder: str | Path,
    *,
    boxes: Boxes | None,
    epochs: int,
    batch_size: int,
    optimiser: str,
    learning_rate: float,
    weight_decay: float,
    ema_decay: float,
    negatives: str,
    freedom: Mapping[str, Any],
    precision: str,
    device: str,
    seed: int,
    negatives_per_positive: int = 1,
    size: int | None = None,
    title: str = "phase 1",
    show_progress: bool = False,
) -> tuple[Classifier, pd.DataFrame]:
    """Minimise the classifier's loss on the epochs' rows; give the exponential moving average of the weights.

    Under ``accelerate launch``, each process takes its share of every batch.

    Parameters
    ----------
    model : Classifier
        From `build_classifier`.
    cache : DecodedCache
        Images of the whole training list.
    labels : uint8 array (n, C)
        Labels of the whole training list; places that are `UNKNOWN` have no part in the loss.
    training_rows, validation_rows : int array
        Rows to train on, and rows whose average precision is reported after each epoch. No choice depends on the
        validation rows.
    classes : tuple of str
        Names of the C classes, for the report.
    folder : path-like
        Holds ``checkpoint-<epoch>.pt`` and ``history.csv``. Training continues from the checkpoint found there.
    boxes : Boxes or None
        Where threats are, by row of the list: for a classifier with a ``position_weight``, which needs them.
    epochs : int
        Passes over the rows that `epoch_rows` draws.
    batch_size : int
        Images per optimiser step, over all processes.
    optimiser : {"sgd", "adamw"}
        SGD has momentum 0.9. The rate rises over the first 5 % of the steps, then falls along a half cosine.
    learning_rate : float
        Peak of the rate.
    weight_decay : float
    ema_decay : float
        Decay of the moving average, per step; see `WeightAverage`.
    negatives : {"fixed", "fresh", "hard", "natural", "all"}
        See `epoch_rows`.
    freedom : mapping
        How freely views are drawn: options of `gbad.data.transforms.draw_views`.
    precision : {"auto", "no", "bf16", "fp16"}
        Precision of the arithmetic in training; weights and scores stay in float32. ``"auto"``: bf16 where it is
        faster.
    device : {"auto", "cpu"}
        ``"auto"``: the accelerator of this machine, if it has one.
    seed : int
        Rows, order and augmentation depend only on the seed and the epoch (``"hard"`` rows also on the moving average
        of the weights, which checkpoints hold). A continued run therefore equals an unbroken one.
    negatives_per_positive : int
        See `epoch_rows`.
    size : int, optional
        Side in pixels of what the classifier sees: the middle of the images in the cache. Default: all of them.
    title : str
        Of the progress bars.
    show_progress : bool
        Show progress bars.

    Returns
    -------
    model : Classifier
        The averaged weights, on the CPU, in evaluation mode.
    history : DataFrame
        One row per epoch: epoch, loss, validation_map (NaN without validation rows), learning_rate, images, seconds.

    Raises
    ------
    DivergedError
        If loss, weights or logits are no longer finite.
    RunError
        If the checkpoint cannot be read.
    GbadError
        If an option is unknown, or if only one of boxes and ``position_weight`` is given.
    """
    if optimiser not in OPTIMISERS:
        raise GbadError(f"unknown optimiser {optimiser!r}; choose one of {', '.join(OPTIMISERS)}")
    if bool(model.spec.get("position_weight")) != (boxes is not None):
        raise GbadError("boxes and a position_weight above 0 need each other: give both or neither")
    folder = Path(folder)
    positive = np.asarray((labels == 1).any(1))
    accelerator = build_accelerator(model.spec["backbone_name"], precision, device)
    show_progress = show_progress and accelerator.is_main_process
    model = model.to(memory_format=torch.channels_last)
    optimizer = build_optimiser(optimiser, model.parameters(), learning_rate=learning_rate, weight_decay=weight_decay)
    average = WeightAverage(model, ema_decay).to(accelerator.device)
    trained, optimizer = accelerator.prepare(_Loss(model), optimizer)

    start, history = load_checkpoint(accelerator, trained, optimizer, average, folder)
    for epoch in range(start, epochs):
        begun = time.monotonic()
        hardness = None
        if epoch >= epochs // 2:  # in the first half, the classifier cannot tell yet which images are hard
            hardness = partial(highest_logits, average.module, cache, size, title, show_progress)
        draw = partial(
            epoch_rows, positive, training_rows, negatives=negatives, seed=seed, epoch=epoch,
            negatives_per_positive=negatives_per_positive, hardness=hardness,
        )  # fmt: skip
        rows = shared_rows(accelerator, cache, draw, show_progress=show_progress)
        loader = accelerator.prepare(
            batch_loader(
                cache, labels, boxes, rows, freedom=freedom, seed=derived_seed(seed, "augmentation", epoch),
                batch_size=batch_size, size=size,
            )
        )  # fmt: skip
        trained.train()
        total = torch.zeros((), device=accelerator.device)
        with progress_bar(f"{title}, epoch {epoch + 1}/{epochs}", len(rows), show=show_progress) as advance:
            for step, batch in enumerate(loader):
                done = (epoch * len(loader) + step) / (epochs * len(loader))
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * relative_rate(done)
                loss = trained(*batch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                average.update_parameters(accelerator.unwrap_model(trained).model)
                total += loss.detach() / len(loader)
                advance(accelerator.num_processes * len(batch[0]))
        mean_loss = float(accelerator.reduce(total, "mean"))
        try:
            _check_finite(mean_loss, average.module)
            per_class = cached_average_precision(average.module, cache, labels, validation_rows, classes, size)
        except DivergedError as error:
            raise DivergedError(
                f"{title}: {error} in epoch {epoch + 1}. In another run folder, try a smaller learning_rate "
                f"(now {learning_rate}) or precision 'no' (now {accelerator.mixed_precision!r}). "
                "This run folder keeps the last finite epoch.",
                settings=("learning_rate", "precision"),
            ) from error
        row = {
            "epoch": epoch + 1, "loss": mean_loss, "validation_map": mean_average_precision(per_class),
            "learning_rate": optimizer.param_groups[0]["lr"], "images": len(rows), "seconds": time.monotonic() - begun,
        }  # fmt: skip
        history = pd.concat([history, pd.DataFrame([row])], ignore_index=True)
        held_out = f", validation mAP {row['validation_map']:.3f}" if len(validation_rows) else ""
        _log.info("epoch %d/%d: loss %.4f%s", epoch + 1, epochs, mean_loss, held_out)
        save_checkpoint(accelerator, trained, optimizer, average, folder, history)
    result = classifier_from_state(classifier_state(average.module))
    accelerator.free_memory()
    return result, history


def _check_finite(loss: float, model: nn.Module) -> None:
    """DivergedError if the loss or the weights are not finite; no loss shows the weights after an epoch's last step."""
    if not math.isfinite(loss):
        raise DivergedError(f"the loss is {loss}")
    if not all(bool(values.isfinite().all()) for values in model.state_dict().values()):
        raise DivergedError("the weights are not finite")


class _Loss(nn.Module):
    """A classifier's loss as a forward pass, which accelerate shares among processes and runs in lower precision."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Tensor:
        return self.model.loss(*batch)
