"""One process at a time, and who it is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gbad.errors import RunError
from gbad.storage.locks import held

pytest.importorskip("fcntl", reason="the system has no locks on files")

HOLD = """
import sys, time
from pathlib import Path
from gbad.storage.locks import held
with held(Path(sys.argv[1]), "", remove=True):
    print("held", flush=True)
    time.sleep(100)
"""


def test_the_second_one_learns_who_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, "busy", remove=True):
        with pytest.raises(RunError, match=f"busy with process {os.getpid()} on .*, since 2"):  # noqa: SIM117
            with held(lock, "busy with {holder}", remove=True):
                pass
        assert lock.exists()
    assert not lock.exists()
    with held(lock, "busy"):
        pass
    assert lock.exists()


def test_a_killed_process_holds_nothing(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = start("-c", HOLD, lock)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {process.pid}"), held(lock, "{holder}"):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with held(lock, "{holder}", remove=True):
        pass
    assert not lock.exists()


def test_a_lock_whose_file_was_deleted_while_waiting_is_taken_on_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock, flock = tmp_path / "lock", fcntl.flock
    calls = []

    def delete_once(file: object, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:  # the holder before deletes it between opening and locking
            lock.unlink()
        flock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", delete_once)
    with held(lock, ""):
        assert len(calls) == 2
        assert lock.exists()
