"""Versions and hardware that a result was made with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import torch

from gbad.runtime.device import chosen_device

_LIBRARIES = ("torch", "torchvision", "scikit-learn", "numpy", "pandas", "joblib", "accelerate", "pillow")


def library_versions() -> dict[str, str]:
    """Versions of gbad, Python and the libraries that affect results."""
    return {"gbad": version("gbad"), "python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def hardware() -> dict[str, str | int]:
    """Processor, cores and accelerator of this machine."""
    device = chosen_device()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else "none" if device == "cpu" else device,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
