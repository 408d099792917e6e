"""What an interrupted run has left in ``<out>.part``: the scores in it are kept, and need not be computed again."""

from __future__ import annotations

import csv
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import joblib

from gbad.data.bad_images import BadImages
from gbad.data.pictures import files_of_picture
from gbad.data.source import ImageSource
from gbad.errors import GbadError, ImageError
from gbad.pipeline import GBADPipeline
from gbad.runtime.text import counted
from gbad.storage.digests import digest
from gbad.storage.files import read_json, write_json
from gbad.storage.locks import held
from gbad.storage.targets import Kind, is_stream, output_file
from gbad.workflows.formats import convert, is_csv

_log = logging.getLogger(__name__)

BATCH = 32
"""Images that are scored together. The last digits of a score may depend on it, so only whole batches are kept."""


LEADING = ("status", "reason")
"""Columns between that of the image and those of its scores."""

SCORES = Kind("list of scores", (b",status,", b'"status": ', b"PAR1"))  # CSV, JSON Lines, Parquet


@dataclass(frozen=True)
class Kept:
    """Rows of ``<out>.part`` that need not be computed again.

    Attributes
    ----------
    rows : int
        Number of images, from the first, whose rows are kept.
    scored, alarms, unfamiliar : int
        How many of them could be used; how many of these raised an alarm, and look like no training image.
    """

    rows: int = 0
    scored: int = 0
    alarms: int = 0
    unfamiliar: int = 0


def part_of(out: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """Temporary file that collects the rows of `out`; links are followed.

    Raises
    ------
    GbadError
        If `out` is a folder, a device or a pipe, or holds anything but scores; if it or the temporary file is one of
        `inputs`.
    """
    target = output_file(out, inputs, SCORES)
    return output_file(f"{target}.part", inputs)


@contextmanager
def held_scores(out: str | Path) -> Iterator[None]:
    """Keep other processes from writing the same scores until the block ends; RunError if one does now."""
    target = output_file(out)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GbadError(f"{out}: scores cannot be written ({error.strerror}). Give another path.") from error
    busy = f"{out}: these scores are being written by {{holder}}. Wait until it has ended, or give another file."
    with held(Path(f"{target}.lock"), busy, remove=True):
        yield


def content_of(pipeline: GBADPipeline, paths: Sequence[str | Path], decided: str = "") -> dict[str, str]:
    """What the rows of an image list depend on: paths, sizes and times of the images, pipeline, columns and rule.

    Parameters
    ----------
    pipeline : GBADPipeline
    paths : sequence of path-like
    decided : str
        How images were decided on.
    """
    images: list[str] = []
    for path in paths:
        try:
            images.append(str(path))
            for file in files_of_picture(path):
                status = os.stat(file)
                images += [str(status.st_size), str(status.st_mtime_ns)]
        except (OSError, ValueError):
            images += ["", ""]
    return {
        "images": digest(images),
        "pipeline": str(joblib.hash(pipeline.__getstate__())),
        "columns": " ".join(LEADING),
        "decided": decided,
    }


def begin(out: str | Path, about: dict[str, str]) -> None:
    """Make ready for ``<out>.part``: an existing file is renamed unless it belongs to the same images and pipeline.

    Parameters
    ----------
    out : path-like
        The CSV file to be.
    about : dict
        What `content_of` gives. It goes into ``<out>.part.json``.
    """
    partial = part_of(out)
    if _about(partial) != about:
        _set_aside(partial)
        write_json(_head(partial), about)


def go_on(
    out: str | Path, about: dict[str, str], paths: Sequence[str], source: ImageSource, bad: BadImages
) -> Kept:  # fmt: skip
    """Keep what ``<out>.part`` holds of the same images in the same order, scored by the same pipeline.

    Parameters
    ----------
    out, about
        As for `begin`.
    paths : sequence of n str
        Column ``path`` of the n rows to be.
    source : ImageSource
        The n images. One that could not be read is tried again; if it can be now, rows from its batch on are dropped.
        (A file with a new size or time counts as a new image.)
    bad : BadImages
        Told of those that still cannot be used.

    Raises
    ------
    ImageError, TooManyBadImagesError
        As `bad` decides.
    GbadError
        If a file cannot be changed.
    """
    partial = part_of(out)
    begin(out, about)
    rows = _whole_rows(partial, paths)
    done = len(rows) if len(rows) == len(paths) else len(rows) // BATCH * BATCH
    for number, row in enumerate(rows[:done]):
        if row.status != "ok" and _can_be_used(source, number, bad):
            done = number // BATCH * BATCH
            break
    if not done:
        return Kept()
    try:
        os.truncate(partial, rows[done - 1].end)
    except OSError as error:
        raise GbadError(f"{partial}: scores cannot be continued ({error.strerror}). Move the file away.") from error
    _log.info("continuing behind %s with scores in %s", counted(done, "image"), partial)
    scored = [row for row in rows[:done] if row.status == "ok"]
    return Kept(done, len(scored), sum(row.alarm for row in scored), sum(row.unfamiliar for row in scored))


def complete(out: str | Path, scored: int) -> None:
    """Turn ``<out>.part``, in which all rows are now, into `out`; rows without any score replace no older file.

    If the process is killed while it writes another format than CSV, the next one finds all rows in ``<out>.part``.
    """
    partial, target = part_of(out), output_file(out)
    if not scored and target.exists():
        _log.warning("no image could be scored: %s stays as it was, the reasons are in %s", out, partial)
        return
    if is_csv(out):
        os.replace(partial, target)
    else:
        convert(partial, out)
        partial.unlink()
    _head(partial).unlink(missing_ok=True)


def scored_rows(out: str | Path) -> str | Path:
    """Where the rows of a run that has ended are: `out`, or ``<out>.part`` if an older file was kept."""
    return out if is_stream(out) or not part_of(out).exists() else part_of(out)


class _Row(NamedTuple):
    status: str
    alarm: bool
    unfamiliar: bool
    end: int  # bytes of the file up to the row's end


def _whole_rows(partial: Path, paths: Sequence[str]) -> list[_Row]:
    """Rows at the beginning of a file that are whole and stand where they should."""
    rows: list[_Row] = []
    position, whole = 0, False
    try:
        with partial.open("rb") as file:

            def lines() -> Iterator[str]:
                nonlocal position, whole
                for line in file:
                    position, whole = position + len(line), line.endswith(b"\n")
                    yield line.decode("utf-8", "surrogateescape")

            reader = csv.reader(lines())
            header = next(reader, [])
            for path, row in zip(paths, reader, strict=False):
                if not whole or len(row) != len(header) or row[:1] != [path]:
                    break
                named = dict(zip(header, row, strict=True))
                unfamiliar = float(named["unfamiliarity"] or "nan") > 1
                rows.append(_Row(sys.intern(named["status"]), named["alarm"] == "1", unfamiliar, position))
    except (
        OSError,
        csv.Error,
        KeyError,
        ValueError,
    ):  # no such file; or a damaged one, of which the rows before can be kept
        pass
    return rows


def _can_be_used(source: ImageSource, row: int, bad: BadImages) -> bool:
    try:
        source.load(row)
        if source.open is not None:
            source.open(row).pixels()  # a second look may need it
    except ImageError as error:
        bad.add(error)
        return False
    return True


def _head(partial: Path) -> Path:
    return Path(f"{partial}.json")


def _about(partial: Path) -> Any:
    try:
        return read_json(_head(partial))
    except (OSError, GbadError):
        return None


def _set_aside(partial: Path) -> None:
    try:
        if not partial.exists() or not partial.stat().st_size:
            return
        aside = next(path for number in count(1) if not (path := Path(f"{partial}.{number}")).exists())
        os.replace(partial, aside)
    except OSError as error:
        raise GbadError(f"{partial}: cannot be renamed ({error.strerror}). Move it away by hand.") from error
    _log.warning("%s is of other images or another pipeline; it is called %s now", partial, aside)
