"""``gbad calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import From, MaxBad, Pipeline, Strict, check_pipeline, given_paths, paths_argument
from gbad.cli.terminal import console, say
from gbad.runtime.text import counted


def calibrate(
    pipeline: Pipeline,
    paths: Annotated[
        list[Path] | None,
        paths_argument("Threat-free images of your own machine, folders of them, and patterns; - reads names."),
    ] = None,
    from_: From = None,
    out: Annotated[Path, typer.Option(help="The calibrated pipeline, a new file.")] = Path("calibrated.joblib"),
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
) -> None:
    """Take thresholds for false-alarm rates from threat-free images of your own; nothing else changes."""
    pipeline = check_pipeline(pipeline)
    inputs = given_paths(paths, from_)
    from gbad.data.pictures import files_of_picture
    from gbad.pipeline import PIPELINE, load
    from gbad.storage.targets import output_file
    from gbad.workflows.calibrate import calibrate as workflow
    from gbad.workflows.calibrate import operating_table
    from gbad.workflows.inputs import expand

    images = expand(inputs)
    output_file(out, [pipeline, *(file for image in images for file in files_of_picture(image))], PIPELINE)
    calibrated = workflow(load(pipeline), images, max_bad=max_bad, strict=strict, show_progress=True)
    calibrated.save(out)
    held_out = calibrated.fitted_.held_out
    assert held_out is not None
    table = operating_table(held_out)
    console.print(table.terminal())
    free, threats = int((~held_out.labels.any(1)).sum()), int(held_out.labels.any(1).sum())
    following = ("predict", out, "IMAGES", "--false-alarm-rate", table.rows[-1][0]) if table.rows else ()
    say(
        f"Behind these rates: {counted(free, 'threat-free image')}, and {counted(threats, 'held-out image')} with "
        f"threats. Pipeline in {out}.", *following,
    )  # fmt: skip
