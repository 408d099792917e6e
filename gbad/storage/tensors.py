"""Checkpoints of PyTorch, read without running code from them and only if they are whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from gbad.storage.reading import open_regular


def load_tensors(path: str | Path) -> Any:
    """Read a file of ``torch.save`` that holds tensors, numbers and texts in containers, on the CPU.

    PyTorch writes a checksum for each tensor, but does not compare them: it takes a block of zeros for weights.

    Raises
    ------
    Exception
        Of almost any kind, if the file is missing, damaged, or holds more.
    """
    with open_regular(path) as file:
        with zipfile.ZipFile(file) as parts:
            if (wrong := parts.testzip()) is not None:
                raise ValueError(f"the checksum of {wrong} is wrong")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
