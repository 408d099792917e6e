"""Checkpoints of phase 1: one file per epoch, written whole or not at all, and read without running code from it."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from torch import nn

from gbad.errors import RunError
from gbad.phase1_classifier.backbones import normalisation
from gbad.phase1_classifier.optimisation import WeightAverage
from gbad.storage.files import atomic_path
from gbad.storage.tables import write_table
from gbad.storage.tensors import load_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator

_log = logging.getLogger(__name__)


def save_checkpoint(
    accelerator: Accelerator,
    trained: nn.Module,
    optimizer: Any,
    average: WeightAverage,
    folder: Path,
    history: pd.DataFrame,
) -> None:
    """Write ``history.csv`` and ``checkpoint-<epoch>.pt``, then delete older checkpoints; in the main process only.

    Random states need not be saved: phase 1 draws no global random numbers.

    Parameters
    ----------
    accelerator : Accelerator
        It has prepared `trained` and `optimizer`.
    trained, optimizer, average : Module, Optimizer, WeightAverage
        State of the training.
    folder : Path
    history : DataFrame
        One row per epoch, so far.
    """
    if accelerator.is_main_process:
        state = {
            "model": accelerator.unwrap_model(trained).state_dict(),  # the same for one process and for several
            "optimizer": optimizer.state_dict(),
            "average": average.state_dict(),
            "scaler": None if accelerator.scaler is None else accelerator.scaler.state_dict(),
            "normalisation": normalisation(average.module.spec["backbone_name"]),
            "history": history.to_dict("list"),
        }
        write_table(history, folder / "history.csv")
        with atomic_path(folder / f"checkpoint-{len(history):04d}.pt") as temporary:
            torch.save(state, temporary)
        for _, older in _checkpoints(folder)[:-1]:
            older.unlink(missing_ok=True)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator, trained: nn.Module, optimizer: Any, average: WeightAverage, folder: Path
) -> tuple[int, pd.DataFrame]:
    """Continue from the newest checkpoint, if there is one.

    Parameters
    ----------
    accelerator, trained, optimizer, average, folder
        As in `save_checkpoint`; `trained`, `optimizer` and `average` receive the state in the checkpoint.

    Returns
    -------
    epochs : int
        Number of epochs that are done.
    history : DataFrame
        One row for each of them.

    Raises
    ------
    RunError
        If the checkpoint is damaged, belongs to another network or another normalisation of images, or holds more than
        tensors and numbers; or if it is an older one, without a history, and ``history.csv`` lacks some of its epochs.
    """
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return 0, pd.DataFrame()
    epoch, path = checkpoints[-1]
    try:
        state = load_tensors(path)
        own_history = pd.DataFrame(state["history"])[:epoch] if "history" in state else None
        if state["normalisation"] != normalisation(average.module.spec["backbone_name"]):
            raise ValueError("another normalisation")
        accelerator.unwrap_model(trained).load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        if accelerator.scaler is not None and state["scaler"] is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
    except Exception as error:  # damaged bytes make torch raise almost anything
        # Torch's own message is left out: it explains how to load a file although it may run code.
        raise RunError(
            f"{path}: damaged, of another network or version, or refused because it holds more than tensors "
            f"({type(error).__name__}). Delete it and run the same command again: phase 1 begins again."
        ) from error
    history = _older_history(folder, path, epoch) if own_history is None else own_history
    _log.info("continuing phase 1 after epoch %d", epoch)
    if accelerator.is_main_process:
        write_table(history, folder / "history.csv")  # the checkpoint is what counts
    return epoch, history


def read_history(folder: Path) -> pd.DataFrame | None:
    """Read ``history.csv`` of phase 1's folder; None if there is none, RunError if it is damaged."""
    path = folder / "history.csv"
    if not path.exists():
        return None
    try:
        history = pd.read_csv(path)
        history["epoch"].astype(int)
        if texts := [str(name) for name in history if not is_numeric_dtype(history[name])]:
            raise ValueError(f"{', '.join(texts)}: not only numbers")
    except (KeyError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise RunError(f"{path}: damaged ({error}). Restore it, or delete it if phase 1 is done.") from error
    return history


def _older_history(folder: Path, checkpoint: Path, epoch: int) -> pd.DataFrame:
    """The history of a checkpoint of an older version, which does not hold it."""
    with suppress(RunError):
        history = read_history(folder)
        if history is not None and history["epoch"].tolist()[:epoch] == list(range(1, epoch + 1)):
            return history[:epoch]
    raise RunError(
        f"{folder / 'history.csv'}: missing, damaged, or without one of the {epoch} epochs of {checkpoint.name}, which "
        "is whole but has no history of its own. Restore it from a copy and run the same command again; nothing else "
        f"is lost. Only if there is no copy, delete {checkpoint.name}: phase 1 then begins again."
    )


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"checkpoint-(\d+)\.pt", path.name), path) for path in folder.glob("checkpoint-*")]
    return sorted((int(match[1]), path) for match, path in found if match)
