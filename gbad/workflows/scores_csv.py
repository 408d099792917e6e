"""``scores.csv``: its columns, and writing it batch by batch as images are scored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.errors import GbadError
from gbad.explanation import IMAGE_COLUMNS, Explanation
from gbad.pipeline import GBADPipeline
from gbad.runtime.progress import progress_bar
from gbad.storage.tables import append_rows, open_table, texts
from gbad.storage.targets import is_stream, standard_output
from gbad.workflows.resume import BATCH, LEADING, Kept, complete, part_of

_log = logging.getLogger(__name__)

MANY = 2000
"""So many images are worth the seconds that an ONNX graph takes."""

Decide = Callable[[npt.NDArray[np.int64], Explanation], Mapping[str, Any]]
"""From rows and their scores to the columns of what is decided, behind the leading ones."""


def score_table(
    rows: dict[str, Any], explanation: Explanation, classes: Sequence[str], decided: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Scores of a batch as rows of ``scores.csv``; `rows` holds the leading columns, `decided` those behind them."""
    columns: dict[str, Any] = {name: texts(column) for name, column in rows.items()}
    columns |= dict(zip(LEADING, ("ok", ""), strict=True)) | dict(decided or {})
    columns |= {name: explanation.gated[:, c] for c, name in enumerate(classes)}
    columns |= {f"ungated_{name}": explanation.ungated[:, c] for c, name in enumerate(classes)}
    columns |= dict(zip(explanation.loss_names, explanation.losses.T, strict=True))
    columns |= {name: getattr(explanation, name) for name in IMAGE_COLUMNS}
    for name in ("anomalous", "looked_twice"):
        columns[name] = pd.array(getattr(explanation, name).astype(int), dtype="Int64")  # stays whole beside empty rows
    return pd.DataFrame(columns)


def score_to_csv(
    pipeline: GBADPipeline,
    paths: Sequence[str | Path],
    out: str | Path,
    bad: BadImages,
    *,
    names: Sequence[str] | None = None,
    kept: Kept | None = None,
    decide: Decide | None = None,
    show_progress: bool = False,
) -> Iterator[tuple[npt.NDArray[np.int64], Explanation]]:
    """Score images in their order; write a row an image, batch by batch, and yield each batch.

    Rows go to ``<out>.part``, which becomes `out` when all images are done: `out` is never half a file, and what a
    killed run has scored is not lost, see `gbad.workflows.resume`. If no image can be used, an older `out` stays.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    paths : sequence of path
        Images. One that cannot be used gets a row with its status, the reason and empty scores.
    out : path-like
        The CSV file; ``-`` or ``/dev/stdout`` for standard output.
    bad : BadImages
        Decides how many bad images are too many.
    names : sequence of str, optional
        Written as ``name`` instead of ``path``.
    kept : Kept, optional
        What ``<out>.part`` has already; by default it begins anew.
    decide : callable, optional
        Gives more columns.
    show_progress : bool
        Show a progress bar.

    Yields
    ------
    rows : int array (b,)
    explanation : Explanation
    """
    label, values = ("path", [str(path) for path in paths]) if names is None else ("name", list(names))
    source, kept = pipeline.image_source(paths), kept or Kept()
    first, scored = kept.rows, kept.scored
    begun = bool(first)
    if len(source) - first >= MANY and pipeline.use_onnx():
        _log.info("ONNX Runtime computes the first look")
    left = "" if is_stream(out) else f" What was scored so far is in {part_of(out)}."
    try:
        with _opened(out, first) as file, progress_bar("scoring", len(source), show=show_progress) as advance:
            advance(first)
            for rows, explanation, errors in pipeline.stream(source, np.arange(first, len(source)), BATCH):
                decided = None if decide is None else decide(rows, explanation)
                table = score_table({label: _names(values, rows)}, explanation, pipeline.classes_, decided)
                table.index = pd.Index(rows)
                lines = pd.DataFrame(
                    [(values[row], error.status, error.reason) for row, error in errors.items()],
                    columns=[label, *LEADING], index=list(errors), dtype=object,
                )  # fmt: skip
                table = pd.concat([table, lines]) if len(table) else lines.reindex(columns=table.columns)
                append_rows(table.sort_index(), file, header=not begun)
                file.flush()
                begun, scored = True, scored + len(rows)
                for error in errors.values():
                    bad.add(error)
                yield rows, explanation
                advance(len(rows) + len(errors))
        if not is_stream(out):
            complete(out, scored)
    except OSError as error:
        raise GbadError(f"{out}: scores cannot be written ({error.strerror or error}).{left}") from error


def _names(values: Sequence[str], rows: npt.NDArray[np.int64]) -> pd.Series[str]:
    """Names of rows as objects: a column of texts may take nothing but UTF-8."""
    return pd.Series([values[row] for row in rows.tolist()], dtype=object)


@contextmanager
def _opened(out: str | Path, first: int) -> Iterator[TextIO]:
    """Open what rows are written to: ``<out>.part``, behind the rows that it has, or standard output."""
    if is_stream(out):
        with standard_output() as stream:
            yield stream
        return
    partial = part_of(out)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with open_table(partial, "a" if first else "w") as file:
        yield file
