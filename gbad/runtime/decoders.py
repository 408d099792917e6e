"""What the decoders of images print and warn of by themselves, without the name of the file."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

_WARNING_FILTERS = threading.Lock()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence warnings about odd headers. The lock keeps threads from restoring each other's filters."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def silence_decoders() -> None:
    """Let Pillow and libtiff print nothing: what is wrong with an image comes as an exception, with its name.

    It holds for the whole process, so that only the command line calls it. libtiff writes to standard error from C;
    where its functions cannot be found beside Pillow's, its lines still appear.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with suppress(AttributeError, OSError):
        decoders = ctypes.CDLL(import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(decoders, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
