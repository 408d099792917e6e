"""``gbad predict``: score files and folders, decide on each image, draw what was found; a killed run goes on."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.data.original import Original
from gbad.data.pictures import files_of_picture
from gbad.data.source import opened
from gbad.errors import GbadError, ImageError
from gbad.explanation import Explanation
from gbad.pipeline import GBADPipeline
from gbad.report.drawing import Finding, drawn
from gbad.runtime.text import printable
from gbad.storage.files import atomic_path
from gbad.storage.targets import is_stream
from gbad.workflows.formats import check_format
from gbad.workflows.inputs import expand, one_or_more
from gbad.workflows.picture_folder import made_folder, picture_name
from gbad.workflows.resume import Kept, content_of, go_on, held_scores, part_of
from gbad.workflows.scores_csv import score_to_csv
from gbad.workflows.verdict import Rule, findings, judge, without_places

_log = logging.getLogger(__name__)

FEW = 10
"""So many images, at most, are described in words."""


class Predicted(NamedTuple):
    """What `predict` has done.

    Attributes
    ----------
    images, alarms, unfamiliar, bad : int
        How many images there are, how many raised an alarm, how many look like no training image, and how many cannot
        be used.
    lost : int
        How many have scores, but could no longer be read for their places or pictures.
    lines : list of str
        What was found in each image, in words; empty for more than `FEW` images.
    """

    images: int
    alarms: int
    unfamiliar: int
    bad: int
    lost: int
    lines: list[str]


def predict(
    pipeline: GBADPipeline, paths: str | Path | Sequence[str | Path], out: str | Path, *, rule: Rule | None = None,
    pictures: str | Path | None = None, all_pictures: bool = False, max_bad: float = 1.0, strict: bool = False,
    protected: Sequence[str | Path] = (), show_progress: bool = False,
) -> Predicted:  # fmt: skip
    """Score files and folders, decide on each image, and write a row for each, in the order of the input.

    If a run on the same images with the same pipeline and rule was killed, this one goes on behind what it has scored.
    Only one process at a time writes the same file.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    paths : path-like or sequence of path-like
        Images, folders of images, and patterns, see `gbad.workflows.inputs.expand`.
    out : path-like
        The file of scores, whose suffix says the format, see `gbad.workflows.formats`; ``-`` or ``/dev/stdout`` for CSV
        on standard output, which cannot go on. If no image can be used, an older file stays, and the reasons are in
        ``<out>.part``, a CSV.
    rule : Rule, optional
        When an image raises an alarm, see `gbad.workflows.verdict.make_rule`. Default: the classes' own thresholds.
    pictures : path-like, optional
        Folder for a picture of each image that raised an alarm, with what was found drawn in.
    all_pictures : bool
        Draw all images; needs `pictures`.
    max_bad, strict
        How many unusable images are too many, see `BadImages`.
    protected : sequence of path-like
        Files that must not be overwritten, besides the images.
    show_progress : bool
        Show a progress bar.

    Raises
    ------
    GbadError
        If `out` is a folder, a device, an image of the input or `protected`, has no known suffix, holds anything but
        scores, or cannot be written; if `pictures` is where the input is searched, see
        `gbad.workflows.picture_folder`, cannot be made, or is not given although all images are to be drawn.
    RunError
        If another process is writing `out`.
    DataError
        If there is no image.
    """
    rule = rule or Rule()
    if all_pictures and pictures is None:
        raise GbadError(
            "all_pictures needs a folder for pictures, and none is given. Name one, or leave it out.",
            settings=("all_pictures",),
        )
    with ExitStack() as until_done:
        if not is_stream(out):
            part_of(out, protected)  # refuses a folder before anything is read
        files = expand(paths)
        if pictures is not None:
            made_folder(pictures, one_or_more(paths), files)
        bad, kept = BadImages(len(files), max_bad, strict=strict), Kept()
        source = pipeline.image_source(files)
        described: dict[int, str] = {}
        if not is_stream(out):
            part_of(out, (file for path in files for file in files_of_picture(path)))
            check_format(out)
            until_done.enter_context(held_scores(out))
            names = [str(path) for path in files]
            kept = go_on(out, content_of(pipeline, files, f"{rule} {pictures} {all_pictures}"), names, source, bad)

        scored, alarms, unfamiliar, lost = kept.scored, kept.alarms, kept.unfamiliar, 0

        def look(row: int, present: npt.NDArray[np.bool_], seen: Explanation, number: int) -> _Looked:
            """Find the places in an image, and draw it. One that has gone since it was scored keeps its scores."""
            nonlocal lost
            found, size = without_places(pipeline, present, seen, number), None
            try:
                original = opened(source, row)
                found, size = findings(pipeline, original, present, seen, number), original.size
                if pictures is not None:
                    _draw(Path(pictures), row, files[row], original, found)
            except ImageError as error:
                if strict:
                    raise
                lost += 1
                what = " and ".join(["place"] * (size is None) + ["picture"] * (pictures is not None))
                _log.warning("%s: has scores, but no %s: %s", files[row], what, error.reason)
            return _Looked(found, size)

        def decide(rows: npt.NDArray[np.int64], seen: Explanation) -> dict[str, Any]:
            nonlocal alarms, unfamiliar
            verdict, strange = judge(pipeline, seen, rule), seen.unfamiliarity > 1
            alarms, unfamiliar = alarms + int(verdict.alarm.sum()), unfamiliar + int(strange.sum())
            looked: list[_Looked | None] = []
            for number, row in enumerate(rows.tolist()):
                wanted = verdict.alarm[number] or (all_pictures and pictures is not None)
                looked.append(look(row, verdict.present[number], seen, number) if wanted else None)
            found = [one if alarm else None for one, alarm in zip(looked, verdict.alarm.tolist(), strict=True)]
            if len(files) <= FEW:
                for row, one, probability, odd in zip(
                    rows.tolist(), found, verdict.probability.tolist(), strange.tolist(), strict=True
                ):
                    words = in_words(files[row], None if one is None else one.found, one and one.size, probability)
                    described[row] = words + ("  BUT IT LOOKS LIKE NO TRAINING IMAGE" if odd else "")
            return {
                "alarm": pd.array(verdict.alarm.astype(int), dtype="Int64"),
                "classes": ["" if one is None else "; ".join(each.name for each in one.found) for one in found],
                "threat_probability": verdict.probability,
                "boxes": ["" if one is None or one.size is None else _boxes(one.found, one.size) for one in found],
            }  # fmt: skip

        for rows, _ in score_to_csv(pipeline, files, out, bad, kept=kept, decide=decide, show_progress=show_progress):
            scored += len(rows)
    lines = []
    if len(files) <= FEW and not kept.rows:
        reasons = {str(path): error.status for path, error in bad.errors.items()}
        lines = [
            described.get(row, f"{path}  CANNOT BE USED  {reasons.get(str(path), '')}")
            for row, path in enumerate(files)
        ]
    return Predicted(len(files), alarms, unfamiliar, len(files) - scored, lost, lines)


class _Looked(NamedTuple):
    """What was found in an image, and its width and height; None if it can no longer be read."""

    found: list[Finding]
    size: tuple[int, int] | None


def in_words(
    path: str | Path, found: Sequence[Finding] | None, size: tuple[int, int] | None, probability: float
) -> str:
    """One line about an image: alarm or not, and each class with its probability and place in pixels.

    Parameters
    ----------
    path : path-like
    found : sequence of Finding, or None
        None if there is no alarm.
    size : (int, int) or None
        Width and height of the image; None if it can no longer be read.
    probability : float
        That the image holds any threat; NaN if it is not known.
    """
    if found is None:
        return f"{path}  no alarm" + ("" if math.isnan(probability) else f"  any threat {probability:.2f}")
    texts = []
    for one in found:
        text = f"{one.name} {one.probability:.2f}"
        if one.box is not None and size is not None:
            left, top, right, bottom = pixel_box(one, size)
            text += f" (x {left}-{right}, y {top}-{bottom})"
        texts.append(text)
    return f"{path}  ALARM  {', '.join(texts)}" + ("" if size else "  BUT IT CAN NO LONGER BE READ")


def pixel_box(found: Finding, size: tuple[int, int]) -> list[int]:
    """Left, top, right and bottom in pixels of an image of this width and height."""
    assert found.box is not None
    pixels: list[int] = np.round(found.box * np.tile(size, 2)).astype(int).tolist()
    return pixels


def _boxes(found: Sequence[Finding], size: tuple[int, int]) -> str:
    """The column ``boxes``: JSON, class to left, top, right and bottom in pixels of the image."""
    return json.dumps({one.name: pixel_box(one, size) for one in found if one.box is not None})


def _draw(folder: Path, row: int, path: Path, original: Original, found: Sequence[Finding]) -> None:
    with atomic_path(folder / picture_name(row, path)) as temporary:
        drawn(original.pixels(), found, title=printable(path.name)).save(temporary, format="JPEG", quality=90)
