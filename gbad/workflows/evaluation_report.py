"""The page about an evaluation: what the pipeline and the data add to the figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gbad.data.source import opened
from gbad.phase3_gate import HeldOut, OperatingPoint, at_threshold, log_odds
from gbad.pipeline import GBADPipeline
from gbad.report.evaluation import Evaluation
from gbad.report.numbers import interval, percent, signed
from gbad.report.page import write_report
from gbad.report.tables import Column, Table
from gbad.report.truth import true_boxes
from gbad.training.settings import Settings
from gbad.workflows.calibrate import operating_table
from gbad.workflows.verdict import findings


def report_on(
    path: str | Path, pipeline: GBADPipeline, evaluation: Evaluation, data: str | Path, subset: int | str,
    names: Sequence[str], paths: Sequence[Path],
) -> None:  # fmt: skip
    """Write the report of an evaluation.

    Parameters
    ----------
    path : path-like
    pipeline : GBADPipeline
        Fitted; the one that was evaluated.
    evaluation : Evaluation
        Of n images.
    data, subset
        The test list.
    names, paths : sequences of n str, n Path
        The images.
    """
    fitted, seen = pipeline.check_fitted(), evaluation.scores
    source = pipeline.image_source(paths)
    operating, about_operating = _operating(fitted.held_out, evaluation)
    write_report(
        path, evaluation, title=f"GBAD ({_model_name(pipeline.settings)}) on {_data_name(data)}, subset {subset}",
        paths=paths,
        info={"command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "settings": pipeline.get_params(deep=False)}
        | {key: evaluation.metrics[key] for key in ("seed", "seconds", "versions", "hardware")},
        findings=lambda row: findings(pipeline, opened(source, row), evaluation.found[row], seen, row),
        truth=true_boxes(data, names, paths, evaluation.labels, evaluation.classes), operating=operating,
        about_operating=about_operating,
    )  # fmt: skip


def _model_name(settings: Settings) -> str:
    """Backbone, size and looks, for a title."""
    second = f", second look at {settings.region_size} px" if settings.second_look else ""
    return f"{settings.backbone}, {settings.size} px{second}"


def _data_name(data: str | Path) -> str:
    """Name of the data's folder; with that of the folder around it if the name says nothing."""
    folder = Path(data).resolve()
    name = f"{folder.parent.name}/{folder.name}" if folder.name == "data" else folder.name
    return f"simulated bags {name}" if (folder / "simulation.json").exists() else name


def _operating(held_out: HeldOut | None, evaluation: Evaluation) -> tuple[Table[Any] | None, str]:
    """Table of thresholds for false-alarm rates, on held-out images and on those of the list, and a note on it."""
    if held_out is None:
        return None, "This pipeline has no scores of held-out images, so no threshold can be given for a rate."
    points = operating_table(held_out).rows
    if not points:
        return None, "The held-out threat-free images are too few for a false-alarm rate."
    scores = evaluation.scores
    own = HeldOut(scores.any_threat, log_odds(scores.log_gated), evaluation.labels, None)
    rows = [(rate, point, at_threshold(own, point.threshold)) for rate, point in points]
    columns: list[Column[tuple[float, OperatingPoint, OperatingPoint]]] = [
        Column("False-alarm rate of at most", lambda row: percent(row[0])),
        Column("Threshold", lambda row: signed(row[1].threshold, 3)),
        Column("False alarms, held out", lambda row: _share(row[1].false_alarm_rate, row[1].false_alarm_interval)),
        Column("Threats found, held out", lambda row: _share(row[1].recall, row[1].recall_interval)),
        Column("False alarms, this list", lambda row: _share(row[2].false_alarm_rate, row[2].false_alarm_interval)),
        Column("Threats found, this list", lambda row: _share(row[2].recall, row[2].recall_interval)),
    ]
    return Table(columns, rows), (
        "On the score for any threat, the column any_threat of scores.csv. The thresholds come from "
        f"{points[0][1].threat_free:,} threat-free images and {points[0][1].threats:,} with threats that were held out "
        "of the training. Small figures: exact 95 % intervals."
    )


def _share(value: float, bounds: tuple[float, float]) -> str:
    return f"{percent(value)} ({interval(bounds)})" if interval(bounds) else percent(value)
