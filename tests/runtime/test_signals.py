"""What Ctrl-C promises: it is obeyed wherever it comes, and breaks nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gbad.runtime.signals import interrupts_held, raise_lost_interrupts
from gbad.storage.files import atomic_path, remove_folder


@pytest.fixture
def interrupted_rmtree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes as soon as ``shutil.rmtree`` has closed the file descriptor of a folder."""
    close = os.close

    def interrupt(descriptor: int) -> None:
        close(descriptor)
        if sys._getframe(1).f_code.co_filename == shutil.__file__:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "close", interrupt)


@pytest.fixture
def hook() -> Iterator[None]:
    before = sys.unraisablehook
    yield
    sys.unraisablehook = before


def test_a_held_interrupt_comes_at_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_changes() -> None:
    with interrupts_held():
        pass
    with pytest.raises(ValueError, match="own"), interrupts_held():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_may_hold_them_too() -> None:
    done = []

    def work() -> None:
        with interrupts_held():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


def test_a_folder_is_gone_before_the_interrupt(tmp_path: Path, interrupted_rmtree: None) -> None:
    (tmp_path / "old" / "inner").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_a_file_is_whole_before_the_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def interrupted(*paths: Any) -> None:
        replace(*paths)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "whole"


class Finaliser:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("hook")
def test_an_interrupt_in_a_finaliser_is_raised_again() -> None:
    raise_lost_interrupts()
    for wait in (time.sleep, threading.Event().wait):
        begun = time.monotonic()
        Finaliser()
        with pytest.raises(KeyboardInterrupt):
            wait(60)
        assert time.monotonic() - begun < 30  # not at the end of the call


def test_other_errors_in_finalisers_are_reported_as_before(
    hook: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    raise_lost_interrupts()

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    Broken()
    assert reported == [ValueError]


def test_the_command_line_is_interrupted_by_what_came_in_a_finaliser(start: Callable[..., Any], tmp_path: Path) -> None:
    script = """
import signal, sys, time
import gbad.data.simulate

class Finaliser:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def simulate(*args, **options):
    Finaliser()
    for _ in range(1000):
        time.sleep(0.01)

gbad.data.simulate.simulate_dataset = simulate
from gbad.cli.app import main

sys.argv = ["gbad", "simulate", sys.argv[1]]
main()
"""
    process = start("-c", script, tmp_path / "data")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
