"""Progress with a rate and the time left: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY = 30.0
"""Seconds between two lines, where there is no terminal for a bar."""


class Advance(Protocol):
    """Report progress: ``advance(n)``, or ``advance(n, total)`` when the total has changed."""

    def __call__(self, count: int, total: int | None = None) -> None: ...  # noqa: D102


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self.unit}/s", style="progress.data.speed")


@contextmanager
def progress_bar(
    description: str, total: int, unit: str = "images", *, show: bool = True, window: float = 30.0
) -> Iterator[Advance]:
    """Show a progress bar on standard error while the block runs; without a terminal a line every `EVERY` seconds.

    Parameters
    ----------
    description : str
        The work, in a few words.
    total : int
        Number of units.
    unit : str
        Name of the units, shown with the rate.
    show : bool
        False shows nothing (worker processes, library use).
    window : float
        Seconds over which the rate is averaged. It must be longer than the time between two reports.

    Yields
    ------
    Advance
        ``advance(n)`` reports that `n` more units are done.

    Examples
    --------
    >>> with progress_bar("decoding", 3, show=False) as advance:
    ...     for _ in range(3):
    ...         advance(1)
    """
    console = Console(stderr=True, emoji=False)
    if show and not (console.is_terminal or console.is_jupyter):
        with _lines(console, description, total, unit) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not show, speed_estimate_period=window) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count, total=None: progress.update(task, advance=count, total=total)


@contextmanager
def _lines(console: Console, description: str, total: int, unit: str) -> Iterator[Advance]:
    """Print a line of progress now and then, and one at the end."""
    done, begun, ended = [0, total], time.monotonic(), Event()

    def show() -> None:
        count, of = done
        rate = count / max(time.monotonic() - begun, 1e-9)
        left = f", {_duration((of - count) / rate)} left" if 0 < count < of else ""
        text = f"{description}: {count:,} of {of:,} {unit}, {rate:,.{0 if rate >= 10 else 2}f} {unit}/s{left}"
        console.print(time.strftime("%Y-%m-%d %H:%M:%S"), text, markup=False, highlight=False, soft_wrap=True)

    def show_now_and_then() -> None:
        while not ended.wait(EVERY):
            show()

    def advance(count: int, total: int | None = None) -> None:
        done[0] += count
        if total is not None:
            done[1] = total

    thread = Thread(target=show_now_and_then, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        ended.set()
        thread.join()
        show()


def _duration(seconds: float) -> str:
    """Seconds in words.

    Examples
    --------
    >>> _duration(42), _duration(600), _duration(7300)
    ('42 s', '10 min', '2 h 2 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
