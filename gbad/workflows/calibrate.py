"""``gbad calibrate``: thresholds for false-alarm rates from a user's own threat-free images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gbad.data.bad_images import BadImages
from gbad.errors import DataError
from gbad.explanation import Explanation
from gbad.phase3_gate import HeldOut, OperatingPoint, at_false_alarm_rate, log_odds
from gbad.pipeline import GBADPipeline
from gbad.report.tables import Column, Table
from gbad.runtime.progress import progress_bar
from gbad.runtime.text import counted
from gbad.workflows.inputs import expand

RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
"""False-alarm rates that `operating_table` shows, as far as the held-out images can tell them."""


def calibrate(
    pipeline: GBADPipeline, paths: str | Path | Sequence[str | Path], *, max_bad: float = 0.01, strict: bool = False,
    show_progress: bool = False,
) -> GBADPipeline:  # fmt: skip
    """Take operating points from other threat-free images: those of the machine and the place where it is used.

    Nothing else of the pipeline changes. The images must be threat-free, and none that it was trained on.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted. It is left as it is.
    paths : path-like or sequence of path-like
        Threat-free images, and folders of them; a file that is named twice counts once.
    max_bad, strict
        How many unusable images are too many, see `BadImages`.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    GBADPipeline
        With the same phases, and scores of these images in the place of the threat-free held-out ones.

    Raises
    ------
    DataError
        If no image can be used.
    """
    fitted, given = pipeline.check_fitted(), expand(paths)
    files = [*{os.path.realpath(path): path for path in given}.values()]  # an image counts once
    bad, parts = BadImages(len(files), max_bad, strict=strict), []
    with progress_bar("scoring threat-free images", len(files), show=show_progress) as advance:
        for rows, seen, errors in pipeline.stream(pipeline.image_source(files)):
            for error in errors.values():
                bad.add(error)
            parts.append(seen)
            advance(len(rows) + len(errors))
    seen = Explanation.concatenate(parts)
    if not len(seen.any_threat):
        raise DataError(f"none of {counted(len(files), 'image')} can be used: run `gbad predict` on them to see why.")
    settings = pipeline.settings
    calibrated_for = settings.prevalence if settings.validation_fraction else None
    held_out = fitted.held_out or _nothing(len(pipeline.classes_), calibrated_for)
    own = held_out.with_threat_free(seen.any_threat, log_odds(seen.log_gated))
    return GBADPipeline.from_fitted(pipeline.settings, replace(fitted, held_out=own))


def operating_table(held_out: HeldOut) -> Table[tuple[float, OperatingPoint]]:
    """What alarms for any threat would be like at several false-alarm rates, those that the images can tell."""
    rows = []
    for rate in RATES:
        try:
            rows.append((rate, at_false_alarm_rate(held_out, rate)))
        except DataError:
            break

    def percent(share: float) -> str:
        return "" if np.isnan(share) else f"{100 * share:.3g} %"

    def interval(bounds: tuple[float, float]) -> str:
        return "" if np.isnan(bounds[0]) else f"{100 * bounds[0]:.2g} to {100 * bounds[1]:.3g} %"

    columns: list[Column[Any]] = [
        Column("false alarms wanted", lambda row: row[0], percent),
        Column("threshold", lambda row: row[1].threshold, "{:.3f}".format),
        Column("false alarms", lambda row: row[1].false_alarm_rate, percent),
        Column("95 % interval", lambda row: row[1].false_alarm_interval, interval),
        Column("threats found", lambda row: row[1].recall, percent),
        Column("95 % interval of it", lambda row: row[1].recall_interval, interval),
    ]
    return Table(columns, rows)


def _nothing(classes: int, prevalence: float | None) -> HeldOut:
    """No held-out image."""
    return HeldOut(np.empty(0), np.empty((0, classes)), np.empty((0, classes), np.uint8), prevalence)
