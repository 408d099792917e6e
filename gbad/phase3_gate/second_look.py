"""Phase 3 of the second look: gate the regions, let the best region of each class speak for its image, mix both looks.

The first look decides which images are looked at twice: those whose score for any threat is above a fixed threshold,
which a given share of threat-free validation images reach. An image's scores therefore depend on the image alone. All
choices are made on the validation part, and the first look alone is among the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from gbad.phase3_gate.any_threat import AnyThreat, can_calibrate, fit_any_threat
from gbad.phase3_gate.choices import MAX_WEIGHT, best_thresholds, prevalence_weights
from gbad.phase3_gate.class_heads import mixed
from gbad.phase3_gate.cross_fitting import cross_fitted_gate
from gbad.phase3_gate.decision import Decided
from gbad.phase3_gate.gate import ThreatGate
from gbad.phase3_gate.ranking import classes_shown, mean_ap
from gbad.phase3_gate.suppression import DEFAULT_ALPHAS, least_as_good, log_odds, log_sigmoid, suppress

Float = npt.NDArray[np.float64]

SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Candidates for the share of the second look in the ranking, from the first look alone to the second alone."""


class Regions(NamedTuple):
    """Values of the m regions of n images.

    Attributes
    ----------
    image : int64 array (m,)
        Which of the n images.
    logits : float64 array (m, C)
        By the classifier of regions.
    losses : float64 array (m, k)
        By the detector of regions.
    """

    image: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]

    def of_images(self, chosen: npt.NDArray[np.bool_]) -> Regions:
        """Regions of some of the images, chosen (n,); the images keep their numbers."""
        kept = chosen[self.image]
        return Regions(self.image[kept], self.logits[kept], self.losses[kept])


class SecondDecided(NamedTuple):
    """What both looks together say of n images with m regions and C classes.

    Attributes
    ----------
    ranking, log_gated, any_threat
        As in `Decided`, after the second look.
    second : float64 array (n, C)
        Log-odds by the second look, on the scale of the first; NaN for images that were not looked at twice.
    region_log_odds : float64 array (m, C)
        Of the regions, behind their gate.
    region_gate_score : float64 array (m,)
        Decision value of the gate of regions, above 0 for anomalous regions; NaN without a gate.
    """

    ranking: npt.NDArray[np.float64]
    log_gated: npt.NDArray[np.float64]
    any_threat: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]
    region_log_odds: npt.NDArray[np.float64]
    region_gate_score: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SecondDecision:
    """What phase 3 has learnt of the second look.

    Attributes
    ----------
    threshold : float
        Score for any threat by the first look from which an image is looked at twice.
    share : float
        Of the second look in the ranking, in [0, 1]; with 0, no image needs a second look.
    gate : ThreatGate or None
        Support vector machine on the losses of regions; None if there were too few regions to fit one.
    suppression : {"hard", "soft"}
    strength : float
        Of the gate of regions: ε or α.
    slope, offset : float64 arrays (C,)
        Bring log-odds of the second look to the scale of the first: over threat-free validation images that are looked
        at twice, both have the same mean and standard deviation.
    any_threat : AnyThreat
    thresholds : float64 array (C,)
        As in `gbad.phase3_gate.Decision`, after the second look.
    """

    threshold: float
    share: float
    gate: ThreatGate | None
    suppression: str
    strength: float
    slope: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    any_threat: AnyThreat
    thresholds: npt.NDArray[np.float64]

    def looks_twice(self, any_threat: Float) -> npt.NDArray[np.bool_]:
        """Which images are looked at twice, bool (n,), by the first look's score for any threat, float64 (n,)."""
        return np.asarray((any_threat >= self.threshold) & (self.share > 0))

    def decide(self, first: Decided, regions: Regions) -> SecondDecided:
        """Decide on images by both looks.

        Parameters
        ----------
        first : Decided
            Of n images, by the first look.
        regions : Regions
            Of those that `looks_twice` names.
        """
        score, p_anomalous = np.full(len(regions.image), np.nan), np.ones(len(regions.image))
        if self.gate is not None and len(score):
            score = self.gate.decision_function(regions.losses)
            p_anomalous = self.gate.probability(score)
        of_regions = _gated(regions.logits, score, p_anomalous, self.suppression, self.strength)
        second = self.slope * best_of(regions.image, of_regions, len(first.ranking)) + self.offset
        ranking, log_gated = both_looks(first.ranking, first.log_gated, second, self.share)
        return SecondDecided(ranking, log_gated, self.any_threat.score(log_odds(log_gated)), second, of_regions, score)

    def to_plain(self) -> dict[str, Any]:
        """Everything as numbers, texts and arrays, for `from_plain`."""
        gate = None if self.gate is None else {"params": self.gate.get_params(), "arrays": self.gate.get_arrays()}
        return {
            "threshold": self.threshold, "share": self.share, "gate": gate, "suppression": self.suppression,
            "strength": self.strength, "slope": self.slope, "offset": self.offset,
            "any_threat": self.any_threat.get_arrays(), "thresholds": self.thresholds,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild a decision; the inverse of `to_plain`."""
        gate = plain["gate"]
        return cls(**{
            **plain,
            "gate": None if gate is None else ThreatGate.from_arrays(gate["params"], gate["arrays"]),
            "any_threat": AnyThreat.from_arrays(plain["any_threat"]),
        })  # fmt: skip


def best_of(image: npt.NDArray[np.int64], log_odds: Float, count: int) -> npt.NDArray[np.float64]:
    """Highest log-odds of each class over the regions of an image; NaN for images without a region.

    Parameters
    ----------
    image : int array (m,)
        Image of each region.
    log_odds : float64 array (m, C)
    count : int
        Number n of images.

    Returns
    -------
    float64 array (n, C)

    Examples
    --------
    >>> best_of(np.array([1, 1]), np.array([[0.0, 3.0], [2.0, 1.0]]), 2).tolist()
    [[nan, nan], [2.0, 3.0]]
    """
    best = np.full((count, log_odds.shape[1]), -np.inf)
    np.maximum.at(best, image, log_odds)
    return np.where(np.isinf(best), np.nan, best)


def both_looks(
    ranking: Float, log_gated: Float, second: Float, share: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mix the second look into the ranking of the images that have one; the image's gate suppresses as before.

    Parameters
    ----------
    ranking, log_gated : float64 arrays (n, C)
        By the first look, as in `Decided`.
    second : float64 array (n, C)
        Log-odds by the second look; NaN for images without one.
    share : float
        Of the second look, in [0, 1].

    Returns
    -------
    ranking, log_gated : float64 arrays (n, C)
        As in `Decided`.
    """
    both = np.where(np.isnan(second), ranking, mixed(ranking, np.nan_to_num(second), share))
    return both, log_sigmoid(both) + (log_gated - log_sigmoid(ranking))


def fit_second_decision(
    first: Decided,
    labels: npt.NDArray[np.uint8],
    regions: Regions,
    shows_threat: npt.NDArray[np.float64],
    *,
    looked_at: float,
    gate: ThreatGate,
    suppression: str,
    strength: float | None,
    prevalence: float | None,
) -> tuple[SecondDecision, npt.NDArray[np.float64]]:
    """Fit phase 3 of the second look on the validation part.

    Parameters
    ----------
    first : Decided
        Of the n validation images, by the first look; where a gate was fitted on them, by gates of other folds.
    labels : uint8 array (n, C)
        1 = threat present.
    regions : Regions
        Of all these images.
    shows_threat : float64 array (m,)
        1 = the region shows a threat, 0 = it shows none, NaN = unknown.
    looked_at : float
        Share of threat-free images to look at twice, in [0, 1].
    gate : ThreatGate
        Settings of the gate; it is left as it is.
    suppression : {"hard", "soft"}
    strength : float or None
        ε or α; None chooses α on the validation part.
    prevalence : float or None
        Share of images with a threat in use, see `gbad.phase3_gate.choices.choose`.

    Returns
    -------
    decision : SecondDecision
    second : float64 array (n, C)
        Log-odds by the second look, as in `SecondDecided`, but each region is gated by a gate of other folds.
    """
    positive = np.asarray(labels.any(1))
    enough = can_calibrate(positive)
    threshold = _threshold(first.any_threat[~positive], looked_at)
    looked = first.any_threat >= threshold
    regions, shows = regions.of_images(looked), shows_threat[looked[regions.image]]
    fitted, score, p_anomalous = _fit_gate(gate, regions.losses, shows)
    none = strength is None and suppression == "soft"
    weights = prevalence_weights(positive, prevalence)
    capped = np.minimum(weights, MAX_WEIGHT)

    def second_look(strength: float) -> tuple[Float, Float, Float]:
        of_regions = _gated(regions.logits, score, p_anomalous, suppression, strength)
        best = best_of(regions.image, of_regions, len(labels))
        slope, offset = _scale_of_first(best[~positive], first.ranking[~positive])
        return slope * best + offset, slope, offset

    used = 0.0 if strength is None else strength
    second, slope, offset = second_look(used)
    share = choose_second_share(first.ranking, second, labels, capped) if enough else 0.0
    if share and none and fitted is not None:
        shown = np.flatnonzero(labels.any(0))
        gated = [
            both_looks(first.ranking, first.log_gated, second_look(alpha)[0], share)[1] for alpha in DEFAULT_ALPHAS
        ]
        scores = [of_one[:, shown] for of_one in gated]
        used = DEFAULT_ALPHAS[least_as_good(labels[:, shown], scores, capped)]
        second, slope, offset = second_look(used)
    _, log_gated = both_looks(first.ranking, first.log_gated, second, share)
    any_threat = (
        fit_any_threat(log_odds(log_gated), labels, prevalence) if enough else AnyThreat.identity(labels.shape[1])
    )
    thresholds = best_thresholds(labels, np.exp(log_gated), weights)
    decision = SecondDecision(threshold, share, fitted, suppression, used, slope, offset, any_threat, thresholds)
    return decision, second


def choose_second_share(ranking: Float, second: Float, labels: npt.NDArray[np.uint8], weights: Float) -> float:
    """Find the share of the second look that ranks rows best; of equally good shares the smallest.

    Parameters
    ----------
    ranking, second
        As for `both_looks`.
    labels : uint8 array (n, C)
        1 = threat present; at least one row has a threat.
    weights : float64 array (n,)
        How often each row counts.
    """
    if np.isnan(second).all():
        return 0.0
    shown = classes_shown(labels, "the share of the second look")

    def quality(share: float) -> float:
        both, _ = both_looks(ranking, ranking, second, share)
        return mean_ap(labels[:, shown], both[:, shown], weights)

    return max(SHARES, key=quality)


def _threshold(threat_free: Float, share: float) -> float:
    """Score that a share of the threat-free images reach."""
    if share >= 1 or not len(threat_free):
        return -np.inf
    return float(np.quantile(threat_free, 1 - share)) if share > 0 else np.inf


def _gated(logits: Float, score: Float, p_anomalous: Float, suppression: str, strength: float) -> Float:
    """Log-odds of regions behind their gate."""
    if not len(logits) or np.isnan(score).any() or (suppression == "soft" and strength == 0):
        return logits
    return log_odds(suppress(logits, score, p_anomalous, suppression, strength))


def _fit_gate(gate: ThreatGate, losses: Float, shows_threat: Float) -> tuple[ThreatGate | None, Float, Float]:
    """Fit a gate on regions of which it is known whether they show a threat, and judge all as if it had not seen them.

    Returns
    -------
    gate : ThreatGate or None
        None if fewer than two regions show a threat, or fewer than two show none.
    gate_score, p_anomalous : float64 arrays (m,)
        Without a gate NaN and 1.
    """
    known = ~np.isnan(shows_threat)
    y = shows_threat[known].astype(int)
    by_folds = cross_fitted_gate(gate, losses[known], y) if len(y) else None
    if by_folds is None:
        return None, np.full(len(losses), np.nan), np.ones(len(losses))
    fitted = clone(gate).fit(losses[known], y)
    score = fitted.decision_function(losses)
    p_anomalous = fitted.probability(score)
    score[known], p_anomalous[known] = by_folds
    return fitted, score, p_anomalous


def _scale_of_first(second: Float, first: Float) -> tuple[Float, Float]:
    """Slope and offset that give the second look the mean and deviation of the first, over rows that have both."""
    rows = ~np.isnan(second).any(1)
    classes = first.shape[1]
    if rows.sum() < 2:
        return np.ones(classes), np.zeros(classes)
    deviation = second[rows].std(0)
    slope = np.divide(first[rows].std(0), deviation, out=np.ones(classes), where=deviation > 0)
    return slope, first[rows].mean(0) - slope * second[rows].mean(0)
