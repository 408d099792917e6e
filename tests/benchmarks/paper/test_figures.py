from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from gbad.benchmarks.paper.any_threat import SeedScores
from gbad.benchmarks.paper.figures import PLOTTED, STYLES, precision_recall_figure, roc_figure
from gbad.benchmarks.paper.methods import BASELINES, METHODS

Y_ANY = np.arange(40) % 4 == 0


def detectors(names: tuple[str, ...], seeds: int) -> dict[str, list[SeedScores]]:
    random = np.random.default_rng(0)
    draws = {name: [random.normal(size=40) + Y_ANY for _ in range(seeds)] for name in names}
    return {name: [SeedScores(Y_ANY, scores, scores) for scores in own] for name, own in draws.items()}


def test_all_that_is_plotted_has_a_style_of_its_own() -> None:
    images = [name for name, method in METHODS.items() if not method.knows_classes]
    assert len(STYLES) >= len(PLOTTED) + len(images)
    for parts in zip(*STYLES, strict=True):
        assert len(set(parts)) == len(STYLES)


def test_each_baseline_that_sees_the_threats_in_other_shares_is_plotted() -> None:
    assert set(PLOTTED) <= set(METHODS)
    assert {"cnn", "cnn_balanced", "cnn_fresh"} <= set(PLOTTED) & set(BASELINES["CNN"])
    families = [next((of for of, names in BASELINES.items() if name in names), "GBAD") for name in PLOTTED]
    assert families == sorted(families, key=["CNN", "CHR", "GBAD"].index)  # each family in one block


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
@pytest.mark.parametrize("seeds", [1, 3])
def test_curves_say_which_seed_they_show(draw: Callable[..., Figure], seeds: int) -> None:
    names = tuple("abcdefghij")
    legend = draw(Y_ANY, detectors(names, seeds)).axes[0].get_legend()
    assert [text.get_text()[0] for text in legend.get_texts()] == [*names]
    stated = "Curves: first seed. Areas: means over the seeds."
    assert legend.get_title().get_text() == (stated if seeds > 1 else "")
