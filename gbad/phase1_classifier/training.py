"""Train the classifier of phase 1; checkpoint after each epoch, continue where a killed run stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DataLoaderConfiguration, DistributedType, broadcast_object_list
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from gbad.data.boxes import Boxes, padded_boxes
from gbad.data.cache import DecodedCache
from gbad.data.transforms import AUGMENTATIONS, apply_views, draw_views
from gbad.errors import DivergedError, GbadError
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase1_classifier.architectures import Classifier, classifier_from_state, classifier_state
from gbad.phase1_classifier.backbones import backbone
from gbad.phase1_classifier.checkpoints import load_checkpoint, save_checkpoint
from gbad.phase1_classifier.features import predict_batch
from gbad.phase1_classifier.sampling import epoch_rows
from gbad.runtime.device import chosen_device
from gbad.runtime.progress import progress_bar
from gbad.runtime.randomness import derived_seed, torch_generator

_log = logging.getLogger(__name__)

OPTIMISERS = ("sgd", "adamw")


def train_classifier(
    model: Classifier,
    cache: DecodedCache,
    labels: np.ndarray,
    training_rows: np.ndarray,
    validation_rows: np.ndarray,
    classes: tuple[str, ...],
    folder: str | Path,
    *,
    boxes: Boxes | None = None,
    epochs: int = 15,
    batch_size: int = 32,
    optimiser: str = "sgd",
    learning_rate: float = 0.01,
    weight_decay: float = 1e-4,
    ema_decay: float = 0.999,
    negatives: str = "fixed",
    augmentation: str = "standard",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    show_progress: bool = False,
) -> tuple[Classifier, pd.DataFrame]:
    """Minimise the classifier's loss on the epochs' rows; give the exponential moving average of the weights.

    Under ``accelerate launch`` each process takes its share of every batch.

    Parameters
    ----------
    model : Classifier
        From `build_classifier`.
    cache : DecodedCache
        Images of the whole training list.
    labels : uint8 array (n, C)
        Labels of the whole training list.
    training_rows, validation_rows : int array
        Rows to train on, and rows to report average precision on after each epoch. No choice depends on the latter.
    classes : tuple of str
        For the report.
    folder : path-like
        Holds ``checkpoint-<epoch>.pt`` and ``history.csv``. Training continues from the checkpoint found there.
    boxes : Boxes, optional
        Where threats are, by row of the list: for a classifier with a ``position_weight``, which needs them.
    epochs : int
        Passes over the rows that `epoch_rows` draws.
    batch_size : int
        Images per optimiser step, over all processes.
    optimiser : {"sgd", "adamw"}
        SGD has momentum 0.9. The rate rises over the first 5 % of the steps, then falls along a half cosine.
    learning_rate, weight_decay : float
        At the rate's peak.
    ema_decay : float
        Of the moving average, per step; shorter at the start, so that the initial weights are forgotten.
    negatives : {"fixed", "fresh", "hard", "natural", "all"}
        See `epoch_rows`.
    augmentation : {"standard", "strong"}
        How freely views are drawn, see `gbad.data.transforms.AUGMENTATIONS`.
    precision : {"auto", "no", "bf16", "fp16"}
        Of the arithmetic in training; weights and scores stay in float32. ``"auto"``: bf16 where it is faster.
    device : {"auto", "cpu"}
        ``"auto"``: whatever accelerate finds.
    seed : int
        Rows, order and augmentation depend on it and on the epoch alone (``"hard"`` rows also on the moving average of
        the weights, which checkpoints hold), so a continued run equals an unbroken one.

    Returns
    -------
    model : Classifier
        The averaged weights, on the CPU, in evaluation mode.
    history : DataFrame
        One row per epoch: epoch, loss, validation_map, learning_rate, images, seconds.

    Raises
    ------
    DivergedError
        If loss, weights or logits are no longer finite.
    RunError
        If the checkpoint cannot be read.
    GbadError
        If an option is unknown, or boxes are missing or of no use.
    """
    if optimiser not in OPTIMISERS:
        raise GbadError(f"unknown optimiser {optimiser!r}; choose one of {', '.join(OPTIMISERS)}")
    if augmentation not in AUGMENTATIONS:
        raise GbadError(f"unknown augmentation {augmentation!r}; choose one of {', '.join(AUGMENTATIONS)}")
    if bool(model.spec.get("position_weight")) != (boxes is not None):
        raise GbadError("boxes and a position_weight above 0 need each other: give both or neither")
    folder = Path(folder)
    positive = np.asarray(labels.any(1))
    accelerator = _accelerator(model.spec["backbone_name"], precision, device)
    show_progress = show_progress and accelerator.is_main_process
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Fused: one pass over each weight; the plain AdamW takes a fifth of a step of a small network on a CPU.
    optimizer: torch.optim.Optimizer
    if optimiser == "sgd":
        optimizer = torch.optim.SGD(parameters, learning_rate, momentum=0.9, weight_decay=weight_decay, fused=True)
    else:
        optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=True)
    model = model.to(memory_format=torch.channels_last)
    ema = AveragedModel(model, multi_avg_fn=_ema_update(ema_decay), use_buffers=True).to(accelerator.device)
    trained, optimizer = accelerator.prepare(_Loss(model), optimizer)

    start, history = load_checkpoint(accelerator, trained, optimizer, ema, folder)
    for epoch in range(start, epochs):
        begun = time.monotonic()
        hardness = None
        if epoch >= epochs // 2:  # before, the classifier knows too little to tell what is hard
            hardness = partial(_highest_logit, cast(Classifier, ema.module), cache, show_progress)
        draw = partial(
            epoch_rows, positive, training_rows, negatives=negatives, seed=seed, epoch=epoch, hardness=hardness
        )
        rows = _shared_rows(accelerator, cache, draw, show_progress)
        dataset = _Batches(cache, labels, boxes, augmentation, derived_seed(seed, "augmentation", epoch))
        loader = _loader(accelerator, dataset, rows, batch_size)
        steps = len(loader)
        trained.train()
        total = torch.zeros((), device=accelerator.device)
        with progress_bar(f"phase 1, epoch {epoch + 1}/{epochs}", len(rows), show=show_progress) as advance:
            for step, batch in enumerate(loader):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * _schedule((epoch * steps + step) / (epochs * steps))
                loss = trained(*batch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                ema.update_parameters(accelerator.unwrap_model(trained).model)
                total += loss.detach() / steps
                advance(accelerator.num_processes * len(batch[0]))
        mean_loss = float(accelerator.reduce(total, "mean"))
        try:
            _check_finite(mean_loss, ema.module)
            per_class = evaluate_rows(cast(Classifier, ema.module), cache, labels, validation_rows, classes)
        except DivergedError as error:
            raise DivergedError(
                f"phase 1: {error} in epoch {epoch + 1}. In another run folder, try a smaller --learning-rate "
                f"(now {learning_rate}) or --precision no (now {accelerator.mixed_precision}). "
                "This one keeps the last finite epoch."
            ) from error
        row = {
            "epoch": epoch + 1, "loss": mean_loss, "validation_map": mean_average_precision(per_class),
            "learning_rate": optimizer.param_groups[0]["lr"], "images": len(rows), "seconds": time.monotonic() - begun,
        }  # fmt: skip
        history = pd.concat([history, pd.DataFrame([row])], ignore_index=True)
        _log.info("epoch %d/%d: loss %.4f, validation mAP %.3f", epoch + 1, epochs, mean_loss, row["validation_map"])
        save_checkpoint(accelerator, trained, optimizer, ema, folder, history)
    result = classifier_from_state(classifier_state(cast(Classifier, ema.module)))
    accelerator.free_memory()
    return result, history


def evaluate_rows(
    model: Classifier, cache: DecodedCache, labels: np.ndarray, rows: np.ndarray, classes: tuple[str, ...]
) -> dict[str, float]:
    """Average precision per class on cached rows, 64 images at a time; all missing if there are no rows.

    Raises
    ------
    DivergedError
        If a logit is not finite.
    """
    model.eval()
    rows = cache.fill(rows)
    if not len(rows):
        return dict.fromkeys(classes, math.nan)
    chunks = [predict_batch(model, cache[rows[i : i + 64]])[0] for i in range(0, len(rows), 64)]
    logits = np.concatenate(chunks)
    if not np.isfinite(logits).all():
        raise DivergedError("logits of validation images are not finite")
    return average_precision_per_class(labels[rows], logits, classes)


def _check_finite(loss: float, model: nn.Module) -> None:
    """DivergedError if the loss is not finite, or the weights: those of an epoch's last step are in no loss."""
    if not math.isfinite(loss):
        raise DivergedError(f"the loss is {loss}")
    if not all(bool(values.isfinite().all()) for values in model.state_dict().values()):
        raise DivergedError("the weights are not finite")


def _shared_rows(
    accelerator: Accelerator, cache: DecodedCache, draw: Callable[[], np.ndarray], show_progress: bool
) -> np.ndarray:
    """Rows of an epoch that can be used, the same in all processes: the main one draws and decodes them.

    What is hard is its word alone, since each process has batch statistics of its own share of the images.
    """
    drawn = [cache.fill(draw(), show_progress=show_progress) if accelerator.is_main_process else None]
    return cache.fill(broadcast_object_list(drawn)[0])


def _highest_logit(model: Classifier, cache: DecodedCache, show_progress: bool, rows: np.ndarray) -> np.ndarray:
    """Highest logit of any class, float64 (k,) for rows (k,); minus infinity for images that cannot be used."""
    model.eval()
    scores = np.full(len(rows), -np.inf)
    with progress_bar("phase 1, looking for hard negatives", len(rows), show=show_progress) as advance:
        for start in range(0, len(rows), 64):
            batch = rows[start : start + 64]
            usable = np.isin(batch, cache.fill(batch))
            if usable.any():
                scores[start : start + 64][usable] = predict_batch(model, cache[batch[usable]])[0].max(1)
            advance(len(batch))
    return scores


def _accelerator(backbone_name: str, precision: str, device: str) -> Accelerator:
    cpu = chosen_device(device) == "cpu"
    if precision == "auto":
        if cpu:
            fast = backbone(backbone_name).bfloat16_on_cpu and torch.cpu._is_amx_tile_supported()
        else:
            fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast else "no"
    # accelerate keeps its settings for the process; a second training may ask for others. Processes that work together
    # keep their device.
    alone = PartialState._shared_state and PartialState().distributed_type == DistributedType.NO
    if alone and (PartialState().device.type == "cpu") != cpu:
        AcceleratorState._reset_state(reset_partial_state=True)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    return Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        step_scheduler_with_optimizer=False,
    )


def _ema_update(decay: float) -> Callable[[Any, Any, Any], None]:
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + steps) / (10 + steps)))
        else:  # the step counters of batch normalisation
            torch._foreach_copy_(averaged, current)

    return update


def _schedule(share: float, warm_up: float = 0.05) -> float:
    """Relative learning rate after a share of all steps: linear rise, then half a cosine."""
    if share < warm_up:
        return (share + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up)))


class _Loss(nn.Module):
    """A classifier's loss as a forward pass, which is what processes share and lower precision is applied to."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Tensor:
        return self.model.loss(*batch)


class _Batches(Dataset[tuple[Tensor, ...]]):
    """Rows of the cache in random views; a whole batch is read and augmented at once."""

    rows: np.ndarray

    def __init__(
        self, cache: DecodedCache, labels: np.ndarray, boxes: Boxes | None, augmentation: str, seed: int
    ) -> None:
        self.cache, self.labels, self.boxes, self.seed = cache, labels, boxes, seed
        self.freedom = AUGMENTATIONS[augmentation]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, ...]:
        rows = self.rows[indices]
        # The batch's first position seeds its augmentation: no state to carry over a resume or between processes.
        views = draw_views(len(rows), torch_generator(derived_seed(self.seed, indices[0])), **self.freedom)
        batch = apply_views(self.cache[rows], views), torch.from_numpy(self.labels[rows].astype(np.float32))
        if self.boxes is None:
            return batch
        return *batch, torch.from_numpy(padded_boxes(self.boxes, rows)), views.theta


def _loader(
    accelerator: Accelerator, dataset: _Batches, rows: np.ndarray, batch_size: int
) -> DataLoader[tuple[Tensor, ...]]:
    # A last batch of one image has no batch statistics: it is dropped, but never the only batch.
    dataset.rows = rows[: len(rows) - (len(rows) % batch_size == 1 and len(rows) > 1)]
    # The generator keeps the loader from drawing a seed from the process's random numbers.
    generator = torch_generator(dataset.seed)
    loader = DataLoader(dataset, batch_size, collate_fn=lambda batch: batch, generator=generator)
    return accelerator.prepare(loader)
