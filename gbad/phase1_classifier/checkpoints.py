"""Checkpoints of phase 1: one file an epoch, written whole, and read without running anything that it might ask for."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel

from gbad.errors import RunError
from gbad.phase1_classifier.backbones import normalisation
from gbad.storage.files import atomic_path

_log = logging.getLogger(__name__)


def save_checkpoint(
    accelerator: Accelerator, trained: nn.Module, optimizer: Any, average: AveragedModel, folder: Path,
    history: pd.DataFrame,
) -> None:  # fmt: skip
    """Write ``history.csv`` and ``checkpoint-<epoch>.pt``, then delete older ones; the main process alone does.

    Parameters
    ----------
    accelerator : Accelerator
        Which `trained` and `optimizer` were prepared by.
    trained, optimizer, average : Module, Optimizer, AveragedModel
        What training goes on with. Random states are not among it: nothing in phase 1 draws from a global one.
    folder : Path
    history : DataFrame
        One row an epoch, so far.
    """
    if accelerator.is_main_process:
        state = {
            "model": accelerator.unwrap_model(trained).state_dict(),  # the same for one process and for several
            "optimizer": optimizer.state_dict(),
            "average": average.state_dict(),
            "scaler": None if accelerator.scaler is None else accelerator.scaler.state_dict(),
            "normalisation": _normalisation(average),
        }
        with atomic_path(folder / "history.csv") as temporary:
            history.to_csv(temporary, index=False)
        with atomic_path(folder / f"checkpoint-{len(history):04d}.pt") as temporary:
            torch.save(state, temporary)
        for _, older in _checkpoints(folder)[:-1]:
            older.unlink(missing_ok=True)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator, trained: nn.Module, optimizer: Any, average: AveragedModel, folder: Path
) -> tuple[int, pd.DataFrame]:
    """Take up the newest checkpoint, if there is one.

    Parameters
    ----------
    accelerator, trained, optimizer, average, folder
        As in `save_checkpoint`; `trained`, `optimizer` and `average` receive what the checkpoint holds.

    Returns
    -------
    epochs : int
        How many are done.
    history : DataFrame
        Of these epochs.

    Raises
    ------
    RunError
        If the checkpoint is damaged, of another network or of images normalised otherwise, or asks for more than
        tensors and numbers; if ``history.csv`` is missing or damaged.
    """
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return 0, pd.DataFrame()
    epoch, path = checkpoints[-1]
    history = read_history(folder)
    if history is None or len(history) < epoch:
        raise RunError(
            f"{folder / 'history.csv'} does not hold the {epoch} epochs of {path.name}. Restore it, or delete {path}: "
            "phase 1 then begins again."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["normalisation"] != _normalisation(average):
            raise ValueError("another normalisation")
        accelerator.unwrap_model(trained).load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        if accelerator.scaler is not None and state["scaler"] is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
    except Exception as error:  # damaged bytes make torch raise almost anything
        # Its messages are left out: they explain how to load a file in spite of what it would run.
        raise RunError(
            f"{path}: damaged, of another network or version, or refused since it holds more than tensors "
            f"({type(error).__name__}). Delete it and run the same command again: phase 1 begins again."
        ) from error
    _log.info("continuing phase 1 after epoch %d", epoch)
    return epoch, history[:epoch]


def read_history(folder: Path) -> pd.DataFrame | None:
    """Read ``history.csv`` of phase 1's folder; None if there is none, RunError if it is damaged."""
    path = folder / "history.csv"
    if not path.exists():
        return None
    try:
        history = pd.read_csv(path)
        history["epoch"].astype(int)
    except (KeyError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise RunError(f"{path}: damaged ({error}). Restore it, or delete it if phase 1 is done.") from error
    return history


def _normalisation(average: AveragedModel) -> list[float]:
    return normalisation(cast(Any, average.module).spec["backbone_name"])


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"checkpoint-(\d+)\.pt", path.name), path) for path in folder.glob("checkpoint-*")]
    return sorted((int(match[1]), path) for match, path in found if match)
