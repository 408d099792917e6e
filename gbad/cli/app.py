"""The command line: its commands, and how each is started, interrupted and told of errors."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.markup import escape

import gbad
from gbad.cli.benchmark import benchmark
from gbad.cli.benchmark_detectors import register as register_benchmark_detectors
from gbad.cli.calibrate import calibrate
from gbad.cli.data import check, labels, project, simulate
from gbad.cli.export import export
from gbad.cli.help import Command
from gbad.cli.parameters import in_flags
from gbad.cli.score import evaluate, predict
from gbad.cli.terminal import LOGGERS, errors, interrupted
from gbad.cli.train import demo, refit, train
from gbad.errors import GbadError, RunError
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.decoders import silence_decoders
from gbad.runtime.signals import raise_lost_interrupts
from gbad.runtime.text import printable
from gbad.runtime.threads import wait_asleep
from gbad.storage.targets import close_standard_output

_HELP = {"help_option_names": ["-h", "--help"]}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=_HELP)
for _command in (simulate, project, check, labels, train, refit, evaluate, predict, calibrate, export, demo, benchmark):
    app.command(cls=Command)(_command)
register_benchmark_detectors(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gbad {gbad.__version__}")
        raise typer.Exit


@app.callback()
def _gbad(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find rare threats in X-ray images of baggage with GAN-based anomaly detection (GBAD)."""


def phase_script(phase: int) -> None:
    """Run one phase of a run folder: what the scripts of phases 2 and 3 do."""

    def command(run: Annotated[Path, typer.Argument(help="Run folder in which the phase before is done.")]) -> None:
        if not (run / f"phase{phase - 1}" / "done.json").exists():
            raise RunError(f"{run}: phase {phase - 1} is not done yet; run its script first")
        from gbad.training.run_folder import open_run
        from gbad.workflows.train import train

        train(open_run(run), last=phase, show_progress=True)

    _run(typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=_HELP), command)


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    _run(app)


def _run(application: typer.Typer, command: Callable[..., None] | None = None) -> None:
    if command is not None:
        application.command(cls=Command)(command)
    wait_asleep()
    raise_lost_interrupts()
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is None where it is closed
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: some terminals have no α
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        handlers=[RichHandler(console=errors, show_path=False)],
    )
    # Of processes that train together, the first speaks; launchers number them. Warnings of all are heard.
    speaks = os.environ.get("RANK", "0") == "0"
    for name, level in LOGGERS.items():
        logging.getLogger(name).setLevel(level if speaks else logging.WARNING)
    silence_decoders()
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_: str(message)  # not the line of code that it comes from
    try:
        application()
    except GbadError as error:
        text = printable(in_flags(str(error), error.settings))
        errors.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            text = f"{printable(error.filename)}: {error.strerror}. Check the path and its permissions."
        elif error.errno in _FULL:
            close_standard_output()
            text = f"standard output: {error.strerror}. Free some space, or write somewhere else."
        else:
            raise
        errors.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code == 130:  # what typer makes of Ctrl-C
            name = "train" if command is not None else next(iter(sys.argv[1:]), "")
            errors.print(interrupted(name), soft_wrap=True)
        raise
