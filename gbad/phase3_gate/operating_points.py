"""Operating points: from a wanted rate of false alarms, or a wanted recall, to a threshold on a score.

Thresholds come from held-out images, by the rule of conformal prediction (Vovk et al., "Algorithmic Learning in a
Random World", 2005): if held-out images and images in use are exchangeable, an image in use raises a false alarm with
at most the wanted probability. A rate that is smaller than the held-out images can tell is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from gbad.errors import DataError

ANY_THREAT = "any threat"
"""What scores of whole images are called where a class could stand."""

_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of images that the classifiers and detectors were not trained on.

    Attributes
    ----------
    any_threat : float64 array (n,)
        Logarithm of the odds that an image holds any threat.
    log_odds : float64 array (n, C)
        Of the gated probabilities.
    labels : uint8 array (n, C)
        1 = threat present.
    prevalence : float or None
        Share of images with a threat that `any_threat` was calibrated for, in (0, 1); None if it is not known.
    """

    any_threat: npt.NDArray[np.float64]
    log_odds: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    prevalence: float | None

    def scores_of(self, column: int | None) -> npt.NDArray[np.float64]:
        """Scores of a class, or for None those for any threat: float64 (n,)."""
        return self.any_threat if column is None else self.log_odds[:, column]

    def with_threat_free(self, any_threat: npt.NDArray[np.float64], log_odds: npt.NDArray[np.float64]) -> Self:
        """The same images with threats, and other threat-free ones: scores (m,) and (m, C)."""
        threat = self.labels.any(1)
        labels = np.concatenate([self.labels[threat], np.zeros(log_odds.shape, np.uint8)])
        return type(self)(
            np.concatenate([self.any_threat[threat], any_threat]), np.concatenate([self.log_odds[threat], log_odds]),
            labels, self.prevalence,
        )  # fmt: skip

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers and arrays, for `from_plain`."""
        return {
            "any_threat": self.any_threat, "log_odds": self.log_odds, "labels": self.labels,
            "prevalence": self.prevalence,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild; the inverse of `to_plain`."""
        return cls(**plain)


class OperatingPoint(NamedTuple):
    """A threshold, and what it does.

    Attributes
    ----------
    threshold : float
        An image with at least this score raises an alarm.
    false_alarm_rate, recall : float
        Shares of the held-out images without and with threats that raise an alarm; NaN without such images.
    false_alarm_interval, recall_interval : (float, float)
        Between which the rates in use lie with 95 % confidence, if images in use are like the held-out ones.
    threat_free, threats : int
        Held-out images that stand behind the rates.
    """

    threshold: float
    false_alarm_rate: float
    false_alarm_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]
    threat_free: int
    threats: int


def at_false_alarm_rate(held_out: HeldOut, rate: float, column: int | None = None) -> OperatingPoint:
    """Lowest threshold at which a threat-free image raises an alarm with at most a given probability.

    Parameters
    ----------
    held_out : HeldOut
    rate : float
        In (0, 1).
    column : int or None
        Class whose score decides; None for any threat.

    Raises
    ------
    DataError
        If `rate` is out of range, or the threat-free held-out images are too few for it.
    """
    free, _ = _kinds(held_out, column)
    allowed = _allowed(rate, len(free), "false-alarm rate", "threat-free")
    # p(s) = (1 + number of threat-free scores >= s) / (n + 1) is at most `rate` above the score of this rank.
    return at_threshold(held_out, float(np.nextafter(np.sort(free)[len(free) - allowed], np.inf)), column)


def at_recall(held_out: HeldOut, recall: float, column: int | None = None) -> OperatingPoint:
    """Highest threshold at which an image with a threat raises an alarm with at least a given probability.

    Parameters and errors as for `at_false_alarm_rate`, with images with threats in the place of threat-free ones.
    """
    _, threats = _kinds(held_out, column)
    allowed = _allowed(1 - recall, len(threats), "recall", "with threats")
    return at_threshold(held_out, float(np.sort(threats)[allowed - 1]), column)


def at_threshold(held_out: HeldOut, threshold: float, column: int | None = None) -> OperatingPoint:
    """What a threshold does, on held-out images or on those of a test list.

    Parameters
    ----------
    held_out : HeldOut
    threshold : float
    column : int or None
        Class whose score decides; None for any threat.
    """
    found = []
    for scores in _kinds(held_out, column):
        alarms, count = int((scores >= threshold).sum()), len(scores)
        found.append((alarms / count if count else math.nan, _interval(alarms, count), count))
    (false_alarms, of_false, free), (recall, of_recall, threats) = found
    return OperatingPoint(threshold, false_alarms, of_false, recall, of_recall, free, threats)


def p_values(held_out: HeldOut, scores: npt.ArrayLike, column: int | None = None) -> npt.NDArray[np.float64]:
    """Conformal p-values of images, float64 (m,) for scores (m,): small for what is rare among threat-free images.

    An exchangeable threat-free image has a p-value of at most α with a probability of at most α.

    Examples
    --------
    >>> held_out = HeldOut(np.arange(9.0), np.zeros((9, 1)), np.zeros((9, 1), np.uint8), 0.5)
    >>> p_values(held_out, [-1.0, 4.0, 100.0]).tolist()
    [1.0, 0.6, 0.1]
    """
    free = np.sort(_kinds(held_out, column)[0])
    reached = len(free) - np.searchsorted(free, np.asarray(scores, np.float64), side="left")
    return np.asarray((1 + reached) / (len(free) + 1))


def at_prevalence(log_odds: npt.ArrayLike, before: float, now: float) -> npt.NDArray[np.float64]:
    """Probabilities from log-odds that were calibrated for one prevalence, for another: Bayes' rule.

    Parameters
    ----------
    log_odds : array-like of any shape
    before, now : float
        Shares of images with a threat, in (0, 1).

    Examples
    --------
    >>> at_prevalence([0.0], 0.5, 0.1).round(3).tolist()
    [0.1]
    """
    shift = math.log(now / (1 - now)) - math.log(before / (1 - before))
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(log_odds, np.float64) + shift, -700, 700))))


def _kinds(held_out: HeldOut, column: int | None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scores of threat-free images, and of those with a threat (of the class)."""
    scores, threat = held_out.scores_of(column), held_out.labels.any(1)
    shown = threat if column is None else held_out.labels[:, column] == 1
    return scores[~threat], scores[shown]


def _allowed(rate: float, count: int, name: str, kind: str) -> int:
    """Rank of the score that a threshold may cut off at; 1 is the most extreme."""
    if not 0 < rate < 1:
        raise DataError(f"a {name} must be above 0 and below 1, not {rate if name != 'recall' else 1 - rate:g}.")
    allowed = math.floor(rate * (count + 1) * (1 + 1e-12))
    if not allowed:
        needed, possible = math.ceil((1 - 1e-12) / rate) - 1, _rounded_up(1 / (count + 1))
        asked, best = f"{rate:g}", f"from {possible:g}"
        remedy = "calibrate on more threat-free images (gbad calibrate)"
        if name == "recall":
            asked, best = f"{1 - rate:g}", f"up to {1 - possible:g}"
            remedy = "train with more images with threats in the validation part"
        other = f"Ask for another, {best}, or " if count else ""
        raise DataError(
            f"a {name} of {asked} needs at least {needed:,} held-out images {kind}, but there are {count:,}. "
            f"{other}{remedy}."
        )
    return min(allowed, count)


def _rounded_up(share: float) -> float:
    """The next share with two digits, so that it can be asked for."""
    scale = 10.0 ** (1 - math.floor(math.log10(share)))
    return math.ceil(share * scale * (1 - 1e-12)) / scale


def _interval(hits: int, count: int) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson, 1934)."""
    if not count:
        return math.nan, math.nan
    tail = (1 - _LEVEL) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def column_of(name: str | None, classes: Sequence[str]) -> int | None:
    """Column of a class by its name; None for `ANY_THREAT` and for None.

    Raises
    ------
    DataError
        If there is no such class.
    """
    if name is None or name == ANY_THREAT:
        return None
    if name not in classes:
        raise DataError(f"the pipeline has no class {name!r}; choose one of {', '.join(classes)}, or {ANY_THREAT!r}.")
    return [*classes].index(name)
