"""From scores to a decision: alarm or not, which classes, how probable, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gbad.data.original import Original
from gbad.errors import GbadError
from gbad.explanation import Explanation
from gbad.phase3_gate import HeldOut, OperatingPoint, at_false_alarm_rate, at_prevalence, at_recall, column_of, log_odds
from gbad.pipeline import GBADPipeline
from gbad.report.drawing import Finding, box_around_peak


@dataclass(frozen=True)
class Rule:
    """When an image raises an alarm.

    Attributes
    ----------
    point : OperatingPoint or None
        Threshold on one score; None: an image raises an alarm if a class reaches its own threshold.
    column : int or None
        Class whose score `point` is about; None for any threat.
    prevalence : float or None
        Share of images with a threat that probabilities are stated for; None: that of the pipeline.
    """

    point: OperatingPoint | None = None
    column: int | None = None
    prevalence: float | None = None


class Verdict(NamedTuple):
    """Decisions on n images.

    Attributes
    ----------
    alarm : bool array (n,)
    present : bool array (n, C)
        Classes at or above their thresholds, and the class that the rule is about; of an alarm without any, the class
        that is nearest to its threshold.
    probability : float64 array (n,)
        That the image holds any threat; NaN where it is not known for which prevalence its scores are calibrated.
    """

    alarm: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]
    probability: npt.NDArray[np.float64]


def make_rule(
    pipeline: GBADPipeline, *, false_alarm_rate: float | None = None, recall: float | None = None,
    about: str | None = None, prevalence: float | None = None,
) -> Rule:  # fmt: skip
    """Choose a rule by what is wanted of it.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    false_alarm_rate, recall : float, optional
        In (0, 1), one of them at most. By default the classes' own thresholds decide.
    about : str, optional
        Class that the rate is about. Default: any threat.
    prevalence : float, optional
        See `Rule`.

    Raises
    ------
    GbadError
        If both rates are given, the pipeline has no held-out scores, or they are too few for the rate.
    """
    held_out = pipeline.check_fitted().held_out
    if prevalence is not None and not 0 < prevalence < 1:
        raise GbadError(f"prevalence must be above 0 and below 1, not {prevalence:g}", settings=("prevalence",))
    if prevalence is not None and (held_out is None or held_out.prevalence is None):
        raise GbadError(
            "it is not known for which prevalence this pipeline's scores are calibrated, so there are no probabilities "
            "for another prevalence. Train again with this version, with held-out images.",
            settings=("prevalence",),
        )
    if false_alarm_rate is not None and recall is not None:
        raise GbadError("give a false_alarm_rate or a recall, not both", settings=("false_alarm_rate", "recall"))
    column = column_of(about, pipeline.classes_)
    if false_alarm_rate is None and recall is None:
        if about is not None:
            raise GbadError(f"{about} needs a false_alarm_rate or a recall", settings=("false_alarm_rate", "recall"))
        return Rule(prevalence=prevalence)
    known = _needed(held_out)
    if recall is not None:
        return Rule(at_recall(known, recall, column), column, prevalence)
    assert false_alarm_rate is not None
    return Rule(at_false_alarm_rate(known, false_alarm_rate, column), column, prevalence)


def judge(pipeline: GBADPipeline, seen: Explanation, rule: Rule) -> Verdict:
    """Decide on images by their scores.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    seen : Explanation
    rule : Rule
    """
    fitted = pipeline.check_fitted()
    odds = log_odds(seen.log_gated)
    margin = odds - log_odds(np.log(np.maximum(fitted.thresholds, np.finfo(float).tiny)))
    present = seen.reaching(fitted.thresholds)
    if rule.point is None:
        alarm = present.any(1)
    else:
        score = seen.any_threat if rule.column is None else odds[:, rule.column]
        alarm = score >= rule.point.threshold
        if rule.column is not None:
            present[alarm, rule.column] = True
        lacking = np.flatnonzero(alarm & ~present.any(1))
        present[lacking, margin[lacking].argmax(1)] = True
        present &= alarm[:, None]
    probability = np.full(len(odds), np.nan)
    before = None if fitted.held_out is None else fitted.held_out.prevalence
    if before is not None:
        probability = at_prevalence(seen.any_threat, before, rule.prevalence or before)
    return Verdict(np.asarray(alarm), present, probability)


def findings(
    pipeline: GBADPipeline, original: Original, present: npt.NDArray[np.bool_], seen: Explanation, image: int
) -> list[Finding]:
    """What was found in one image, the most probable class first.

    The place of a class is where the evidence for it peaks, see `gbad.training.fitted.FittedGBAD.evidence`.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    original : Original
        The image.
    present : bool array (C,)
    seen : Explanation
        Of the image and others.
    image : int
        Which of them it is.

    Raises
    ------
    ImageError
        If the image cannot be read.
    """
    fitted, found = pipeline.check_fitted(), without_places(pipeline, present, seen, image)
    pixels = original.warped(pipeline.settings.size)
    maps = fitted.evidence(pixels, original, seen, image, [one.column for one in found])
    return [
        one._replace(box=box_around_peak(heatmap), heatmap=heatmap) for one, heatmap in zip(found, maps, strict=True)
    ]


def without_places(
    pipeline: GBADPipeline, present: npt.NDArray[np.bool_], seen: Explanation, image: int
) -> list[Finding]:
    """What was found in one image without its places, for which nothing is read; arguments as in `findings`."""
    gated = seen.gated[image]
    columns = sorted(np.flatnonzero(present).tolist(), key=lambda column: -gated[column])
    return [Finding(pipeline.classes_[column], float(gated[column]), column) for column in columns]


def _needed(held_out: HeldOut | None) -> HeldOut:
    if held_out is None:
        raise GbadError(
            "this pipeline has no scores of held-out images: it was trained by an older version, or without held-out "
            "images. Calibrate it on threat-free images of your own (gbad calibrate), or train again."
        )
    return held_out
