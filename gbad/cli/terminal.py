"""What commands print: tables, texts, and summaries for scripts."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gbad.runtime.text import printable
from gbad.storage.files import json_text
from gbad.storage.targets import is_stream

_NO_TERMINAL = 160  # columns of a file or a pipe, which rich takes for a terminal of 80: tables would lose their ends


def _console(stream: TextIO | None, **options: Any) -> Console:
    """Console that writes emoji's names as they are: ``bag:x:1.jpg``."""
    known = "COLUMNS" in os.environ or (stream is not None and stream.isatty())
    return Console(emoji=False, width=None if known else _NO_TERMINAL, **options)


console = _console(sys.stdout)
errors = _console(sys.stderr, stderr=True)

LOGGERS = {"gbad": logging.INFO, "py.warnings": logging.WARNING}
"""Loggers whose lines a command shows, and from which level on."""

_TRAINING = ("train", "refit", "demo", "benchmark", "benchmark-detectors")
_GOING_ON = {
    **dict.fromkeys(_TRAINING, "training goes on where it stopped"),
    **dict.fromkeys(("simulate", "project"), "finished images are kept"),
    "predict": "it goes on behind the images that it has scored",
}


def say(text: str, *command: object, beside: str | Path | None = None) -> None:
    """Print a text as it is, and the command to go on with so that it can be copied.

    On standard error if standard output is what was written to, the path `beside`.
    """
    following = f" Next: {shlex.join(['gbad', *map(str, command)])}" if command else ""
    to = errors if beside is not None and is_stream(beside) else console
    to.print(printable(text + following), markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Voice:
    """How a command speaks: to a person, as JSON to a script, or of errors only.

    Parameters
    ----------
    quiet : bool
        No progress, no words, no warnings.
    as_json : bool
        The summary on standard output, in the place of words.
    """

    quiet: bool
    as_json: bool

    @property
    def in_words(self) -> bool:
        """Whether a person reads it."""
        return not (self.quiet or self.as_json)

    def say(self, text: str, *command: object, beside: str | Path | None = None) -> None:
        """`say` it to a person."""
        if self.in_words:
            say(text, *command, beside=beside)

    def show(self, table: Table) -> None:
        """Print a table for a person."""
        if self.in_words:
            console.print(table)

    def summarise(self, content: dict[str, Any]) -> None:
        """Print a summary for a script, if one asked for it."""
        if self.as_json:
            console.print(json_text(content), markup=False, highlight=False, soft_wrap=True)


def voice(quiet: bool, as_json: bool) -> Voice:
    """Take the options ``--quiet`` and ``--json`` of a command."""
    if quiet:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
    return Voice(quiet, as_json)


def chosen_text(phase3: dict[str, Any]) -> str:
    """What phase 3 has chosen, from its ``done.json``, in a line."""
    rule = "ε" if phase3["suppression"] == "hard" else "α"
    parts = [f"{phase3['suppression']} gate of strength {rule} = {_short(phase3['strength'])}"]
    parts.append(f"heads' share {_short(phase3['heads_share'])}")
    second, thresholds = phase3.get("second_look"), phase3["thresholds"]
    if second is not None:
        parts.append(f"second look's share {_short(second['share'])}, strength {_short(second['strength'])}")
        thresholds = second["thresholds"]
    parts.append("thresholds " + ", ".join(f"{name} {_short(value)}" for name, value in thresholds.items()))
    return f"Chosen: {'; '.join(parts)}."


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def interrupted(command: str) -> str:
    """What to say to Ctrl-C: how a command of ``gbad`` goes on, if it does not begin again.

    Examples
    --------
    >>> interrupted("train"), interrupted("check")
    ('Interrupted. Run the same command again: training goes on where it stopped.', 'Interrupted.')
    """
    return "Interrupted." + (f" Run the same command again: {_GOING_ON[command]}." if command in _GOING_ON else "")


def ap_table(metrics: dict[str, Any]) -> Table:
    """Per-class average precision of an evaluation, in percent, for the terminal."""
    table = Table(
        title=f"Average precision (%), subset {escape(metrics['subset'])}, {metrics['n_images']:,} test images"
    )
    twice = any((share or 0) > 0 for share in metrics["looked_twice"].values())
    methods = {"ungated": "classifier alone", **({"first_look": "first look"} if twice else {}), "gbad": "GBAD"}
    for column in ("class", "positives", "prevalence", *methods.values()):
        table.add_column(column, justify="left" if column == "class" else "right")

    def percent(value: float | None) -> str:
        return "missing" if value is None or value != value else f"{100 * value:.1f}"

    for name in metrics["classes"]:
        scores = [percent(metrics[method]["per_class_ap"][name]) for method in methods]
        table.add_row(escape(name), f"{metrics['n_positive'][name]:,}", percent(metrics["prevalence"][name]), *scores)
    table.add_section()
    present = [metrics["prevalence"][name] for name in metrics["classes"] if metrics["n_positive"][name]]
    mean = percent(sum(present) / len(present) if present else None)
    table.add_row("mAP", "", mean, *(percent(metrics[method]["map"]) for method in methods), style="bold")
    return table
