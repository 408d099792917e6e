"""Checkpoints of phase 1: written whole, and read without running anything that a file might ask for."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.torch import load_model
from torch import nn
from torch.optim.swa_utils import AveragedModel

from gbad.errors import RunError
from gbad.files import atomic_path, remove_folder

_log = logging.getLogger(__name__)

_AVERAGE, _AVERAGE_BEFORE = "average.pt", "custom_checkpoint_0.pkl"


def save_checkpoint(
    accelerator: Accelerator, average: AveragedModel, folder: Path, epoch: int, history: pd.DataFrame
) -> None:
    """Write ``history.csv`` and ``checkpoint-<epoch>``, then delete older checkpoints; the main process alone does."""
    if accelerator.is_main_process:
        with atomic_path(folder / "history.csv") as temporary:
            history.to_csv(temporary, index=False)
        with atomic_path(folder / f"checkpoint-{epoch:04d}") as temporary:
            accelerator.save_state(str(temporary))
            torch.save(average.state_dict(), temporary / _AVERAGE)
        for _, older in _checkpoints(folder)[:-1]:
            remove_folder(older)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator, trained: nn.Module, optimizer: Any, average: AveragedModel, folder: Path
) -> tuple[int, pd.DataFrame]:
    """Take up the newest checkpoint, if there is one.

    Parameters
    ----------
    accelerator : Accelerator
        Which `trained` and `optimizer` were prepared by.
    trained, optimizer, average : Module, Optimizer, AveragedModel
        Receive what the checkpoint holds.
    folder : Path
        Of `save_checkpoint`.

    Returns
    -------
    epochs : int
        How many are done.
    history : DataFrame
        Of these epochs.

    Raises
    ------
    RunError
        If a file of the checkpoint is damaged, of another network, or asks for more than tensors and numbers.
    """
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return 0, pd.DataFrame()
    epoch, path = checkpoints[-1]
    # Not by accelerator.load_state: it unpickles whatever custom_checkpoint_0.pkl holds, and sets the random states of
    # the whole process, which no part of this training draws from.
    with_average = path / (_AVERAGE if (path / _AVERAGE).exists() else _AVERAGE_BEFORE)
    _read(path / "model.safetensors", lambda file: load_model(trained, file))
    _read(path / "optimizer.bin", lambda file: optimizer.load_state_dict(_tensors(file)))
    _read(with_average, lambda file: average.load_state_dict(_tensors(file)))
    if accelerator.scaler is not None:
        _read(path / "scaler.pt", lambda file: accelerator.scaler.load_state_dict(_tensors(file)))
    history = read_history(folder)
    if history is None:
        _log.warning("%s is missing: the losses of epochs 1 to %d are not known", folder / "history.csv", epoch)
        history = pd.DataFrame({"epoch": []})
    _log.info("continuing phase 1 after epoch %d", epoch)
    return epoch, history.query("epoch <= @epoch")


def read_history(folder: Path) -> pd.DataFrame | None:
    """Read ``history.csv`` of phase 1's folder; None if there is none, RunError if it is damaged."""
    path = folder / "history.csv"
    if not path.exists():
        return None
    try:
        history = pd.read_csv(path)
        history["epoch"].astype(int)
    except (KeyError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise RunError(
            f"{path}: damaged ({error}). Delete it and run the same command again: only the losses of the epochs "
            "before are lost."
        ) from error
    return history


def _tensors(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read(path: Path, read: Callable[[Path], Any]) -> None:
    try:
        read(path)
    except Exception as error:  # damaged bytes make these libraries raise almost anything
        # Their messages are left out: torch's explains how to load a file in spite of what it would run.
        raise RunError(
            f"{path}: damaged, of another network, or refused since it holds more than tensors "
            f"({type(error).__name__}). Delete the folder {path.parent} and run the same command again: phase 1 goes "
            "on from the checkpoint before if there is one, else it starts again."
        ) from error


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"checkpoint-(\d+)", path.name), path) for path in folder.glob("checkpoint-*")]
    return sorted((int(match[1]), path) for match, path in found if match)
