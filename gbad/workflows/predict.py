"""``gbad predict``: score files and folders into a CSV; a run that was killed goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gbad.data.bad_images import BadImages
from gbad.data.images import IMAGE_SUFFIXES, walk_images
from gbad.errors import DataError
from gbad.pipeline import GBADPipeline
from gbad.storage.targets import is_stream
from gbad.workflows.resume import Kept, content_of, go_on, held_scores, part_of
from gbad.workflows.scores_csv import score_to_csv


def predict(
    pipeline: GBADPipeline, paths: Sequence[str | Path], out: str | Path, *, max_bad: float = 1.0, strict: bool = False,
    protected: Sequence[str | Path] = (), show_progress: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Score files and folders into a CSV, rows in the order of the input.

    If a run on the same images with the same pipeline was killed, this one goes on behind what it has scored. Only one
    process at a time writes the same file.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    paths : sequence of path-like
        Images and folders of images.
    out : path-like
        The CSV file; ``-`` or ``/dev/stdout`` for standard output, which cannot go on. If no image can be used, an
        older file stays, and the reasons are in ``<out>.part``.
    max_bad, strict
        How many unusable images are too many, see `BadImages`.
    protected : sequence of path-like
        Files that must not be overwritten, besides the images.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        ``images``, ``anomalous`` and ``bad``: how many.

    Raises
    ------
    GbadError
        If `out` is a folder, a device, an image of the input or `protected`, or cannot be written.
    RunError
        If another process is writing `out`.
    DataError
        If there is no image.
    """
    with ExitStack() as until_done:
        if not is_stream(out):
            part_of(out, protected)  # refuses a folder before anything is read
        files = expand(paths)
        bad, kept = BadImages(len(files), max_bad, strict=strict), Kept()
        if not is_stream(out):
            part_of(out, files)
            until_done.enter_context(held_scores(out))
            names, source = [str(path) for path in files], pipeline.image_source(files)
            kept = go_on(out, content_of(pipeline, files), names, source, bad)
        scored, anomalous = kept.scored, kept.anomalous
        for rows, explanation in score_to_csv(pipeline, files, out, bad, kept=kept, show_progress=show_progress):
            scored += len(rows)
            anomalous += int(explanation.anomalous.sum())
    return {"images": len(files), "anomalous": anomalous, "bad": len(files) - scored}


def expand(paths: Sequence[str | Path]) -> list[Path]:
    """Replace each folder by the image files below it; keep files as given.

    The rules and the order are those of `gbad.data.images.find_images`: links are followed, hidden files and folders
    and those of annotations, lists and masks are skipped. A link that leads nowhere and a folder that cannot be listed
    count, since their rows say so.

    Raises
    ------
    DataError
        If nothing is left.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        is_folder = os.path.isdir(path)  # false for names that are too long, whose rows say so
        found += [Path(image) for _, image in walk_images(path, broken=True)] if is_folder else [path]
    if not found:
        raise DataError(f"no image in {', '.join(map(str, paths))}; gbad reads {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found
