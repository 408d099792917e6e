"""Run a function in a process of its own, which may be killed at any moment, with all that it has started."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TIMED_OUT = 120.0


class Ended(NamedTuple):
    """How a process ended: its status (negative for a signal), and what it wrote."""

    status: int
    out: str
    err: str
    seconds: float


class Process:
    """A fork of this process that calls a function and ends.

    A new Python would spend seconds on imports alone.
    """

    def __init__(self, function: Callable[[], object], log: Path) -> None:
        self._log = log
        self._begun = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _child(function, log)

    def kill(self) -> None:
        """Kill it and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # before it has a group of its own
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = _TIMED_OUT) -> Ended:
        """Wait for its end; one that takes too long is killed, with the status -9."""
        status = None
        while status is None and time.monotonic() - self._begun < timeout:
            status = self._ended()
            time.sleep(0.005)
        if status is None:
            self.kill()
            _, ended = os.waitpid(self.pid, 0)
            status = os.waitstatus_to_exitcode(ended)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # workers that outlive it
        read = [Path(f"{self._log}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Ended(status, *read, time.monotonic() - self._begun)

    def _ended(self) -> int | None:
        pid, ended = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(ended) if pid else None


def command(arguments: list[object], log: Path, before: Callable[[], object] = lambda: None) -> Process:
    """Start ``gbad ...``; `before` is called in its process."""

    def run() -> None:
        from gbad.cli.app import main

        before()
        sys.argv = ["gbad", *map(str, arguments)]
        main()

    return Process(run, log)


def _child(function: Callable[[], object], log: Path) -> None:
    status = 70
    try:
        os.setsid()
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        function()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
