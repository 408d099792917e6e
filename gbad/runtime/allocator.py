"""Keep freed memory, and give it back: the activations of each batch need memory blocks of the same sizes again."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Of glibc's mallopt, see its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT = 1 << 30  # bytes
_STEP = 1 << 26  # bytes


def keep_freed_memory() -> bool:
    """Make the C library keep up to 1 GiB of freed memory instead of giving it back to the system.

    By default, glibc asks the system again for each large array, and the system fills each page with zeros. For
    networks of many thin layers, this takes longer than the arithmetic (measured by ``benchmarks/allocator_speed.py``).
    Only the time changes. The setting holds for the whole process, so only commands make it.

    Returns
    -------
    bool
        False if the C library is not glibc: then nothing is set.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _KEPT, _TOP_PAD: _STEP}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])


def give_back_freed_memory() -> bool:
    """Let the C library give freed memory back to the system, of all threads.

    After a large array was freed: each thread would keep its own, for arrays as large as the largest that it ever had.

    Returns
    -------
    bool
        False if the C library is not glibc: then nothing is done.
    """
    trim = _of_glibc("malloc_trim")
    if trim is None:
        return False
    trim(0)
    return True


def _of_glibc(name: str) -> Any:
    """A function of glibc; None if the C library is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
