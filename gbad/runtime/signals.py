"""Ctrl-C always takes effect, but never inside code that it would break."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS_UNTIL_RAISED_AGAIN = 0.05


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, which should be short.

    For library code that an interrupt would break: ``shutil.rmtree`` then closes a file descriptor twice. Outside the
    main thread this does nothing, since Python interrupts the main thread only.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    waiting = False

    def remember(*_: object) -> None:
        nonlocal waiting
        waiting = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def _interrupt_main_thread() -> None:
    # A signal to the thread itself also ends a blocking call; with raise_signal the call would first have to end.
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        signal.raise_signal(signal.SIGINT)


def raise_lost_interrupts() -> None:
    """Raise Ctrl-C again if it came in a finaliser or a callback, where Python only prints exceptions."""
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Later, because an interrupt inside this hook would be lost again.
            again = threading.Timer(_SECONDS_UNTIL_RAISED_AGAIN, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = hook
