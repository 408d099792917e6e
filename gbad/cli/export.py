"""``gbad export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import Pipeline, check_pipeline
from gbad.cli.terminal import say


def export(
    pipeline: Pipeline,
    out: Annotated[Path, typer.Option(help="The ONNX file.")] = Path("classifier.onnx"),
) -> None:
    """Write the classifier of a pipeline as an ONNX file, for programs in other languages.

    It holds phase 1 alone: logits and features of decoded images. Class heads, gate and second look need gbad.
    """
    pipeline = check_pipeline(pipeline)
    from gbad.pipeline import load
    from gbad.storage.targets import output_file
    from gbad.workflows.export import ONNX
    from gbad.workflows.export import export as workflow

    output_file(out, [pipeline], ONNX)
    workflow(load(pipeline), out)
    say(f"Classifier in {out}.")
