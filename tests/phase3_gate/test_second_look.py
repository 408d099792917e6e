from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gbad.evaluation.metrics import average_precision
from gbad.phase3_gate import (
    Decided,
    Regions,
    SecondDecision,
    ThreatGate,
    both_looks,
    fit_second_decision,
    hard_gate,
    log_sigmoid,
)

N, CLASSES = 400, 2


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((N, CLASSES), np.uint8)
    found[:30, 0] = found[20:60, 1] = 1
    return found


@pytest.fixture
def first(labels: np.ndarray) -> Decided:
    """A first look that knows a little."""
    ranking = np.random.default_rng(0).normal(-2, 1.5, labels.shape) + 2 * labels
    score = np.zeros(len(labels))
    return Decided(ranking, ranking, log_sigmoid(ranking), score, score > 0, ranking.max(1))


def regions_of(
    labels: np.ndarray, strength: float, *, losses: float = 0.0, seed: int = 1
) -> tuple[Regions, np.ndarray]:
    """Two regions an image, of which the first shows its threats; and which regions show one."""
    random = np.random.default_rng(seed)
    image = np.repeat(np.arange(len(labels)), 2)
    shown = np.zeros((2 * len(labels), labels.shape[1]))
    shown[::2] = labels
    shows = np.where(shown.any(1), 1.0, np.where(labels[image].any(1), np.nan, 0.0))
    noise = random.normal(size=(len(image), labels.shape[1]))
    of_losses = np.exp(random.normal(size=(len(image), 2)) + losses * shown.any(1)[:, None])
    return Regions(image, 3 * noise + strength * shown - 4, of_losses), shows


def fit(first: Decided, labels: np.ndarray, regions: Regions, shows: np.ndarray, **options: Any) -> SecondDecision:
    settings: dict[str, Any] = {
        "looked_at": 0.5, "gate": ThreatGate(), "suppression": "soft", "strength": None, "prevalence": None,
    }  # fmt: skip
    return fit_second_decision(first, labels, regions, shows, **settings | options)[0]


def mean_ap(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(np.mean([average_precision(*pair) for pair in zip(labels.T, scores.T, strict=True)]))


def test_a_second_look_that_knows_more_is_used(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 12.0)
    decision = fit(first, labels, regions, shows, looked_at=1.0)
    assert decision.share >= 0.5
    both = decision.decide(first, regions)
    assert mean_ap(labels, both.log_gated) > mean_ap(labels, first.log_gated) + 0.2
    # Any threat follows: threats score higher than before against threat-free images.
    threat = labels.any(1)
    assert average_precision(threat, both.any_threat) > average_precision(threat, first.any_threat)


def test_a_second_look_that_knows_nothing_is_left_out(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 0.0)
    decision = fit(first, labels, regions, shows)
    assert decision.share == 0
    assert not decision.looks_twice(first.any_threat).any()
    none = Regions(np.empty(0, np.int64), np.empty((0, CLASSES)), np.empty((0, 2)))
    np.testing.assert_allclose(decision.decide(first, none).log_gated, first.log_gated)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_threat_free_images_is_looked_at(first: Decided, labels: np.ndarray, share: float) -> None:
    decision = fit(first, labels, *regions_of(labels, 12.0), looked_at=share)
    looked = decision.looks_twice(first.any_threat)[~labels.any(1)].mean()
    assert looked == pytest.approx(share, abs=0.01)


def test_an_image_depends_on_itself_alone(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 12.0, losses=2.0)
    decision = fit(first, labels, regions, shows)
    regions = regions.of_images(decision.looks_twice(first.any_threat))
    together = decision.decide(first, regions)
    for image in (0, 25, 399):
        own = Decided(*(values[image : image + 1] for values in first))
        kept = regions.image == image
        alone = decision.decide(
            own, Regions(np.zeros(kept.sum(), np.int64), regions.logits[kept], regions.losses[kept])
        )
        np.testing.assert_allclose(alone.log_gated[0], together.log_gated[image], rtol=1e-12)
        np.testing.assert_allclose(alone.any_threat[0], together.any_threat[image], rtol=1e-12)
    order = np.random.default_rng(2).permutation(len(regions.image))
    shuffled = decision.decide(first, Regions(*(values[order] for values in regions)))
    np.testing.assert_array_equal(shuffled.log_gated, together.log_gated)


def test_the_best_region_speaks_for_its_image_and_others_keep_the_first_look() -> None:
    ranking = np.array([[0.0, 1.0], [2.0, -1.0]])
    second = np.array([[np.nan, np.nan], [4.0, -3.0]])
    both, gated = both_looks(ranking, log_sigmoid(ranking) - 0.5, second, 0.25)
    np.testing.assert_allclose(both, [[0.0, 1.0], [2.5, -1.5]])
    np.testing.assert_allclose(gated, log_sigmoid(both) - 0.5)  # the image's gate suppresses as before


def test_both_looks_are_on_one_scale(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 12.0)
    decision, second = fit_second_decision(
        first,
        labels,
        regions,
        shows,
        looked_at=0.5,
        gate=ThreatGate(),
        suppression="soft",
        strength=0.0,
        prevalence=None,
    )
    rows = decision.looks_twice(first.any_threat) & ~labels.any(1)
    np.testing.assert_allclose(second[rows].mean(0), first.ranking[rows].mean(0))
    np.testing.assert_allclose(second[rows].std(0), first.ranking[rows].std(0))
    np.testing.assert_allclose(
        decision.decide(first, regions.of_images(decision.looks_twice(first.any_threat))).second, second
    )


def test_the_gate_of_regions_is_used_where_it_knows_more(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 5.0, losses=6.0)
    decision = fit(first, labels, regions, shows, looked_at=1.0)
    assert decision.gate is not None
    assert decision.strength > 0
    assert fit(first, labels, regions_of(labels, 5.0)[0], shows, looked_at=1.0).strength < decision.strength


def test_the_hard_rule_of_the_paper_holds_for_regions(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 8.0, losses=3.0)
    decision = fit(first, labels, regions, shows, suppression="hard", strength=1e-3, looked_at=1.0)
    found = decision.decide(first, regions)
    np.testing.assert_allclose(
        log_sigmoid(found.region_log_odds), hard_gate(regions.logits, found.region_gate_score > 0, 1e-3), rtol=1e-9
    )


def test_few_regions_make_no_gate(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 12.0)
    unknown = np.where(shows == 1, np.nan, shows)
    decision = fit(first, labels, regions, unknown)
    assert decision.gate is None
    assert np.isnan(decision.decide(first, regions).region_gate_score).all()


def test_no_threat_in_the_validation_part(first: Decided, labels: np.ndarray) -> None:
    none = np.zeros_like(labels)
    regions, shows = regions_of(none, 0.0)
    decision = fit(first, none, regions, shows)
    assert decision.share == 0
    np.testing.assert_array_equal(decision.thresholds, [0.5, 0.5])


def test_plain_data_rebuild_the_decision(first: Decided, labels: np.ndarray) -> None:
    regions, shows = regions_of(labels, 8.0, losses=3.0)
    decision = fit(first, labels, regions, shows)
    again = SecondDecision.from_plain(decision.to_plain())
    for found, expected in zip(again.decide(first, regions), decision.decide(first, regions), strict=True):
        np.testing.assert_array_equal(found, expected)
