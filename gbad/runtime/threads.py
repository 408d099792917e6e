"""How the threads of an operation wait for one another: asleep, so that other work does not hold them up."""

from __future__ import annotations

import os
import sys

_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables of OpenMP's libraries that say how a thread waits: the standard's, GNU's and LLVM's."""


def wait_asleep() -> bool:
    """Let the threads of PyTorch sleep while they wait for one another.

    PyTorch cuts an operation into as many parts as there are cores, and goes on when the last one is done. OpenMP's
    threads spin while they wait, which gains microseconds on an idle machine. Where other work has a core, a spinning
    thread keeps the other cores from the threads that still have something to do (measured by
    ``benchmarks/busy_speed.py``). Only the time changes.

    OpenMP reads its policy from the environment when PyTorch is imported. So this comes before, it holds for the whole
    process and for those that it starts, and only commands call it.

    Returns
    -------
    bool
        False if PyTorch is imported already, or the user has chosen a policy: then nothing is set.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _POLICIES):
        return False
    os.environ["OMP_WAIT_POLICY"] = "passive"
    return True
