"""``gbad train``, ``refit`` and ``demo``: train a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gbad.cli.parameters import Data, MaxBad, Seed, Strict, Subset, with_settings
from gbad.cli.terminal import ap_table, console, say
from gbad.training.settings import GROUPS, Settings, of_group, options


@with_settings([name for name, option in options().items() if option.flag])
def train(
    context: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder. A run that is there already continues.")] = Path("runs/gbad"),
    subset: Subset = "10",
    image_detector_size: Annotated[
        int,
        typer.Option(
            help="Side of the images of the image-level detector: 32, 64, 128 or 256 px.",
            rich_help_panel=GROUPS["detector"],
        ),
    ] = 64,
    image_detector_epochs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Passes of the image-level detector over the threat-free images.",
            rich_help_panel=GROUPS["detector"],
        ),
    ] = 15,
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="paper: GBAD as in the paper (Dumagpi et al. 2020). Options that are given as well have the last word."
        ),
    ] = None,
    stop_after: Annotated[int, typer.Option(min=1, max=3, help="Last phase to run.")] = 3,
    **settings: Any,
) -> None:
    """Train the three phases; a killed run continues with the same command."""
    from gbad.training.checks import check_settings
    from gbad.training.phase2 import make_image_detector
    from gbad.training.presets import preset as settings_of
    from gbad.training.run_folder import start_run
    from gbad.workflows import train as workflow

    if preset is not None:
        sources = {name: context.get_parameter_source(name) for name in settings}
        by_default = {name for name, source in sources.items() if source is None or source.name != "COMMANDLINE"}
        settings |= {name: value for name, value in settings_of(preset).items() if name in by_default}
    chosen = Settings(**settings)
    check_settings(chosen)
    detector = make_image_detector(chosen)
    if detector is not None:
        detector.set_params(image_size=image_detector_size, epochs=image_detector_epochs)
        chosen = chosen.changed(image_detector=detector)
    run = start_run(out, data, subset, chosen, max_bad=max_bad, strict=strict)
    workflow.train(run, last=stop_after, show_progress=True)
    if stop_after == 3:
        saved = out / "pipeline.joblib"
        say(f"Pipeline in {saved}.", "evaluate", saved, data, "--subset", subset, "--out", out / "evaluation")


@with_settings([name for name in of_group("gate") if options()[name].flag], unchanged=True)
def refit(
    run: Annotated[Path, typer.Argument(help="Run folder in which phase 2 is done.")],
    out: Annotated[Path, typer.Option(help="New run folder. One that is there already continues.")],
    **settings: Any,
) -> None:
    """Fit phase 3 again with other settings, in seconds; what is not named stays as it was in RUN."""
    from gbad.workflows import train as workflow

    changes = {name: value for name, value in settings.items() if value is not None}
    workflow.train(workflow.refit(run, out, **changes))
    say(f"Pipeline in {out / 'pipeline.joblib'}.")


def demo(out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"), seed: Seed = 12) -> None:
    """Simulate a small set, train all phases, evaluate: the whole of gbad in a few minutes on two cores."""
    from gbad.workflows.demo import run_demo

    metrics = run_demo(out, seed, console.print)
    console.print(ap_table(metrics))
    images = out / "data" / "JPEGImage"
    say(f"Report in {out / 'report.html'}.", "predict", out / "pipeline.joblib", images, "--out", "scores.csv")
