"""``gbad evaluate`` and ``predict``: score test lists, files and folders with a trained pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import (
    APRule,
    Data,
    From,
    Json,
    MaxBad,
    Paths,
    Pipeline,
    Quiet,
    Strict,
    Subset,
    check_pipeline,
    given_paths,
    pipeline_or_images,
    refuse_two_outputs,
)  # fmt: skip
from gbad.cli.terminal import ap_table, voice
from gbad.errors import GbadError
from gbad.models import DEFAULT, shipped
from gbad.runtime.imports import postpone, uncollected
from gbad.runtime.text import counted

SOME_UNUSABLE = 3
"""Exit status where some images have scores and others cannot be used, or not any more."""


def evaluate(
    pipeline: Pipeline,
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for metrics.json, scores.csv, bad_test_images.csv, report.html, plots.")
    ] = Path("evaluation"),
    subset: Subset = "10",
    ap_rule: APRule = "all_points",
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Evaluate a pipeline on a test list: per-class average precision, any-threat figures, report.

    With --json, standard output has what metrics.json holds.
    """
    pipeline = check_pipeline(pipeline)
    from gbad.phase1_classifier.checkpoints import read_history
    from gbad.pipeline import load
    from gbad.training.run_folder import training_seconds
    from gbad.workflows import evaluate as workflow

    speak = voice(quiet, as_json)
    metrics = workflow.evaluate(
        load(pipeline),
        data,
        subset,
        out,
        rule=ap_rule,  # type: ignore[arg-type]
        history=read_history(pipeline.parent / "phase1"),
        seconds=training_seconds(pipeline.parent),
        max_bad=max_bad,
        strict=strict,
        show_progress=not quiet,
    )
    speak.show(ap_table(metrics))
    speak.say(f"Report in {out / 'report.html'}.")
    speak.summarise(metrics)


def predict(
    pipeline: Annotated[
        Path | None,
        typer.Argument(
            help="A pipeline.joblib, or simulated-bags, which comes with gbad and is taken where none is named.",
            show_default=False,
            readable=False,  # it may be an image, whose row says that it cannot be read
        ),
    ] = None,
    paths: Paths = None,
    from_: From = None,
    out: Annotated[
        Path,
        typer.Option(help="Scores, a row an image, as .csv, .jsonl or .parquet; - for CSV on standard output."),
    ] = Path("scores.csv"),
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Alarm so that at most this share of threat-free images raises one. Default: by class."),
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Alarm so that at least this share of images with threats raises one.")
    ] = None,
    about: Annotated[str | None, typer.Option("--class", help="Class that the rate is about. Default: any.")] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of images with a threat that threat_probability is for. Default: as trained for."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of images with an alarm, with what was found drawn in.")
    ] = None,
    all_pictures: Annotated[bool, typer.Option("--all-pictures", help="Draw all images into --pictures.")] = False,
    max_bad: MaxBad = 1.0,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score images and folders and decide on each; images that cannot be used get a row that says why.

    A run that was interrupted goes on with the same command. The exit status is 3 if some images cannot be used.
    """
    refuse_two_outputs(as_json, out)
    named, paths = pipeline_or_images(pipeline, paths)
    found = check_pipeline(named or shipped(DEFAULT))
    inputs = given_paths(paths, from_)
    postpone("scipy.stats")
    with uncollected():
        from gbad.pipeline import load
        from gbad.workflows import predict as workflow
        from gbad.workflows.resume import scored_rows
        from gbad.workflows.verdict import make_rule

    speak, loaded = voice(quiet, as_json), load(found)
    if named is None:
        speak.say(
            f"No pipeline is named: {DEFAULT} is taken, which comes with gbad and knows simulated bags alone.",
            beside=out,
        )
    rule = make_rule(loaded, false_alarm_rate=false_alarm_rate, recall=recall, about=about, prevalence=prevalence)
    done = workflow.predict(
        loaded, inputs, out, rule=rule, pictures=pictures, all_pictures=all_pictures, max_bad=max_bad, strict=strict,
        protected=[found], show_progress=not quiet,
    )  # fmt: skip
    where = scored_rows(out)
    for line in done.lines:
        speak.say(line, beside=out)
    shown = "" if pictures is None else f" Pictures in {pictures}."
    speak.say(
        f"{counted(done.images, 'image')}, {counted(done.alarms, 'alarm')}, {done.bad:,} that cannot be used. "
        f"Scores in {where}.{shown}",
        beside=out,
    )
    if done.lost:
        speak.say(
            f"{counted(done.lost, 'image')} with scores could no longer be read for a place or picture.", beside=out
        )
    if done.unfamiliar:
        speak.say(
            f"{counted(done.unfamiliar, 'image')} of these look like no training image, by colours and edges: their "
            "scores mean nothing (column unfamiliarity above 1).",
            beside=out,
        )
    speak.summarise({
        "pipeline": named or DEFAULT, "images": done.images, "alarms": done.alarms, "unfamiliar": done.unfamiliar,
        "bad": done.bad, "lost": done.lost, "scores": where, "pictures": pictures,
    })  # fmt: skip
    if done.bad == done.images:
        raise GbadError(f"none of {counted(done.images, 'image')} can be used; the column reason of {where} says why")
    if done.bad or done.lost:
        raise typer.Exit(SOME_UNUSABLE)
