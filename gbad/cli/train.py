"""``gbad train``, ``refit`` and ``demo``: train a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gbad.cli.help import FIRST
from gbad.cli.parameters import SUBSET, Data, Json, MaxBad, Quiet, Seed, Set, Strict, with_settings
from gbad.cli.terminal import ap_table, chosen_text, console, say, voice
from gbad.errors import GbadError
from gbad.training.settings import GROUPS, Settings, of_group, options

_FIRST = ("backbone", "size", "epochs", "batch_size", "prevalence", "random_state")
"""Settings that most trainings choose."""

_OF_IMAGES = {"image_size": "image_detector_size", "epochs": "image_detector_epochs"}
"""Parameters of the image-level detector that have options."""


@with_settings([name for name, option in options().items() if option.flag], first=_FIRST)
def train(
    context: typer.Context,
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Run folder. A run that is there already continues.", rich_help_panel=FIRST)
    ] = Path("runs/gbad"),
    subset: Annotated[str, typer.Option(help=SUBSET, rich_help_panel=FIRST)] = "10",
    preset: Annotated[
        str | None,
        typer.Option(
            help="paper: GBAD as in the paper (Dumagpi et al. 2020). Options that are given as well have the last "
            "word.",
            rich_help_panel=FIRST,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of settings, as --print-config writes it. It has the last word over --preset, options over "
            "the file.",
            rich_help_panel=FIRST,
        ),
    ] = None,
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
    set_: Set = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as a file for --config, and stop.")
    ] = False,
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
    stop_after: Annotated[int, typer.Option(min=1, max=3, help="Last phase to run.")] = 3,
    quiet: Quiet = False,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Train the three phases; a killed run continues with the same command."""
    from gbad.training.checks import check_settings
    from gbad.training.presets import preset as settings_of
    from gbad.training.run_folder import start_run
    from gbad.training.settings_file import changed_by, merged, read_assignments, read_settings, settings_text
    from gbad.workflows import train as workflow

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    assigned = read_assignments(set_ or ())
    values = merged(
        {} if preset is None else settings_of(preset),
        {} if config is None else read_settings(config),
        {name: value for name, value in settings.items() if name in given},
        assigned,
    )
    alone = [f"--{option.replace('_', '-')}" for option in _OF_IMAGES.values() if option in given]
    if (of_images := values.get("image_detector")) is None and alone:
        raise GbadError(f"{alone[0]} needs an image-level detector. Name one by --image-detector, or leave it out.")
    if of_images is not None:
        own = of_images if isinstance(of_images, dict) else {"kind": of_images}
        usual = {"image_size": image_detector_size, "epochs": image_detector_epochs}
        asked = {name: usual[name] for name, option in _OF_IMAGES.items() if option in given}
        last = assigned.get("image_detector")
        values["image_detector"] = {**usual, **own, **asked, **(last if isinstance(last, dict) else {})}
    chosen = changed_by(Settings(), values)
    check_settings(chosen)
    if print_config:
        typer.echo(settings_text(chosen), nl=False)
        return
    speak = voice(quiet, as_json)
    run = start_run(out, data, subset, chosen, max_bad=max_bad, strict=strict)
    done = workflow.train(run, last=stop_after, show_progress=not quiet)
    saved = out / "pipeline.joblib"
    if not done:  # in a process that is not the main one
        return
    if stop_after == 3:
        speak.say(chosen_text(done["phase3"]))
        speak.say(f"Pipeline in {saved}.", "evaluate", saved, data, "--subset", subset, "--out", out / "evaluation")
    speak.summarise({"run": out, "pipeline": saved if stop_after == 3 else None, **done})


@with_settings([name for name in of_group("gate") if options()[name].flag], unchanged=True)
def refit(
    run: Annotated[Path, typer.Argument(help="Run folder in which phase 2 is done.")],
    out: Annotated[Path, typer.Option(help="New run folder. One that is there already continues.")],
    set_: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Fit phase 3 again with other settings, in seconds; what is not named stays as it was in RUN."""
    from gbad.training.run_folder import read_run_head
    from gbad.training.settings_file import changed_by, merged, read_assignments
    from gbad.workflows import train as workflow

    speak = voice(quiet, as_json)
    values = merged(
        {name: value for name, value in settings.items() if value is not None}, read_assignments(set_ or ())
    )
    changed = changed_by(read_run_head(run).settings, values)
    done = workflow.train(workflow.refit(run, out, **{name: getattr(changed, name) for name in values}))
    if not done:  # in a process that is not the main one
        return
    speak.say(chosen_text(done["phase3"]))
    speak.say(f"Pipeline in {out / 'pipeline.joblib'}.")
    speak.summarise({"run": out, "pipeline": out / "pipeline.joblib", **done})


def demo(out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"), seed: Seed = 12) -> None:
    """Simulate a small set, train all phases, evaluate: the whole of gbad in some ten minutes on two cores."""
    from gbad.workflows.demo import run_demo

    metrics = run_demo(out, seed, console.print)
    console.print(ap_table(metrics))
    images = out / "data" / "JPEGImage"
    say(f"Report in {out / 'report.html'}.", "predict", out / "pipeline.joblib", images, "--out", "scores.csv")
