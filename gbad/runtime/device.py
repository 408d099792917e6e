"""The device that networks are computed on, chosen in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import PartialState

_PATIENCE = timedelta(days=7)  # processes wait for the main one while it extracts features or trains a detector


def chosen_device(choice: str = "auto") -> str:
    """Name the device for a choice: ``"cpu"``, or for ``"auto"`` this machine's accelerator if it has one.

    Parameters
    ----------
    choice : {"auto", "cpu"}
        As in `gbad.GBADPipeline`.

    Returns
    -------
    str
        Such as ``"cuda"``, ``"mps"`` or ``"cpu"``.

    Examples
    --------
    >>> chosen_device("cpu")
    'cpu'
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if choice == "cpu" or accelerator is None else accelerator.type


def device_or_cpu(device: str) -> str:
    """Give `device` back if this machine has it, else ``"cpu"``.

    Parameters
    ----------
    device : str
        A device of PyTorch, such as ``"cuda:1"``.

    Examples
    --------
    >>> device_or_cpu("cpu")
    'cpu'
    """
    wanted = torch.device(device)
    there = wanted.type == chosen_device() != "cpu" and (wanted.index or 0) < torch.accelerator.device_count()
    return device if there else "cpu"


def training_processes(choice: str) -> PartialState:
    """Describe the processes that train together, of which this is one.

    The first call decides for the whole process: later ones return the same, whatever they choose.

    Parameters
    ----------
    choice : {"auto", "cpu"}
        As for `chosen_device`.

    Returns
    -------
    PartialState
        Of accelerate. The main process (``is_main_process``) is the one that writes files.
    """
    from accelerate import PartialState  # slow to import, and scoring does without

    return PartialState(cpu=chosen_device(choice) == "cpu", timeout=_PATIENCE)
