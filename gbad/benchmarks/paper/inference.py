"""Scores of a trained network: the arrays that tables are made from, without the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.arrays import Floats, Names
from gbad.benchmarks.store import load_arrays, save_arrays
from gbad.data.arrays import Labels, Mask, Rows
from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource, source_from_paths
from gbad.errors import GbadError, ImageError
from gbad.phase1_classifier import Classifier, predict_stream
from gbad.phase3_gate import (
    Evidence,
    apply_choices,
    best_thresholds,
    both_looks,
    choose,
    choose_second_share,
    judge_gate,
    prevalence_weights,
)
from gbad.phase3_gate.choices import MAX_WEIGHT
from gbad.pipeline import GBADPipeline, load
from gbad.runtime.device import chosen_device
from gbad.runtime.progress import progress_bar
from gbad.storage.tables import read_table
from gbad.training.fitted import FittedGBAD
from gbad.training.phase1 import load_classifier
from gbad.training.phase2 import read_losses
from gbad.training.phase3 import features_of, load_second_of_validation
from gbad.training.run_folder import Run
from gbad.training.settings import Settings, gate_strength

MAX_VALIDATION_NEGATIVES = 2000
"""Threat-free validation images that a classifier without gate is scored on; with a gate, all are."""

_OF_NETWORK = ("thresholds", "strength", "heads_share", "second_share")
"""Fields of `Scores` that do not depend on the images."""


@dataclass(frozen=True)
class Scores:
    """Outputs of a network for n images and C classes; without a gate, all but the first two are None.

    An image-level detector knows no classes (C = 0), and its anomaly is the gate's score.

    Attributes
    ----------
    names : str array (n,)
    logits : float64 array (n, C)
        Of the classifier.
    heads : float64 array (n, C) or None
        Log-odds by the class heads; the logits where there are none.
    ranking : float64 array (n, C) or None
        The logits with those of the heads mixed in: what the gate suppresses. By the first look.
    first_look : float64 array (n, C) or None
        Logarithms of the gated probabilities by the first look.
    second_look : float64 array (n, C) or None
        Log-odds by the second look; NaN for images that had none.
    log_gated : float64 array (n, C) or None
        Logarithms of the gated probabilities by both looks.
    losses : float64 array (n, k) or None
    gate_score, p_anomalous : float64 array (n,) or None
    anomalous : bool array (n,) or None
        The gate's decision.
    thresholds : float64 array (C,) or None
        On the gated probabilities: at or above, a class counts as detected.
    strength : float64 array () or None
        Of the gate, α or ε.
    heads_share : float64 array () or None
        Of the class heads in `ranking`.
    second_share : float64 array () or None
        Of the second look in `log_gated`.
    labels : uint8 array (n, C) or None
        Of the validation part; test labels are in the test list.
    peaks : int8 array (n, C) or None
        1 where a threat's heat-map has its maximum in its box, 0 where not, -1 without box.
    """

    names: Names
    logits: Floats
    heads: Floats | None = None
    ranking: Floats | None = None
    first_look: Floats | None = None
    second_look: Floats | None = None
    log_gated: Floats | None = None
    losses: Floats | None = None
    gate_score: Floats | None = None
    p_anomalous: Floats | None = None
    anomalous: Mask | None = None
    thresholds: Floats | None = None
    strength: Floats | None = None
    heads_share: Floats | None = None
    second_share: Floats | None = None
    labels: Labels | None = None
    peaks: npt.NDArray[np.int8] | None = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Fields that are not None, by name: the arguments that build it again."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: array for name, array in values.items() if array is not None}

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all."""
        save_arrays(path, self.arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`; GbadError if it is missing, damaged, or of another version."""
        arrays = load_arrays(path)
        try:
            return cls(**arrays)
        except TypeError as error:
            raise GbadError(f"{path}: no scores of this version ({error}). Delete its folder and run again.") from error

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join scores of one network on several images."""
        joined = {
            name: array if name in _OF_NETWORK else np.concatenate([getattr(part, name) for part in parts])
            for name, array in parts[0].arrays().items()
        }
        return cls(**joined)

    def select(self, names: Sequence[str]) -> tuple[Rows, Self]:
        """Take the images that are among `names`, in that order.

        Returns
        -------
        rows : int array (m,)
            Which of `names` there are scores for.
        scores : Scores
            Of m images.
        """
        place = {name: row for row, name in enumerate(self.names.tolist())}
        rows = np.array([row for row, name in enumerate(names) if name in place], dtype=np.int64)
        own = np.array([place[names[row]] for row in rows.tolist()], dtype=np.int64)
        taken = {name: array[own] for name, array in self.arrays().items() if name not in _OF_NETWORK}
        return rows, dataclasses.replace(self, **taken)

    def with_peaks(self, peaks: dict[tuple[str, int], bool]) -> Self:
        """Add where heat-maps peak: whether in the box, by image name and class."""
        table = np.full(self.logits.shape, -1, np.int8)
        place = {name: row for row, name in enumerate(self.names.tolist())}
        for (name, column), inside in peaks.items():
            if name in place:
                table[place[name], column] = inside
        return dataclasses.replace(self, peaks=table)


def score_images(
    run: Path, phases: int, names: Sequence[str], paths: Sequence[Path], size: int, bad: BadImages, *, views: int = 1,
    description: str = "scoring", show_progress: bool = False,
) -> Scores | None:  # fmt: skip
    """Score images with a finished run; those that cannot be used are counted in `bad` and left out. None if all are.

    `views` is that of the run's settings: a classifier without gate is scored on as many views as one with a gate.
    """
    source = source_from_paths(paths, size)
    parts, found = [], []
    pipeline = load(run / "pipeline.joblib") if phases == 3 else None
    everything = np.arange(len(source))
    batches = _classified(run, source, everything, views) if pipeline is None else _explained(pipeline, source)
    with progress_bar(description, len(source), show=show_progress) as advance:
        for rows, values, errors in batches:
            for error in errors.values():
                bad.add(error)
            parts.append(values)
            found.append(rows)
            advance(len(rows) + len(errors))
    rows = np.concatenate(found)
    if not len(rows):
        return None
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    of_gate = {} if pipeline is None else _of_gate(pipeline.fitted_)
    return Scores(np.array(names, dtype=str)[rows], **arrays, **of_gate)


def validation_scores(run: Run, phases: int) -> Scores:
    """Score the validation part of a finished run, on which thresholds are chosen.

    A gate that was fitted on these rows would flatter itself: each fold is gated by one fitted on the other folds.
    """
    names, classes = np.array(split_names(run), dtype=str), run.data.classes
    if phases < 3:
        rows = validation_sample(run.data.validation, run.data.positive)
        if not len(rows):
            return Scores(names[rows], np.empty((0, len(classes))), labels=run.data.labels[rows])
        parts = list(_classified(run.folder, run.data.source, rows, run.settings.views))
        rows = np.concatenate([part[0] for part in parts])
        logits = np.concatenate([part[1]["logits"] for part in parts])
        return Scores(names[rows], logits, labels=run.data.labels[rows])
    fitted = load(run.folder / "pipeline.joblib").fitted_
    decision = fitted.decision
    found = read_losses(run.folder, classes)
    rows, losses = found.rows[found.validation], found.losses[found.validation]
    logits = found.logits[found.validation]
    heads = logits
    if decision.heads is not None:
        heads = decision.heads.log_odds(features_of(run.folder, rows))
    score, p_anomalous = judge_gate(decision.gate, run.settings.gate_fit, losses, run.data.positive[rows])
    of_phases = Evidence(logits, heads, score, p_anomalous)
    ranking, gated = apply_choices(of_phases, decision.suppression, decision.heads_share, decision.strength)
    second = np.full_like(ranking, np.nan)
    if fitted.second is not None:
        second = load_second_of_validation(run.folder)
    return Scores(
        names[rows], logits, heads=heads, ranking=ranking, first_look=gated, second_look=second,
        log_gated=both_looks(ranking, gated, second, 0.0 if fitted.second is None else fitted.second.decision.share)[1],
        losses=losses, gate_score=score, p_anomalous=p_anomalous, anomalous=score > 0, labels=run.data.labels[rows],
        **_of_gate(fitted),
    )  # fmt: skip


def at_prevalence(test: Scores, validation: Scores, settings: Settings, prevalence: float) -> tuple[Scores, Scores]:
    """Scores as they are if phase 3 chooses for another prevalence of threats; those without a gate as they were.

    Lists of several prevalences share a network, and what is chosen on its validation part depends on the prevalence.

    Parameters
    ----------
    test, validation : Scores
        Of one network.
    settings : Settings
    prevalence : float
        Share of images with a threat, in (0, 1).

    Returns
    -------
    test, validation : Scores
    """
    if validation.gate_score is None or validation.labels is None or not validation.labels.any():
        return test, validation
    strength = gate_strength(settings)
    choices = choose(_evidence(validation, settings), validation.labels, settings.suppression, strength, prevalence)

    def first_look(scores: Scores) -> tuple[Floats, Floats]:
        return apply_choices(_evidence(scores, settings), settings.suppression, choices.share, choices.strength)

    first = first_look(validation)
    weights = prevalence_weights(validation.labels.any(1), prevalence)
    second_share = 0.0
    if validation.second_look is not None and validation.second_share:  # else no test image was looked at twice
        capped = np.minimum(weights, MAX_WEIGHT)
        second_share = choose_second_share(first[0], validation.second_look, validation.labels, capped)
    gated = _with_second(first, validation, second_share)
    thresholds = best_thresholds(validation.labels, np.exp(gated), weights)

    def anew(scores: Scores) -> Scores:
        first = first_look(scores)
        return dataclasses.replace(
            scores, ranking=first[0], first_look=first[1], log_gated=_with_second(first, scores, second_share),
            thresholds=thresholds, strength=np.asarray(choices.strength), heads_share=np.asarray(choices.share),
            second_share=np.asarray(second_share),
        )  # fmt: skip

    return anew(test), anew(validation)


def _with_second(first: tuple[Floats, Floats], scores: Scores, share: float) -> Floats:
    """Logarithms of the gated probabilities by both looks; `first` has the ranking and the gated ones of the first."""
    return first[1] if scores.second_look is None else both_looks(*first, scores.second_look, share)[1]


def _evidence(scores: Scores, settings: Settings) -> Evidence:
    assert scores.gate_score is not None
    assert scores.p_anomalous is not None
    heads = scores.heads if settings.class_heads else None
    return Evidence(scores.logits, heads, scores.gate_score, scores.p_anomalous)


def split_names(run: Run) -> list[str]:
    """Names of a run's training list, without suffix."""
    names: list[str] = read_table(run.folder / "split.csv", ["name"], "Restore it.")["name"].tolist()
    return names


def _of_gate(fitted: FittedGBAD) -> dict[str, npt.NDArray[Any]]:
    """Fields of `Scores` that phase 3 has chosen once for all images."""
    decision = fitted.decision
    second = 0.0 if fitted.second is None else fitted.second.decision.share
    chosen = {"strength": decision.strength, "heads_share": decision.heads_share, "second_share": second}
    return {name: np.asarray(value, dtype=np.float64) for name, value in chosen.items()} | {
        "thresholds": fitted.thresholds
    }


def validation_sample(validation: Mask, threat: Mask) -> Rows:
    """All rows of the validation part with threats, and evenly spaced ones of those without: no draw, no seed."""
    rows = np.flatnonzero(validation)
    positive, without = rows[threat[rows]], rows[~threat[rows]]
    if len(without) > MAX_VALIDATION_NEGATIVES:
        without = without[np.linspace(0, len(without) - 1, MAX_VALIDATION_NEGATIVES).astype(int)]
    return np.concatenate([positive, without])


Batch = tuple[Rows, dict[str, npt.NDArray[Any]], dict[int, ImageError]]


def _classified(run: Path, source: ImageSource, rows: Rows, views: int) -> Iterator[Batch]:
    model = _on_device(load_classifier(run))
    for done, logits, _, errors in predict_stream(model, source, rows, views=views):
        yield done, {"logits": logits}, errors


def _explained(pipeline: GBADPipeline, source: ImageSource) -> Iterator[Batch]:
    names = ("logits", "heads", "first_look", "second_look", "log_gated", "losses", "gate_score", "anomalous")
    for rows, explanation, errors in pipeline.stream(source):
        values = {name: getattr(explanation, name) for name in names} | {"ranking": explanation.first_ranking}
        yield rows, values | {"p_anomalous": pipeline.fitted_.decision.gate.probability(explanation.gate_score)}, errors


def _on_device(model: Classifier) -> Classifier:
    model.eval()
    return model.to(chosen_device())
