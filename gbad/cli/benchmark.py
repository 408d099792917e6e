"""``gbad benchmark``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gbad.cli.parameters import APRule
from gbad.cli.terminal import console


def benchmark(
    data: Annotated[
        Path | None, typer.Argument(help="Folder in SIXray's layout. Default: simulated SIXray10, 100 and 1000.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for data, cells and results.")] = Path("runs/benchmark"),
    scale: Annotated[
        str,
        typer.Option(help="small or twice (2 cores, hours), backbones (2 cores, a night) or full (GPU or cluster)."),
    ] = "small",
    methods: Annotated[
        str | None, typer.Option(help="Methods, separated by commas, or 'all'. Default: those of the scale.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings, separated by commas.")] = "0,1,2",
    backbones: Annotated[
        str | None, typer.Option(help="Backbones, separated by commas. Default: of the scale.")
    ] = None,
    data_seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated data.")] = 0,
    mislabelled: Annotated[
        Path | None, typer.Option(help="Text file of image names to leave out of all lists, one a line.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of phase 1. Default: those of the scale.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="Side in pixels of the images.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images in a batch of phase 1.")] = None,
    fpn_width: Annotated[int | None, typer.Option(min=1, help="Channels of each FPN level.")] = None,
    head_width: Annotated[int | None, typer.Option(min=1, help="Outputs of each of FC1 to FC4.")] = None,
    pretrained: Annotated[bool | None, typer.Option(help="Start from ImageNet weights.")] = None,
    image_size: Annotated[int | None, typer.Option(min=64, help="Longer side of simulated images in pixels.")] = None,
    load: Annotated[float | None, typer.Option(min=0.0, max=10.0, help="How full simulated bags are.")] = None,
    resamples: Annotated[int | None, typer.Option(min=2, help="Resamples of the bootstrap intervals.")] = None,
    ap_rule: APRule = "all_points",
    preset: Annotated[
        str | None,
        typer.Option(
            help="paper: as in the paper. CNN and CHR learn from the whole list, GBAD has its paper mode, no image is "
            "held out, one view is scored."
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what there is to do and how long it would take, and stop.")
    ] = False,
) -> None:
    """Reproduce the paper's tables: GBAD against CNN and CHR. A killed benchmark continues with the same command."""
    from gbad.benchmarks.paper.methods import METHODS, PAPER_MODE, paper_methods
    from gbad.benchmarks.paper.run import plan_benchmark, run_benchmark
    from gbad.benchmarks.paper.scales import scale_of
    from gbad.benchmarks.paper.summary import target_table
    from gbad.training.presets import preset as settings_of

    chosen = scale_of(scale)
    changed = {"image_size": image_size, "load": load, "resamples": resamples}
    chosen = replace(chosen, **{name: value for name, value in changed.items() if value is not None})  # type: ignore[arg-type]
    given = {
        "epochs": epochs, "size": size, "batch_size": batch_size, "fpn_width": fpn_width, "head_width": head_width,
        "pretrained": pretrained,
    }  # fmt: skip
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    named = [*METHODS] if methods == "all" else _words(methods)
    if preset is not None:
        settings_of(preset)  # refuses an unknown name
        overrides, named = {**overrides, **PAPER_MODE}, [*paper_methods(named)]
    common: dict[str, Any] = {
        "data": data, "methods": named, "seeds": _numbers(seeds), "backbones": _words(backbones),
        "overrides": overrides, "show_progress": True,
    }  # fmt: skip

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if plan:
        table, notes = plan_benchmark(out, chosen, **common)
        console.print(table.terminal())
        for note in notes:
            say(note)
        return
    summary = run_benchmark(
        out, chosen, **common, data_seed=data_seed, mislabelled=mislabelled,
        rule=ap_rule,  # type: ignore[arg-type]
        say=say,
    )  # fmt: skip
    console.print(target_table(summary, only_run=True).terminal())
    console.print(f"Report in {out / 'results' / 'report.html'}.", markup=False, highlight=False, soft_wrap=True)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else text.replace(",", " ").split()


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers with commas between them, such as 0,1,2") from error
