"""Train the networks of an image-level detector: batches, one step for each, checks of the losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gbad.errors import DivergedError
from gbad.phase2_anomaly.epochs import Callback, run_epochs
from gbad.phase2_anomaly.images.rows import even_batches

Optimisers = dict[str, torch.optim.Optimizer]
Step = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Schedule:
    """Length of a training, and the seed of everything random in it."""

    n_rows: int
    n_epochs: int
    """Passes over the rows."""
    batch_size: int
    """Largest batch; an epoch is cut into equal batches of two rows or more, so no row is left out."""
    seed: int


def train_networks(
    networks: nn.Module,
    optimisers: Optimisers,
    step: Step,
    read_batch: Callable[[npt.NDArray[np.int64]], Tensor],
    schedule: Schedule,
    *,
    rate_factor: Callable[[int], float] = lambda epoch: 1.0,
    checkpoint: Path | None = None,
    about: dict[str, Any] | None = None,
    callback: Callback | None = None,
    each_epoch: Callable[[int], object] | None = None,
) -> list[dict[str, float]]:
    """Train `networks` in place.

    Parameters
    ----------
    networks : Module
        Freshly initialised, on the device to train on.
    optimisers : dict of str to Optimizer
        All optimisers that `step` uses.
    step : callable
        ``step(x)`` moves the networks once, given images (b, C, S, S), and returns its losses, detached scalars.
    read_batch : callable
        Gives the images of an index array (b,) as a float32 tensor on the CPU.
    schedule : Schedule
        Length and seed.
    rate_factor : callable
        ``rate_factor(epoch)``, with `epoch` from 0: factor of all learning rates in that epoch.
    checkpoint, callback
        As in `run_epochs`.
    about : dict, optional
        What the checkpoint must agree with besides `schedule`, such as a digest of the images.
    each_epoch : callable, optional
        ``each_epoch(epoch)``, with `epoch` from 1, is called before the epoch's checkpoint is written, so a training
        that continues from a checkpoint misses no call.

    Returns
    -------
    list of dict
        The mean of each loss in each epoch.

    Raises
    ------
    DivergedError
        If a loss is no longer finite.
    GbadError
        If the checkpoint cannot be written.
    RunError
        If `checkpoint` is damaged or belongs to another training.
    """
    device = next(networks.parameters()).device
    first_rates = {name: [group["lr"] for group in of.param_groups] for name, of in optimisers.items()}

    def train_epoch(epoch: int) -> dict[str, float]:
        networks.train()
        for name, optimiser in optimisers.items():
            for group, rate in zip(optimiser.param_groups, first_rates[name], strict=True):
                group["lr"] = rate * rate_factor(epoch)
        batches = even_batches(torch.randperm(schedule.n_rows).numpy(), schedule.batch_size)
        losses = [step(read_batch(rows).to(device)) for rows in batches]
        if each_epoch is not None:
            each_epoch(epoch + 1)
        return {name: float(torch.stack([of[name] for of in losses]).mean()) for name in losses[0]}

    return run_epochs(
        train_epoch,
        schedule.n_epochs,
        seed=schedule.seed,
        device=device,
        parts={"networks": networks} | {f"optimiser of {name}": of for name, of in optimisers.items()},
        check=lambda history: _check_losses(history, schedule, first_rates),
        checkpoint=checkpoint,
        about=asdict(schedule) | (about or {}),
        callback=callback,
    )


def _check_losses(history: list[dict[str, float]], schedule: Schedule, rates: dict[str, list[float]]) -> None:
    if not np.isfinite(list(history[-1].values())).all():
        rate = max(rate for of_one in rates.values() for rate in of_one)
        raise DivergedError(
            f"The training diverged in epoch {len(history)} of {schedule.n_epochs} (losses {history[-1]}). "
            f"Lower learning_rate (now at most {rate:g}), or raise batch_size (now {schedule.batch_size})."
        )
