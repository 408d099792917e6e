"""Progress bars with a rate and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


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
    """Show a progress bar on standard error while the block runs.

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
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show, speed_estimate_period=window) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count, total=None: progress.update(task, advance=count, total=total)
