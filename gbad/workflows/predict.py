"""``gbad predict``: score files and folders into a CSV; a run that was killed goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gbad.data.bad_images import BadImages
from gbad.data.images import IMAGE_SUFFIXES, walk_images
from gbad.errors import DataError
from gbad.pipeline import GBADPipeline
from gbad.workflows.resume import content_of, go_on, part_of
from gbad.workflows.scores_csv import score_to_csv


def predict(
    pipeline: GBADPipeline, paths: Sequence[str | Path], out: str | Path, *, max_bad: float = 1.0, strict: bool = False,
    show_progress: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Score files and folders into a CSV, rows in the order of the input.

    If a run on the same images with the same pipeline was killed, this one goes on behind what it has scored.

    Returns
    -------
    dict
        ``images``, ``anomalous`` and ``bad``: how many.
    """
    part_of(out)  # refuses a folder before anything is read
    files = expand(paths)
    bad = BadImages(len(files), max_bad, strict=strict)
    kept = go_on(out, content_of(pipeline, files), [str(path) for path in files], pipeline.image_source(files), bad)
    scored, anomalous = kept.scored, kept.anomalous
    for rows, explanation in score_to_csv(pipeline, files, out, bad, first=kept.rows, show_progress=show_progress):
        scored += len(rows)
        anomalous += int(explanation.anomalous.sum())
    return {"images": len(files), "anomalous": anomalous, "bad": len(files) - scored}


def expand(paths: Sequence[str | Path]) -> list[Path]:
    """Replace each folder by the image files below it; keep files as given.

    The rules and the order are those of `gbad.data.images.find_images`: links are followed, hidden files and folders
    and those of annotations, lists and masks are skipped. A link that leads nowhere counts, since its row says so.

    Raises
    ------
    DataError
        If nothing is left.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        found += [Path(image) for _, image in walk_images(path, broken=True)] if path.is_dir() else [path]
    if not found:
        raise DataError(f"no image in {', '.join(map(str, paths))}; gbad reads {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found
