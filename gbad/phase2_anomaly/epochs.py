"""The loop over epochs that trains all networks of phase 2: own random numbers, checkpoints, progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.errors import RunError
from gbad.runtime.randomness import derived_seed, forked_rng
from gbad.storage.files import atomic_path
from gbad.storage.tensors import load_tensors

Callback = Callable[[int, int, dict[str, float]], object]
"""Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.

`n_epochs` is the most that may come; after the last epoch it is `epoch`, also where training was stopped early.
"""

CHECKPOINT_SECONDS = 30.0
"""A checkpoint is written if the last one is older than this, and after the last epoch."""


def run_epochs(
    train_epoch: Callable[[int], dict[str, float]],
    n_epochs: int,
    *,
    seed: int,
    device: str | torch.device,
    parts: dict[str, Any],
    check: Callable[[list[dict[str, float]]], None],
    enough: Callable[[list[dict[str, float]]], bool] = lambda history: False,
    checkpoint: Path | None = None,
    about: dict[str, Any] | None = None,
    callback: Callback | None = None,
) -> list[dict[str, float]]:
    """Train for `n_epochs`, or until it is enough; continue from `checkpoint` if it exists.

    Parameters
    ----------
    train_epoch : callable
        ``train_epoch(epoch)``, with `epoch` from 0, trains for one epoch and returns the mean of each loss.
    n_epochs : int
        Largest length of the training.
    seed : int
        PyTorch's default generators are seeded from it in each epoch, and restored afterwards.
    device : str or torch.device
        Where the training draws random numbers.
    parts : dict of str to Module or Optimizer
        Everything that training changes: networks and optimisers.
    check : callable
        Called after each epoch with all losses so far; raises an error if the training has gone wrong.
    enough : callable
        Called after each epoch with all losses so far, on which alone the answer depends; true stops the training.
    checkpoint : Path, optional
        File to continue from if it exists, and to write to now and then.
    about : dict, optional
        Everything that decides the trained weights; a checkpoint must agree with it.
    callback : Callback, optional
        Told the losses of each epoch.

    Returns
    -------
    list of dict
        The losses of each epoch.

    Raises
    ------
    RunError
        If `checkpoint` is damaged or belongs to another training.
    GbadError
        If `checkpoint` cannot be written, or `check` raises it.
    """
    about = _plain(about or {})
    history: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        history = _load_checkpoint(checkpoint, about, parts)
    saved = time.monotonic()
    last = len(history) >= n_epochs or (bool(history) and enough(history))
    while not last:
        epoch = len(history)
        # Each epoch has its own seed, so a checkpoint holds no state of random generators.
        with forked_rng(derived_seed(seed, "epoch", epoch), device):
            history.append(train_epoch(epoch))
        check(history)
        last = epoch + 1 == n_epochs or enough(history)
        if checkpoint is not None and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
            _save_checkpoint(checkpoint, about, parts, history)
            saved = time.monotonic()
        if callback is not None:
            callback(epoch + 1, epoch + 1 if last else n_epochs, history[-1])
    return history


def _plain(value: Any) -> Any:
    """Turn tuples into lists, numbers of NumPy into Python's, and paths into text.

    Checkpoints are read with ``weights_only``, which refuses all other classes.
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def _save_checkpoint(path: Path, about: dict[str, Any], parts: dict[str, Any], history: list[dict[str, float]]) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary:
        torch.save({"about": about, "history": history, "states": states}, temporary)


def _load_checkpoint(path: Path, about: dict[str, Any], parts: dict[str, Any]) -> list[dict[str, float]]:
    try:
        content = load_tensors(path)
        found: dict[str, Any] = content["about"]
        history: list[dict[str, float]] = content["history"]
        states: dict[str, Any] = content["states"]
    except Exception as error:
        raise RunError(f"{path}: not a readable checkpoint ({error}). Delete it to train from the start.") from error
    different = [
        f"{name} was {found.get(name)!r} and is {about.get(name)!r}"
        for name in sorted(found | about)
        if found.get(name) != about.get(name)
    ]
    if different:
        raise RunError(
            f"{path}: belongs to another training: {'; '.join(different)}. Delete it or choose another path."
        )
    for name, part in parts.items():
        part.load_state_dict(states[name])
    return history
