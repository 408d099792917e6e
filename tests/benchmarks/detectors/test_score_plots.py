from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gbad.benchmarks.detectors.loss_plots import loss_curves
from gbad.benchmarks.detectors.report import score_figures
from gbad.benchmarks.detectors.runner import loss_table
from gbad.benchmarks.detectors.score_plots import Scored, histograms, roc_curves


@pytest.fixture
def tasks() -> dict[str, Scored]:
    rng = np.random.default_rng(0)
    abnormal = np.repeat([False, True], [60, 20])
    return {name: Scored(abnormal, rng.normal(size=80) + shift * abnormal) for name, shift in (("cat", 1), ("a_b$", 4))}


def test_bars_are_shares_of_the_normal_and_of_the_abnormal_units(tasks: dict[str, Scored]) -> None:
    figure = histograms(tasks, "score")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cat", "a_b$"]
    for axes, task in zip(figure.axes, tasks.values(), strict=True):
        for patch, shown in zip(axes.patches, (~task.abnormal, task.abnormal), strict=True):
            counts, edges = np.histogram(task.scores[shown], np.linspace(task.scores.min(), task.scores.max(), 41))
            assert np.allclose(patch.get_data().values, counts / shown.sum())
            assert np.allclose(patch.get_data().edges, edges)


def test_equal_scores_can_be_drawn() -> None:
    flat = {"flat": Scored(np.array([False, True]), np.array([0.3, 0.3]))}
    assert len(histograms(flat, "score").axes) == 1
    assert len(roc_curves(flat).axes) == 1


def test_each_class_has_its_curve_and_its_area(tasks: dict[str, Scored]) -> None:
    (axes,) = roc_curves(tasks).axes
    labels = [line.get_label() for line in axes.lines[:2]]
    for (name, task), label, line in zip(tasks.items(), labels, axes.lines, strict=False):
        assert label == f"{name}, {roc_auc_score(task.abnormal, task.scores):.3f}"
        x, y = line.get_data()
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_figures_are_of_the_lowest_seed_and_leave_out_what_diverged(tasks: dict[str, Scored]) -> None:
    results = [
        {"detector": name, "class": task, "seed": seed}
        for seed in (2, 1)
        for name in ("vae", "ganomaly")
        for task in tasks
    ]
    asked: list[int] = []

    def scores(result: dict[str, object]) -> dict[str, np.ndarray] | None:
        asked.append(int(str(result["seed"])))
        if result["class"] == "cat" and result["detector"] == "vae":
            return None
        task = tasks[str(result["class"])]
        return {"abnormal": task.abnormal, "clean": task.scores}

    figures = score_figures(results, scores)  # type: ignore[arg-type]
    assert set(asked) == {1}
    assert [one.name for one in figures] == [
        "scores-vae-clean",
        "roc-vae-clean",
        "scores-ganomaly-clean",
        "roc-ganomaly-clean",
    ]
    assert [len(one.figure.axes) for one in figures] == [1, 1, 2, 1]


def test_each_loss_has_a_panel_and_each_training_a_line() -> None:
    results = [
        {
            "detector": "vae",
            "class": task,
            "seed": seed,
            "losses": {"reconstruction": [3.0, seed], "divergence": [1, 2]},
        }
        for seed in (0, 1)
        for task in ("cat", "a_b$")
    ] + [{"detector": "vae", "class": "cat", "seed": 2, "error": "The training diverged"}]
    figure = loss_curves(results, "vae")
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["reconstruction", "divergence"]
    first, second = figure.axes
    assert [line.get_xydata().tolist() for line in first.lines[:3:2]] == [[[1, 3], [2, 0]], [[1, 3], [2, 1]]]
    assert len(second.lines) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "a_b$"]
    assert loss_curves(results[-1:], "vae") is None

    table = loss_table(results)
    assert len(table) == 4 * 2 * 2
    assert table.iloc[1].tolist() == ["cat", "vae", 0, "reconstruction", 2, 0.0]
