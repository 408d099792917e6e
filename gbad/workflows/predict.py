"""Score lists, files and folders with a fitted pipeline; write the scores as they come."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.data.images import IMAGE_SUFFIXES, image_paths, read_image, walk_images
from gbad.data.labels import read_sixray
from gbad.errors import DataError, GbadError
from gbad.evaluation.figures import evaluate
from gbad.phase1_classifier import class_heatmap
from gbad.pipeline import Explanation, GBADPipeline
from gbad.report import save_plots, write_report
from gbad.runtime.progress import progress_bar
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.workflows.unfinished import BATCH, begin, finish, go_on, identity, part_of

_log = logging.getLogger(__name__)


def score_table(rows: dict[str, Any], explanation: Explanation, classes: Sequence[str]) -> pd.DataFrame:
    """Scores of a batch as rows of ``scores.csv``; `rows` holds the leading columns."""
    columns: dict[str, Any] = rows | {"status": "ok"}
    columns |= {name: explanation.gated[:, c] for c, name in enumerate(classes)}
    columns |= {f"ungated_{name}": explanation.ungated[:, c] for c, name in enumerate(classes)}
    columns |= {
        **dict(zip(explanation.loss_names, explanation.losses.T, strict=True)),
        "gate_score": explanation.gate_score,
        "anomalous": pd.array(explanation.anomalous.astype(int), dtype="Int64"),  # stays whole beside empty rows
        "any_threat": explanation.any_threat,
    }
    return pd.DataFrame(columns)


def score_to_csv(
    pipeline: GBADPipeline,
    paths: Sequence[str | Path],
    out: str | Path,
    bad: BadImages,
    *,
    names: Sequence[str] | None = None,
    first: int = 0,
    show_progress: bool = False,
) -> Iterator[tuple[np.ndarray, Explanation]]:
    """Score images in their order; write a row per image, batch by batch, and yield each batch.

    Rows go to ``<out>.part``, which becomes `out` when all images are done: `out` is never half a file, and what a
    killed run has scored is not lost, see `gbad.workflows.unfinished`.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    paths : sequence of path
        Images. One that cannot be used gets a row with its status and empty scores.
    out : path-like
        The CSV file.
    bad : BadImages
        Decides how many bad images are too many.
    names : sequence of str, optional
        Written as ``name`` instead of ``path``.
    first : int
        ``<out>.part`` has the rows of the images before this one already; 0 begins it anew.
    show_progress : bool
        Show a progress bar.

    Yields
    ------
    rows : int array (b,)
    explanation : Explanation
    """
    label, values = ("path", [str(path) for path in paths]) if names is None else ("name", list(names))
    source = pipeline.image_source(paths)
    partial = part_of(out)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        mode = "a" if first else "w"
        with partial.open(mode, encoding="utf-8", errors="surrogateescape", newline="") as file:
            with progress_bar("scoring", len(source), show=show_progress) as advance:
                advance(first)
                for rows, explanation, errors in pipeline.stream(source, np.arange(first, len(source)), BATCH):
                    table = score_table({label: [values[row] for row in rows]}, explanation, pipeline.classes_)
                    table.index = pd.Index(rows)
                    lines = pd.DataFrame(
                        {label: [values[row] for row in errors], "status": [error.status for error in errors.values()]},
                        index=list(errors),
                    )
                    table = pd.concat([table, lines]) if len(table) else lines.reindex(columns=table.columns)
                    table.sort_index().to_csv(file, header=file.tell() == 0, index=False)
                    file.flush()
                    for error in errors.values():
                        bad.add(error)
                    yield rows, explanation
                    advance(len(rows) + len(errors))
        finish(out)
    except OSError as error:
        raise GbadError(
            f"{out}: scores cannot be written ({error.strerror or error}). What was scored so far is in {partial}."
        ) from error


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


def predict_paths(
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
    kept = go_on(out, identity(pipeline, files), [str(path) for path in files], pipeline.image_source(files), bad)
    scored, anomalous = kept.scored, kept.anomalous
    for rows, explanation in score_to_csv(pipeline, files, out, bad, first=kept.rows, show_progress=show_progress):
        scored += len(rows)
        anomalous += int(explanation.anomalous.sum())
    return {"images": len(files), "anomalous": anomalous, "bad": len(files) - scored}


def evaluate_list(
    pipeline: GBADPipeline,
    data: str | Path,
    subset: int | str,
    out: str | Path,
    *,
    history: pd.DataFrame | None = None,
    max_bad: float = 0.01,
    strict: bool = False,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Evaluate on a test list in SIXray's layout; write metrics.json, scores.csv, report.html and plots to `out`.

    Test images that cannot be used are listed in bad_test_images.csv. An evaluation that was killed begins again.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    data, subset
        The test list ``data/ImageSet/<subset>/test.csv``. Its classes must be the pipeline's, in any order.
    out : path-like
        Folder for the results.
    history : DataFrame, optional
        Training curves for the report.
    max_bad, strict
        How many unusable images are too many, see `BadImages`. They are left out of the figures.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    begun = time.monotonic()
    out = Path(out)
    test = read_sixray(data, subset, "test")
    if sorted(test.classes) != sorted(pipeline.classes_):
        raise DataError(
            f"{data}, subset {subset}: the list has the classes {', '.join(test.classes)}; the pipeline was trained on "
            f"{', '.join(pipeline.classes_)}. Evaluate on a list with the same classes."
        )
    labels = test.labels[:, [test.classes.index(name) for name in pipeline.classes_]]
    paths = image_paths(data, test.names)
    shown, listed = (paths, labels, pipeline.classes_), out / "bad_test_images.csv"
    bad = BadImages(len(paths), max_bad, strict=strict, report=listed, shown=shown)
    begin(out / "scores.csv", identity(pipeline, paths))
    parts = list(score_to_csv(pipeline, paths, out / "scores.csv", bad, names=test.names, show_progress=show_progress))
    rows = np.concatenate([rows for rows, _ in parts])
    if not len(rows):
        raise DataError(f"{data}, subset {subset}: none of the test images can be used")
    score = Explanation.concatenate([part for _, part in parts])
    figures = evaluate(
        labels[rows], score.logits, score.log_gated, score.gate_score, score.anomalous, pipeline.classes_,
        any_threat=score.any_threat,
    )  # fmt: skip
    seconds = {phase: round(done["seconds"], 1) for phase, done in pipeline.training_.items()}
    chosen = {
        "suppression": pipeline.suppression, "strength": pipeline.strength_, "heads_share": pipeline.heads_share_,
        "prevalence": pipeline.prevalence,
        "thresholds": dict(zip(pipeline.classes_, pipeline.thresholds_, strict=True)),
    }  # fmt: skip
    metrics = {
        "subset": str(subset), **figures, "phase3": chosen, "n_bad": len(bad.errors), "seed": pipeline.random_state,
        "versions": library_versions(), "hardware": hardware(),
        "seconds": seconds | {"evaluation": round(time.monotonic() - begun, 1)},
    }  # fmt: skip
    write_json(out / "metrics.json", metrics)
    if bad.errors:
        bad.write(listed)
        _log.warning("%d images were left out, see %s", len(bad.errors), listed)
    else:
        listed.unlink(missing_ok=True)  # of an evaluation before this one
    names = ("ungated", "gated", "losses", "gate_score", "anomalous", "any_threat", "loss_names")
    arrays: dict[str, Any] = {name: getattr(score, name) for name in names}
    save_plots(
        out / "plots", classes=pipeline.classes_, y_true=labels[rows], metrics=metrics, history=history, **arrays
    )
    write_report(
        out / "report.html", title=f"GBAD on {Path(data).name}, subset {subset}", classes=pipeline.classes_,
        y_true=labels[rows], paths=[paths[row] for row in rows], metrics=metrics, history=history,
        info={"command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "settings": pipeline.get_params(deep=False)}
        | {key: metrics[key] for key in ("seed", "seconds", "versions", "hardware")},
        heatmaps=lambda path, column: class_heatmap(pipeline.network(), read_image(path, pipeline.size), column),
        **arrays,
    )  # fmt: skip
    return metrics
