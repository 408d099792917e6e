"""``gbad benchmark-detectors``: parse arguments, run the benchmark, print its table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gbad.cli.help import Command
from gbad.cli.terminal import console

_MANY = ("--detectors", "--classes", "--normal", "--seeds", "--set", "--split")


class _ManyValues(Command):
    """Command whose options `_MANY` take several values in a row: ``--seeds 0 1 2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_options(args, _MANY))


def repeat_options(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Write ``--seeds 0 1 2`` as ``--seeds 0 --seeds 1 --seeds 2``, which the parser understands.

    Examples
    --------
    >>> repeat_options(["--seeds", "0", "1", "--size", "32"], ["--seeds"])
    ['--seeds', '0', '--seeds', '1', '--size', '32']
    """
    repeated: list[str] = []
    option, is_first = "", False
    for argument in arguments:
        if argument.startswith("--"):
            option, is_first = (argument if argument in options else ""), True
        elif option and not is_first:
            repeated.append(option)
        else:
            is_first = False
        repeated.append(argument)
    return repeated


def benchmark_detectors(
    data: Annotated[Path, typer.Option(help="Folder of the data set; nothing is downloaded.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="one-vs-rest (the class is normal), leave-one-class-out (the class is abnormal), normal-vs-abnormal, "
            "or one of papers: leave-one-class-out-all, leave-one-class-out-80-20, healthy-vs-diseased, patches, "
            "regions, frames."
        ),
    ],
    detectors: Annotated[list[str], typer.Option(help="Detectors, one or more: ganomaly skip_ganomaly ...")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark; an existing one is continued.")],
    classes: Annotated[list[str] | None, typer.Option(help="Classes or categories. Default: all.")] = None,
    normal: Annotated[
        list[str] | None, typer.Option(help="Normal classes, where neither the protocol nor the data set says.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="idx, cifar10, sixray, mvtec, ucsd, normal-abnormal or classes. Default: found from the folder."
        ),
    ] = None,
    subset: Annotated[str, typer.Option(help="Lists of a data set in SIXray's layout.")] = "10",
    grid: Annotated[int, typer.Option(min=1, help="Patches a side (sixray, mvtec); 1 takes whole images.")] = 1,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="healthy-vs-diseased: numbers of normal images to train on, and of normal and abnormal ones to test; "
            "'rest' takes all that are left. Default: 13593 2589 12661."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=32, help="Side of images, or patches, in pixels. Default: 256 for patches and regions, or 32."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="published: sizes, rates, batches and epochs as the papers print them; released: those of the "
            "authors' code. Default: ours."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each training. Default: the preset's, or each detector's own.")
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option(min=0, help="Seeds of the trainings. Default: 0 1 2.")] = None,
    paper_every: Annotated[
        int, typer.Option(min=0, help="Test in paper mode every so many epochs, and after the last; 0: never.")
    ] = 1,
    max_train: Annotated[int | None, typer.Option(min=2, help="Most training images of a class.")] = None,
    max_test: Annotated[int | None, typer.Option(min=2, help="Most test images, the same for all.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Hyperparameters: features=16 or ganomaly.features=16.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Compare image-level anomaly detectors, clean and in paper mode, and write tables, plots and a report."""
    from gbad.benchmarks.detectors.outputs import write_outputs
    from gbad.benchmarks.detectors.runner import BenchmarkSettings, run_benchmark
    from gbad.benchmarks.detectors.tables import ON_A_SCREEN, summarise
    from gbad.report.tables import Table

    settings = BenchmarkSettings(
        data=str(data), protocol=protocol, layout=layout, subset=subset, grid=grid,
        normal=tuple(normal or ()), split=tuple(split or ()),
        size=size, preset=preset, epochs=epochs, paper_every=paper_every, max_train=max_train, max_test=max_test,
        parameters=tuple(set_ or ()), device=device,
    )  # fmt: skip
    results = run_benchmark(
        out, settings, detectors=detectors, classes=classes, seeds=seeds or (0, 1, 2),
        command=shlex.join(["gbad", *sys.argv[1:]]), show_progress=True,
    )  # fmt: skip
    write_outputs(out, results)
    table = Table(ON_A_SCREEN, summarise(results))
    console.print(table.terminal(f"{results[0]['dataset']}, {protocol}"))
    console.print(f"Report in {out / 'report.html'}, tables in {out / 'table.md'} and {out / 'results.csv'}.",
                  markup=False, highlight=False, soft_wrap=True)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("benchmark-detectors", cls=_ManyValues)(benchmark_detectors)
