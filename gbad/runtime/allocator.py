"""Keep memory that was freed: a network's activations are allocated anew for each batch, always of the same sizes."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's mallopt, see its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT = 1 << 30  # bytes
_STEP = 1 << 26  # bytes


def keep_freed_memory() -> bool:
    """Make the C library keep up to 1 GiB of freed memory instead of giving it back to the system.

    By default, glibc asks the system for each large array anew, which hands it out page by page and zeroed: for
    networks of many thin layers, that takes longer than the arithmetic. Figures: ``benchmarks/allocator_speed.py``.
    Nothing but the time changes. It is a setting of the whole process, so commands call it and the library does not.

    Returns
    -------
    bool
        Whether it could be set: with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _KEPT, _TOP_PAD: _STEP}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
