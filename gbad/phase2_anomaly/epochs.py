"""The loop over epochs that all networks of phase 2 are trained in: own random numbers, checkpoints, progress."""

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

Callback = Callable[[int, int, dict[str, float]], object]
"""Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1."""

EachEpoch = Callable[[int, Callable[..., np.ndarray]], object]
"""Called as ``each_epoch(epoch, paper_scores)`` before an epoch's checkpoint is written; `epoch` is from 1."""

_CHECKPOINT_SECONDS = 30.0


def run_epochs(
    train_epoch: Callable[[int], dict[str, float]],
    n_epochs: int,
    *,
    seed: int,
    device: str | torch.device,
    parts: dict[str, Any],
    check: Callable[[list[dict[str, float]]], None],
    checkpoint: Path | None = None,
    identity: dict[str, Any] | None = None,
    callback: Callback | None = None,
) -> list[dict[str, float]]:
    """Train for `n_epochs`, going on from `checkpoint` if it exists.

    Parameters
    ----------
    train_epoch : callable
        ``train_epoch(epoch)``, with `epoch` from 0, trains for one epoch and gives the mean of each loss.
    n_epochs : int
        Length of the training.
    seed : int
        PyTorch's default generators are seeded from it in each epoch, and given back afterwards.
    device : str or torch.device
        Where the training draws random numbers.
    parts : dict of str to Module or Optimizer
        All that training changes: networks and optimisers.
    check : callable
        Called with all losses so far after each epoch; raises if the training has gone wrong.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to now and then.
    identity : dict, optional
        All that decides the trained weights; a checkpoint has to agree with it.
    callback : Callback, optional
        Told of each epoch's losses.

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
    identity = _plain(identity or {})
    history: list[dict[str, float]] = []
    if checkpoint is not None and checkpoint.exists():
        history = _load_checkpoint(checkpoint, identity, parts)
    saved = time.monotonic()
    for epoch in range(len(history), n_epochs):
        # Each epoch has random numbers of its own, so a resumed training needs no generator's state.
        with forked_rng(derived_seed(seed, "epoch", epoch), device):
            history.append(train_epoch(epoch))
        check(history)
        last = epoch + 1 == n_epochs
        if checkpoint is not None and (last or time.monotonic() - saved > _CHECKPOINT_SECONDS):
            _save_checkpoint(checkpoint, identity, parts, history)
            saved = time.monotonic()
        if callback is not None:
            callback(epoch + 1, n_epochs, history[-1])
    return history


def _plain(value: Any) -> Any:
    """Turn `value` into what a checkpoint gives back: lists for tuples, Python's numbers for NumPy's, text for paths.

    Checkpoints are read with ``weights_only``, which refuses every other class.
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def _save_checkpoint(
    path: Path, identity: dict[str, Any], parts: dict[str, Any], history: list[dict[str, float]]
) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temporary:
        torch.save({"identity": identity, "history": history, "states": states}, temporary)


def _load_checkpoint(path: Path, identity: dict[str, Any], parts: dict[str, Any]) -> list[dict[str, float]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, history, states = content["identity"], content["history"], content["states"]
    except Exception as error:
        raise RunError(f"{path}: not a readable checkpoint ({error}). Delete it to train from the start.") from error
    different = [
        f"{name} was {found.get(name)!r} and is {identity.get(name)!r}"
        for name in sorted(found | identity)
        if found.get(name) != identity.get(name)
    ]
    if different:
        raise RunError(
            f"{path}: belongs to another training: {'; '.join(different)}. Delete it or choose another path."
        )
    for name, part in parts.items():
        part.load_state_dict(states[name])
    return history
