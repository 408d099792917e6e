"""Ctrl-C is never lost, and never lands where it does harm."""

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
    """Let Ctrl-C wait for the end of the block, which should be short.

    For library code that breaks when it is interrupted: ``shutil.rmtree`` closes a file descriptor twice. In other
    threads than the main one, which Python never interrupts, this does nothing.
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
    # Sent to the thread itself, the signal also ends a call in which it waits; raise_signal would be seen after it.
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        signal.raise_signal(signal.SIGINT)


def raise_lost_interrupts() -> None:
    """Raise Ctrl-C again if it came while Python ran a finaliser or a callback, where exceptions are only printed."""
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Raised at once it would land in this hook, and be lost again.
            again = threading.Timer(_SECONDS_UNTIL_RAISED_AGAIN, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = hook
