"""``gbad evaluate``: score a test list; write metrics.json, scores.csv, report.html and plots."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import LabelList, read_sixray, with_classes
from gbad.errors import DataError
from gbad.evaluation.figures import evaluate as evaluation_figures
from gbad.evaluation.metrics import Rule, check_rule
from gbad.explanation import Explanation
from gbad.pipeline import GBADPipeline
from gbad.report.evaluation import Evaluation
from gbad.report.plots import save_plots
from gbad.runtime.text import counted
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.storage.targets import check_apart
from gbad.workflows.evaluation_report import report_on
from gbad.workflows.resume import begin, content_of, held_scores
from gbad.workflows.scores_csv import score_to_csv

_log = logging.getLogger(__name__)


def evaluate(
    pipeline: GBADPipeline,
    data: str | Path,
    subset: int | str,
    out: str | Path,
    *,
    rule: Rule = "all_points",
    history: pd.DataFrame | None = None,
    seconds: Mapping[str, float] | None = None,
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
        The test list ``data/ImageSet/<subset>/test.csv``. Its classes are the pipeline's or some of them, in any order.
        Figures of a class that it lacks are missing, and an image counts as threat-free by the classes that it has.
    out : path-like
        Folder for the results, apart from `data`.
    rule : {"all_points", "voc07", "voc10"}
        See `gbad.evaluation.metrics.average_precision`.
    history : DataFrame, optional
        Training curves for the report.
    seconds : mapping of str to float, optional
        Of the phases of the training, see `gbad.training.run_folder.training_seconds`.
    max_bad, strict
        How many unusable images are too many, see `BadImages`. They are left out of the figures.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    check_rule(rule)
    check_apart(out, data)
    test = read_sixray(data, subset, "test")
    if set(test.classes) - set(pipeline.classes_):
        raise DataError(
            f"{data}, subset {subset}: the list has the classes {', '.join(test.classes)}; the pipeline was trained on "
            f"{', '.join(pipeline.classes_)}. Evaluate on a list with the same classes, or some of them."
        )
    if lacking := [name for name in pipeline.classes_ if name not in test.classes]:
        _log.warning("%s, subset %s: the list has no %s; its figures are missing", data, subset, ", ".join(lacking))
    with held_scores(Path(out) / "scores.csv"):
        return _evaluate(
            pipeline, data, subset, test, Path(out), rule=rule, history=history, seconds=seconds, max_bad=max_bad,
            strict=strict, show_progress=show_progress,
        )  # fmt: skip


def _evaluate(
    pipeline: GBADPipeline, data: str | Path, subset: int | str, test: LabelList, out: Path, *,
    rule: Rule, history: pd.DataFrame | None, seconds: Mapping[str, float] | None, max_bad: float, strict: bool,
    show_progress: bool,
) -> dict[str, Any]:  # fmt: skip
    begun = time.monotonic()
    labels = with_classes(test, pipeline.classes_).labels
    paths = image_paths(data, test.names)
    shown, listed = (paths, labels, pipeline.classes_), out / "bad_test_images.csv"
    bad = BadImages(len(paths), max_bad, strict=strict, report=listed, shown=shown)
    begin(out / "scores.csv", content_of(pipeline, paths))
    parts = list(score_to_csv(pipeline, paths, out / "scores.csv", bad, names=test.names, show_progress=show_progress))
    rows = np.concatenate([rows for rows, _ in parts])
    if not len(rows):
        raise DataError(f"{data}, subset {subset}: none of the test images can be used")
    score = Explanation.concatenate([part for _, part in parts])
    figures = evaluation_figures(labels[rows], score, pipeline.classes_, rule=rule)
    figures["prevalence"] |= {name: math.nan for name in pipeline.classes_ if name not in test.classes}
    fitted, settings = pipeline.fitted_, pipeline.settings
    decision = fitted.decision
    chosen = {
        "suppression": decision.suppression, "strength": decision.strength, "heads_share": decision.heads_share,
        "prevalence": settings.prevalence,
        "second_look": None if fitted.second is None else {
            "share": fitted.second.decision.share, "strength": fitted.second.decision.strength
        },
        "thresholds": dict(zip(fitted.classes, fitted.thresholds, strict=True)),
    }  # fmt: skip
    metrics = {
        "subset": str(subset), **figures, "phase3": chosen, "n_bad": len(bad.errors), "seed": settings.random_state,
        "versions": library_versions(), "hardware": hardware(),
        "seconds": {**(seconds or {}), "evaluation": round(time.monotonic() - begun, 1)},
    }  # fmt: skip
    write_json(out / "metrics.json", metrics)
    if bad.errors:
        bad.write(listed)
        _log.warning("%s left out, see %s", counted(len(bad.errors), "image"), listed)
    else:
        listed.unlink(missing_ok=True)  # of an evaluation before this one
    evaluation = Evaluation(pipeline.classes_, labels[rows], score, fitted.thresholds, metrics, history)
    save_plots(out / "plots", evaluation)
    report_on(
        out / "report.html", pipeline, evaluation, data, subset, [test.names[row] for row in rows],
        [paths[row] for row in rows],
    )  # fmt: skip
    return metrics
