"""How much memory images may take while they are decoded: large ones one at a time, and none beyond a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gbad.runtime.allocator import give_back_freed_memory

LARGE_PIXELS = 8_000_000
"""Images with more pixels are decoded one at a time. Scanners stay below 10 million."""

LARGE_FILE = 16 * 2**20
"""Files with more bytes are read and decoded one at a time."""

MOST_BYTES = 1_200_000_000
"""No image is decoded that needs more memory: the file, its pixels as they are decoded, and as RGB."""

_BYTES_PER_PIXEL = 8
_ONE_LARGE = threading.RLock()  # of the process, as its memory is


@contextmanager
def room_for(*, pixels: int = 0, size: int = 0) -> Iterator[None]:
    """Wait until no other large image is being decoded, if this one is large: so many pixels, or bytes of its file."""
    if pixels <= LARGE_PIXELS and size <= LARGE_FILE:
        yield
        return
    with _ONE_LARGE:
        try:
            yield
        finally:
            give_back_freed_memory()  # else every thread keeps as much as its largest image took


def needed_bytes(pixels: int, size: int, copies: int = 1) -> int:
    """Memory to decode an image of so many pixels from a file of so many bytes, of which there are copies."""
    return _BYTES_PER_PIXEL * pixels + copies * size
