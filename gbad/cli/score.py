"""``gbad evaluate`` and ``predict``: score test lists, files and folders with a trained pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import APRule, Data, MaxBad, Strict, Subset
from gbad.cli.terminal import ap_table, console, say
from gbad.errors import GbadError


def evaluate(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline.joblib.")],
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for metrics.json, scores.csv, bad_test_images.csv, report.html, plots.")
    ] = Path("evaluation"),
    subset: Subset = "10",
    ap_rule: APRule = "all_points",
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
) -> None:
    """Evaluate a pipeline on a test list: per-class average precision, any-threat figures, report."""
    from gbad.phase1_classifier.checkpoints import read_history
    from gbad.pipeline import load
    from gbad.workflows import evaluate as workflow

    metrics = workflow.evaluate(
        load(pipeline),
        data,
        subset,
        out,
        rule=ap_rule,  # type: ignore[arg-type]
        history=read_history(pipeline.parent / "phase1"),
        max_bad=max_bad,
        strict=strict,
        show_progress=True,
    )
    console.print(ap_table(metrics))
    say(f"Report in {out / 'report.html'}.")


def predict(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline.joblib.")],
    paths: Annotated[list[Path], typer.Argument(help="Images and folders of images.", readable=False)],
    out: Annotated[
        Path, typer.Option(help="CSV with one row per image, in the order of the input; - for standard output.")
    ] = Path("scores.csv"),
    max_bad: MaxBad = 1.0,
    strict: Strict = False,
) -> None:
    """Score images and folders; images that cannot be used get a row that says why.

    A run that was interrupted goes on with the same command.
    """
    from gbad.pipeline import load
    from gbad.workflows import predict as workflow
    from gbad.workflows.resume import scored_rows

    counts = workflow.predict(
        load(pipeline), paths, out, max_bad=max_bad, strict=strict, protected=[pipeline], show_progress=True
    )
    where = scored_rows(out)
    say(
        f"{counts['images']:,} images, {counts['anomalous']:,} anomalous, {counts['bad']:,} that cannot be used. "
        f"Scores in {where}.",
        beside=out,
    )
    if counts["bad"] == counts["images"]:
        raise GbadError(f"none of the {counts['images']:,} images can be used; the column reason of {where} says why")
