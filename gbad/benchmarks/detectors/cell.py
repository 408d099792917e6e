"""One cell of the benchmark: train one detector on one task with one seed, and measure it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.detectors.control import control_scores
from gbad.benchmarks.detectors.cost import BATCHES, inference_parameters, milliseconds_per_image
from gbad.benchmarks.detectors.curves import equal_error_rate
from gbad.benchmarks.detectors.paper_mode import PaperMode
from gbad.benchmarks.detectors.tasks import Task, numbered, unit_scores
from gbad.benchmarks.store import save_arrays
from gbad.data.arrays import Mask, Pixels, Rows
from gbad.data.one_class import load_all
from gbad.errors import DivergedError
from gbad.evaluation.localisation import per_region_overlap, pixel_roc_auc
from gbad.evaluation.measures import FALSE_ALARM_RATE, detection_measures, resampled_roc_auc
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.runtime.randomness import derived_seed
from gbad.storage.digests import digest

Kind = TypeVar("Kind", bound=np.generic)

EXAMPLES = 4
"""Most abnormal and least abnormal images that are kept for the report, of each."""

_CALIBRATION_ROWS = 2048
_COMPARED_TOGETHER = 256  # images


@dataclass(frozen=True, eq=False)
class LoadedTask:
    """A task with its images in memory, or in a temporary file if they are many; ROC-AUC of `control_scores`."""

    task: Task
    train: Pixels
    test: Pixels
    masks: Mask | None
    control: float


def load_task(task: Task, in_memory: int = 2**31) -> LoadedTask:
    """Read all images of a task; if all are grey, they get one channel. `in_memory` as in `load_all`."""
    train, test = load_all(task.train, in_memory), load_all(task.test, in_memory)
    if _is_grey(train) and _is_grey(test):
        train, test = _one_channel(train), _one_channel(test)
    masks = None
    if task.mask is not None:
        masks = np.empty(test.shape[:3], bool)
        for row in range(len(test)):
            masks[row] = task.mask(row)
    scores = unit_scores(control_scores(train, test), task.unit)
    return LoadedTask(task, train, test, masks, detection_measures(task.abnormal, scores, None)["roc_auc"])


def _is_grey(images: Pixels) -> bool:
    some = (images[start : start + _COMPARED_TOGETHER] for start in range(0, len(images), _COMPARED_TOGETHER))
    return all((part == part[..., :1]).all() for part in some)


def _one_channel(images: Pixels) -> Pixels:
    """First channel: a copy, so that the others are freed; of a file that is mapped into memory only a view."""
    return images[..., :1] if isinstance(images, np.memmap) else images[..., :1].copy()


def run_cell(
    loaded: LoadedTask,
    detector: ImageAnomalyDetector[Any],
    work: Path,
    *,
    paper_every: int = 1,
    examples: Path | None = None,
    kept_scores: Path | None = None,
    resamples: int = 1000,
    on_epoch: Callable[[int], object] = lambda epoch: None,
) -> dict[str, Any]:
    """Train a detector on a task and measure it in clean and in paper mode.

    Parameters
    ----------
    loaded : LoadedTask
        As from `load_task`.
    detector : ImageAnomalyDetector
        Not fitted; its ``contamination`` is the false-alarm rate of the operating point.
    work : Path
        Folder for the state of the training. A state that is there is continued.
    paper_every : int
        Test in paper mode after the last epoch and every so many before it; 0: never.
    examples : Path, optional
        File for the most and the least abnormal test images.
    kept_scores : Path, optional
        File for the scores of all test units: ``abnormal``, ``clean`` and, with paper mode, ``paper``.
    resamples : int
        Bootstrap resamples of the test images.
    on_epoch : callable
        ``on_epoch(epoch)`` is called after each epoch, from 1.

    Returns
    -------
    dict
        ``clean`` and ``paper`` (None without): measures of each mode; ``recall_of``: recall and number of units of each
        abnormal class, clean; ``resamples``: ROC-AUC on bootstrap resamples of
        each mode; ``paper_history``: ROC-AUC of paper mode after each epoch; ``losses``: mean of each training loss in
        each epoch; ``control``: ROC-AUC of `control_scores`; ``cost``; ``counts``: numbers of rows.

    Raises
    ------
    DivergedError
        If the training diverges, or scores or maps of test images are not finite.
    """
    task = loaded.task
    tested = range(detector.epochs, 0, -paper_every) if paper_every else ()
    tester: PaperMode | None = None
    if tested:
        order_matters = "batch statistics" in detector.published_leaks
        tester = PaperMode(work / "paper.json", loaded.test, task.unit, task.abnormal, tested, order_matters)
    ends: list[float] = []  # of the epochs that this process trains, with the time of paper tests taken out

    def now() -> float:
        return time.perf_counter() - (0.0 if tester is None else tester.seconds)

    def after_epoch(epoch: int, *_: object) -> None:
        ends.append(now())
        on_epoch(epoch)

    start = now()

    detector.fit(
        loaded.train,
        checkpoint=work / "checkpoint.pt",
        callback=after_epoch,
        each_epoch=None if tester is None else tester.test,
    )
    scores = unit_scores(_finite(detector.anomaly_score(loaded.test), "scores"), task.unit)
    modes = {"clean": scores}
    threshold = _threshold(detector, loaded)
    clean = detection_measures(task.abnormal, scores, threshold) | {"eer": equal_error_rate(task.abnormal, scores)}
    has_maps = hasattr(detector, "anomaly_map")
    if loaded.masks is not None and has_maps:
        maps = _whole(_finite(detector.anomaly_map(loaded.test), "maps"), task.unit)
        masks = _whole(loaded.masks, task.unit)
        clean |= {"pixel_roc_auc": pixel_roc_auc(maps, masks), "pro": per_region_overlap(maps, masks)}
    paper_measures: dict[str, float | None] | None = None
    if tester is not None and tester.best_scores is not None:
        modes["paper"] = tester.best_scores
        last = tester.history.get(detector.epochs)
        paper_measures = {"epoch": tester.best_epoch, "roc_auc_last_epoch": last, "roc_auc_shuffled": tester.shuffled}
        paper_measures |= detection_measures(task.abnormal, tester.best_scores, None)
        paper_measures["eer"] = equal_error_rate(task.abnormal, tester.best_scores)
    if examples is not None:
        save_arrays(examples, _examples(detector if has_maps else None, loaded, scores))
    if kept_scores is not None:
        save_arrays(kept_scores, {"abnormal": task.abnormal} | modes)
    draws = derived_seed(0, "test rows", digest(sorted(task.test.names)))
    return {
        "clean": clean,
        "paper": paper_measures,
        "recall_of": _recall_of(task, scores, threshold),
        "resamples": {
            mode: resampled_roc_auc(*_in_fixed_order(task, of_mode), resamples=resamples, seed=draws).round(6)
            for mode, of_mode in modes.items()
        },
        "paper_history": {} if tester is None else tester.history,
        "losses": {name: values.round(6).tolist() for name, values in detector.history_.items()},
        "control": {"roc_auc": loaded.control},
        "cost": {
            "parameters": detector.n_parameters_,
            "inference_parameters": inference_parameters(detector, loaded.test[:1]),
            "seconds_per_epoch": _seconds_per_epoch(start, ends),
        }
        | {f"ms_batch_{batch}": milliseconds_per_image(detector, loaded.test[:batch], batch) for batch in BATCHES},
        "counts": {
            "train": len(task.train),
            "test_normal": int((~task.abnormal).sum()),
            "test_abnormal": int(task.abnormal.sum()),
        },
    }


def _seconds_per_epoch(start: float, ends: Sequence[float]) -> float | None:
    """Seconds from the end of an epoch to the next one's, so that nothing before, between or behind epochs counts.

    With one epoch there is only its end and `start`, so that what comes before the epoch counts, too.
    """
    if len(ends) < 2:
        return ends[0] - start if ends else None
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _finite(values: npt.NDArray[Kind], what: str) -> npt.NDArray[Kind]:
    if not np.isfinite(values).all():
        raise DivergedError(f"The training diverged: {what} of test images are not finite. Lower learning_rate.")
    return values


def _threshold(detector: ImageAnomalyDetector[Any], loaded: LoadedTask) -> float:
    """Anomaly score that the share `FALSE_ALARM_RATE` of the training units exceeds."""
    unit = loaded.task.train_unit
    if unit[-1] == len(unit) - 1:
        return -detector.offset_  # rows are units: what fit has learnt from training rows already
    shuffled = np.random.default_rng(0).permutation(unit[-1] + 1)
    chosen = np.isin(unit, shuffled[: max(1, _CALIBRATION_ROWS * len(shuffled) // len(unit))])
    _, units = np.unique(unit[chosen], return_inverse=True)
    scores = unit_scores(detector.anomaly_score(loaded.train[chosen]), units)
    return float(np.percentile(scores, 100 * (1 - FALSE_ALARM_RATE)))


def _recall_of(task: Task, scores: Floats, threshold: float) -> dict[str, dict[str, float]]:
    """Share of the units of each abnormal class above the threshold, and their number."""
    kinds = np.array(task.kinds)
    rows = {kind: np.flatnonzero((kinds == kind) & task.abnormal) for kind in dict.fromkeys(task.kinds)}
    return {
        kind: {"recall": float((scores[of_kind] > threshold).mean()), "count": len(of_kind)}
        for kind, of_kind in rows.items()
        if len(of_kind)
    }


def _in_fixed_order(task: Task, scores: Floats) -> tuple[Mask, Floats, Rows]:
    """Labels, scores and images sorted by the names of units: equal draws then mean the same images in every task."""
    _, first = np.unique(task.unit, return_index=True)
    order = np.argsort([task.test.names[row] for row in first.tolist()], kind="stable")
    return task.abnormal[order], scores[order], numbered(task.image[order])


def _whole(rows: npt.NDArray[Kind], unit: Rows) -> npt.NDArray[Kind]:
    """Join the patches of each unit again: (rows, s, s, ...) -> (units, g * s, g * s, ...)."""
    n_units = int(unit[-1]) + 1
    grid = round((len(rows) / n_units) ** 0.5)
    side, rest = rows.shape[1], rows.shape[3:]
    tiles = rows.reshape(n_units, grid, grid, side, side, *rest).swapaxes(2, 3)
    return tiles.reshape(n_units, grid * side, grid * side, *rest)


def _examples(
    detector: ImageAnomalyDetector[Any] | None, loaded: LoadedTask, scores: Floats
) -> dict[str, npt.NDArray[Any]]:
    order = np.argsort(-scores, kind="stable")
    count = min(EXAMPLES, len(order) // 2)
    shown = np.concatenate([order[:count], order[len(order) - count :]])
    rows = np.concatenate([np.flatnonzero(loaded.task.unit == one) for one in shown.tolist()])
    unit = np.repeat(np.arange(len(shown)), len(rows) // max(len(shown), 1))
    found = {"scores": scores[shown], "abnormal": loaded.task.abnormal[shown]}
    found["images"] = _whole(loaded.test[rows], unit)
    if detector is not None:
        found["maps"] = _whole(detector.anomaly_map(loaded.test[rows]), unit)
    return found
