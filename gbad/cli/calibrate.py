"""``gbad calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import MaxBad, Strict
from gbad.cli.terminal import console, say


def calibrate(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline.joblib.")],
    paths: Annotated[
        list[Path], typer.Argument(help="Threat-free images and folders of them, of your own machine.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="The calibrated pipeline, a new file.")] = Path("calibrated.joblib"),
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
) -> None:
    """Take thresholds for false-alarm rates from threat-free images of your own; nothing else changes."""
    from gbad.pipeline import PIPELINE, load
    from gbad.storage.targets import output_file
    from gbad.workflows.calibrate import calibrate as workflow
    from gbad.workflows.calibrate import operating_table
    from gbad.workflows.predict import expand

    output_file(out, [pipeline, *expand(paths)], PIPELINE)
    calibrated = workflow(load(pipeline), paths, max_bad=max_bad, strict=strict, show_progress=True)
    calibrated.save(out)
    held_out = calibrated.fitted_.held_out
    assert held_out is not None
    table = operating_table(held_out)
    console.print(table.terminal(), crop=False)
    free, threats = int((~held_out.labels.any(1)).sum()), int(held_out.labels.any(1).sum())
    following = ("predict", out, "IMAGES", "--false-alarm-rate", table.rows[-1][0]) if table.rows else ()
    say(
        f"{free:,} threat-free images stand behind these rates, and {threats:,} held-out images with threats. "
        f"Pipeline in {out}.", *following,
    )  # fmt: skip
