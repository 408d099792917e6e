from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import assert_fits
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score

from gbad.benchmarks.paper import notes, tables
from gbad.benchmarks.paper.any_threat import SeedScores, detector_rows, group_detectors
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.inference import Scores
from gbad.benchmarks.paper.methods import METHODS, chosen_methods
from gbad.benchmarks.paper.published import CLASSES
from gbad.benchmarks.paper.results import write_results
from gbad.benchmarks.paper.scales import SCALES, Subset
from gbad.benchmarks.paper.summary import summarise, target_table
from gbad.data.labels import read_sixray
from gbad.errors import GbadError
from gbad.evaluation.metrics import average_precision_per_class
from gbad.phase3_gate import fit_any_threat, hard_gate, log_odds


def network_scores(y_true: np.ndarray, gain: float, seed: int, *, gated: bool, peak: int = -1) -> Scores:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=y_true.shape) + gain * y_true
    names = np.array([f"P{row}" for row in range(len(y_true))])
    if not gated:
        return Scores(names, logits, labels=y_true.astype(np.uint8))
    score = generator.normal(size=len(y_true)) + 3 * y_true.any(axis=1) - 1
    return Scores(
        names, logits - 1.0, heads=logits, ranking=logits, log_gated=hard_gate(logits, score > 0),
        first_look=hard_gate(logits, score > 0), second_share=np.array(0.0),
        losses=np.exp(generator.normal(size=(len(y_true), 2))), gate_score=score, p_anomalous=expit(score),
        anomalous=score > 0, thresholds=np.full(y_true.shape[1], 0.5), strength=np.array(seed / 4),
        heads_share=np.array(0.5), labels=y_true.astype(np.uint8), peaks=np.where(y_true, peak, -1).astype(np.int8),
    )  # fmt: skip


def make_group(subset: Subset, gain: float = 3.0, methods: tuple[str, ...] | None = None, n: int = 400) -> Group:
    """Two seeds of scores made up: `gain` for GBAD, less for the others."""
    y_true = np.random.default_rng(5).random((n, 5)) < 0.03
    y_true[:5] = np.eye(5, dtype=bool)
    y_any = y_true.any(axis=1)
    weights = np.where(y_any, 1.0, float(subset.negative_weight))
    chosen = chosen_methods(methods)
    gains = {"gbad": gain, "gbad_boxes": gain + 1, "gbad_paper": 2.0}
    test = {
        method.network: [
            network_scores(
                y_true,
                gains.get(method.network, 1.0),
                seed,
                gated=method.network.startswith(("gbad", "cnn_fresh")),
                peak=1,
            )
            for seed in (1, 2)
        ]
        for method in chosen.values()
    }
    scores = {
        name: np.stack(
            [
                {"gated": one.log_gated, "ranking": one.ranking}.get(method.output, one.logits)
                for one in test[method.network]
            ]
        )
        for name, method in chosen.items()
        if method.output != "random"
    }
    ap = {
        name: np.array(
            [[*average_precision_per_class(y_true, one, CLASSES, sample_weight=weights).values()] for one in rankings]
        )
        for name, rankings in scores.items()
    }
    ap |= {name: np.full((2, 5), 0.25) for name, method in chosen.items() if method.output == "random"}
    names = tuple(f"P{row}" for row in range(n))
    validation = {network: [one for one in of_seeds] for network, of_seeds in test.items()}
    return Group(
        subset, "resnet34", CLASSES, (1, 2), names, y_true, weights, chosen, test, validation, scores, ap
    )  # fmt: skip


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return [make_group(Subset("100", "100", 1, 100)), make_group(Subset("1000", "100", 10, 1000))]


@pytest.fixture(scope="module")
def values(groups: list[Group]) -> pd.DataFrame:
    return tables.estimates(groups, resamples=60)


def test_tidy_results_are_weighted_average_precision(groups: list[Group]) -> None:
    tidy = tables.tidy(groups)
    assert len(tidy) == 2 * len(METHODS) * 2 * 6
    for group in groups:
        chosen = tidy[(tidy["subset"] == group.subset.name) & (tidy["method"] == "gbad") & (tidy["seed"] == 2)]
        found = chosen.set_index("class")["ap"]
        expected = [
            average_precision_score(group.y_true[:, c], group.scores["gbad"][1, :, c], sample_weight=group.weights)
            for c in range(5)
        ]
        assert found[list(CLASSES)].to_numpy() == pytest.approx(expected, abs=1e-12)
        assert found["mean"] == pytest.approx(np.mean(expected))


def test_more_threat_free_images_cost_average_precision(groups: list[Group]) -> None:
    for method in ("cnn", "gbad"):
        assert groups[1].ap[method].mean() < groups[0].ap[method].mean()


def test_estimates_are_seed_means_in_their_intervals(groups: list[Group], values: pd.DataFrame) -> None:
    for row, expected in (
        ("gbad", groups[0].ap["gbad"].mean()),
        ("gbad - cnn", groups[0].ap["gbad"].mean() - groups[0].ap["cnn"].mean()),
    ):
        value, low, high = tables.estimate(values, "100", "resnet34", row)
        assert value == pytest.approx(expected)
        assert low < value < high
    assert np.isnan(tables.estimate(values, "100", "resnet34", "gbad_random_gate")[1:]).all()
    assert tables.estimate(values, "100", "resnet34", "no such row") == []


def test_table_2_holds_our_rows_and_the_papers(groups: list[Group], values: pd.DataFrame) -> None:
    table = tables.subset_table(groups, values, "100").frame().set_index("method")
    assert list(table.columns) == [*CLASSES, "mean", "data"]
    value, low, high = (100 * number for number in tables.estimate(values, "100", "resnet34", "gbad", "Pliers"))
    assert table.loc["ResNet34: GBAD", "Pliers"].iloc[0] == f"{value:.1f} ({low:.1f} to {high:.1f})"
    published = table[table["data"] == tables.OTHER_DATA]
    assert len(published) == 15
    assert published.loc["DenseNet: GBAD", "mean"] == "62.4"
    assert len(table) == len(METHODS) + 15


def test_gates_beside_their_bounds(groups: list[Group]) -> None:
    table = tables.gate_table(groups)
    own = table[(table["subset"] == "100") & (table["network"] == "gbad")].set_index("class")
    decisions = [one.anomalous for one in groups[0].test["gbad"]]
    y_any = groups[0].y_any
    assert own.loc["any", "recall"] == pytest.approx(np.mean([decision[y_any].mean() for decision in decisions]))
    assert own.loc["any", "false_alarm_rate"] == pytest.approx(np.mean([one[~y_any].mean() for one in decisions]))
    gun = groups[0].y_true[:, 0]
    assert own.loc["Gun", "recall"] == pytest.approx(np.mean([decision[gun].mean() for decision in decisions]))
    assert own.loc["Gun", "gate"] == pytest.approx(groups[0].ap["gbad"][:, 0].mean())
    assert own.loc["any", "random_gate"] == 0.25
    assert own.loc["any", "no_gate"] == pytest.approx(groups[0].ap["gbad_heads"].mean())
    assert own.loc["Gun", ["strength", "heads_share"]].tolist() == ["0.25, 0.5", "0.5, 0.5"]
    assert "cnn" not in set(table["network"])


def test_confidences_are_log_odds_of_the_gated_probabilities(groups: list[Group]) -> None:
    table = tables.confidence_table(groups[0])
    assert list(table["image"]) == list("ABCDEF")
    assert (table["shows"] == "no threat").tolist() == [False] * 3 + [True] * 3
    row = groups[0].names.index(table.loc[0, "name"])
    p = np.exp(groups[0].scores["gbad"][0, row])
    assert table.loc[0, list(CLASSES)].to_numpy(float) == pytest.approx(np.log(p / (1 - p)))
    printed = table.loc[0, [f"confidence_{label}" for label in CLASSES]]
    assert printed.to_numpy(float) == pytest.approx(p, rel=1e-4)
    assert all(re.fullmatch(r"\d\.\d{4}e[+-]\d\d", text) for text in printed)  # the form of the paper's Table 5


def test_detectors_stand_with_their_own_decision_and_with_a_chosen_threshold(groups: list[Group]) -> None:
    found = group_detectors(groups[0], 100)
    own, chosen = found["gbad: BiGAN and SVM"], found["gbad: BiGAN and SVM, at a chosen threshold"]
    assert [one.threshold for one in own] == [0.0, 0.0]
    assert [one.threshold for one in chosen] == [None, None]
    np.testing.assert_array_equal(own[0].test_score, chosen[0].test_score)
    assert not [name for name in found if "oracle" in name or "random" in name]


def test_without_held_out_images_the_svm_decides_and_nothing_is_chosen() -> None:
    group = make_group(Subset("100", "100"), methods=("gbad_paper", "gbad"))
    none = [replace(one, **{name: getattr(one, name)[:0] for name in ("names", "logits", "labels", "gate_score")})
            for one in group.validation["gbad_paper"]]  # fmt: skip
    group = replace(group, validation={**group.validation, "gbad_paper": none})
    found = group_detectors(group, 100)
    assert [name for name in found if name.startswith("gbad_paper")] == ["gbad_paper: BiGAN and SVM"]
    rows = detector_rows({"gbad_paper": found["gbad_paper: BiGAN and SVM"]}, group.y_any, 100, resamples=5)
    decisions = [one.gate_score > 0 for one in group.test["gbad_paper"]]
    expected = [f1_score(group.y_any, one, average="macro") for one in decisions]
    assert rows.loc[0, "f1"] == pytest.approx(np.mean(expected))


def test_rows_say_that_weights_were_random() -> None:
    group = replace(make_group(Subset("10", "10"), methods=("gbad",)), from_random=True)
    table = tables.subset_table([group], tables.estimates([group], resamples=5), "10")
    assert table.texts()[0][0] == "ResNet34, from random weights: GBAD"


def test_any_threat_is_scored_by_calibrated_logits(groups: list[Group]) -> None:
    """Of the gated probabilities, too; calibrated on the validation part, for the ratio of the table."""
    for name, network in (("cnn", "cnn"), ("gbad", "gbad")):
        validation, test = groups[0].validation[network][1], groups[0].test[network][1]
        assert validation.labels is not None
        seen, judged = groups[0].columns(validation, name), groups[0].columns(test, name)
        if name == "gbad":
            seen, judged = log_odds(seen), log_odds(judged)
        found = {ratio: group_detectors(groups[0], ratio)[name][1].test_score for ratio in (100, 1000)}
        for ratio, score in found.items():
            expected = fit_any_threat(seen, validation.labels, 1 / (1 + ratio)).score(judged)
            np.testing.assert_array_equal(score, expected)
        assert found[100].mean() > found[1000].mean()  # the same images are less suspicious where threats are rarer


def target(summary: dict[str, Any], name: str, subset: str) -> dict[str, Any]:
    return next(
        target for target in summary["targets"] if target["target"].startswith(name) and target["subset"] == subset
    )


def test_summary_holds_each_bar_against_its_figure(groups: list[Group], values: pd.DataFrame) -> None:
    any_threat = detector_rows(group_detectors(groups[0], 100), groups[0].y_any, 100, resamples=50)
    any_threat.insert(0, "backbone", "resnet34")
    summary = summarise(groups, values, any_threat)
    difference = target(summary, "mAP: gbad - cnn", "100")
    value, low, high = (round(100 * v, 4) for v in tables.estimate(values, "100", "resnet34", "gbad - cnn"))
    assert difference["value"] == value
    assert difference["interval"] == [low, high]
    assert difference["met"] is (value >= 5.5 and low > 0) is True
    assert target(summary, "mAP: gbad - cnn", "10")["met"] is None  # that subset was not run
    assert target(summary, "gbad_boxes: peak in box", "100")["value"] == 100.0
    for name in ("gbad: macro F1", "gbad_paper: BiGAN and SVM: macro F1"):  # the score of ours, and the paper's
        f1 = target(summary, name, "100")
        assert f1["met"] is (f1["value"] >= 83.4)
    assert summary["all_met"] is False


def test_figures_are_rounded_once() -> None:
    """13.748 is 13.7 in the tables of differences, and no 13.8 by way of 13.75 among the targets."""
    group = make_group(Subset("10", "10"), methods=("gbad", "cnn"))
    group.ap["gbad"][:], group.ap["cnn"][:] = 0.33748, 0.2
    summary = summarise([group], tables.estimates([group], resamples=5), pd.DataFrame(columns=["method", "backbone"]))
    assert next(line[3] for line in target_table(summary).texts() if line[0] == "mAP: gbad - cnn") == "13.7"


def test_the_best_baseline_is_named() -> None:
    group = make_group(Subset("10", "10"), methods=("gbad", "cnn", "cnn_balanced", "chr"))
    group.ap["cnn"][:] = 0.2
    group.ap["cnn_balanced"][:] = 0.3
    values = tables.estimates([group], resamples=5)
    summary = summarise([group], values, pd.DataFrame(columns=["method", "backbone"]))
    found = target(summary, "mAP: gbad - best CNN", "10")
    assert found["target"] == "mAP: gbad - best CNN (cnn_balanced)"
    assert found["value"] == pytest.approx(100 * group.ap["gbad"].mean() - 30, abs=0.01)
    assert found["needed"] == 7.0
    assert len(found["interval"]) == 2
    assert not [one for one in summary["targets"] if "best CHR" in one["target"]]  # one variant has a target of its own


def test_a_class_that_loses_too_much_is_named() -> None:
    group = make_group(Subset("10", "10"), methods=("gbad", "cnn_balanced"))
    group.ap["cnn_balanced"][:] = group.ap["gbad"] - 0.1
    group.ap["cnn_balanced"][:, 2] += 0.15
    summary = summarise([group], tables.estimates([group], resamples=5), pd.DataFrame(columns=["method", "backbone"]))
    worst = target(summary, "largest loss of a class: cnn_balanced", "10")
    assert "Wrench" in worst["target"]
    assert worst["value"] == pytest.approx(5.0)
    assert worst["met"] is False


COSTS = pd.DataFrame({
    "training_list": ["10", "10"], "backbone": ["resnet34"] * 2, "images_seen": [1200, 1200], "epochs": [3, 3],
    "phase1_seconds": [2.0, 3.0], "network": ["cnn", "gbad"], "positive_passes": [1.2, 6.0],
    "negative_passes": [1.2, 0.6], "negatives": ["natural", "fixed"], "held_out": [0.2, 0.0], "size": [224, 224],
})  # fmt: skip


def test_networks_are_said_to_see_one_size_only_where_they_do() -> None:
    assert "3 epochs), with the same augmentation, image size and optimiser;" in notes.budget(COSTS)
    other = notes.budget(COSTS.assign(size=[320, 224], epochs=[12, 9]))
    assert "9, 12 epochs) of 224 to 320 px, with the same augmentation and optimiser;" in other


@pytest.fixture(scope="module")
def results(groups: list[Group], dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of a benchmark on two subsets. Not to be changed."""
    folder = tmp_path_factory.mktemp("results")
    named = read_sixray(dataset, 10, "test").names
    groups = [replace(group, names=(*named, *group.names[len(named) :])) for group in groups]  # some can be shown
    data = BenchmarkData(dataset, tuple(group.subset for group in groups), {"simulation": {}}, ("A note.",))
    y_any = groups[0].y_any
    ganomaly = [SeedScores(y_any, y_any + 0.0, y_any + 0.0)]
    info = {
        "command": "gbad benchmark",
        "data": "made up",
        "settings": {"image_detectors": SCALES["small"].image_detectors, "weights": None},
    }
    write_results(folder, data, groups, COSTS, info, resamples=5, detectors={"GANomaly <1>": ganomaly})
    return folder


def test_results_on_two_subsets(results: Path) -> None:
    table4 = pd.read_csv(results / "table4.csv").set_index("method")
    assert table4.loc["GANomaly <1>", "f1"] == 1.0
    assert {path.name for path in results.glob("table?.csv")} == {f"table{n}.csv" for n in (2, 3, 4, 5)}
    page = (results / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    text = (results / "tables.md").read_text(encoding="utf-8")
    for found in (page, text):
        assert "A note." in found
        assert "over test images alone, which leave out the chance of training" in found
        assert "saw images of 64 px, with 16 channels in their first layer" in found
        assert "the same number of images (1,200, 3 epochs)" in found
        assert "GBAD: no image was held out. Otherwise a part of the training list" in found
        assert "CNN: 1.2 and 1.2; GBAD: 6 and 0.6 (always the same)." in found
    assert tables.OTHER_DATA in text
    assert "gbad - best CHR (chr" in text
    assert "GBAD minus best CHR (CHR" in page
    assert "GANomaly &lt;1&gt;" in page
    assert "no picture" in page  # most of these images do not exist
    summary = json.loads((results / "summary.json").read_text())
    assert len(summary["targets"]) == 9 + 1 + 3 + 4 + 4 + 1 + 2


def test_the_page_shows_the_chart_and_our_figures_first(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    body = page[page.index("<main>") : page.index('<section id="made">')]
    headings = re.findall(r"<h2>(.*?)</h2>", body)
    assert headings[:3] == ["Mean average precision", "Average precision, SIXray100", "Average precision, SIXray1000"]
    assert body.index("<svg") < body.index("<table")
    in_view = body
    while "<details>" in in_view:  # the innermost first
        in_view = re.sub(r"<details>(?:(?!<details>).)*?</details>", "", in_view, flags=re.DOTALL)
    assert "Mean average precision of each method by subset. Lines: 95 % intervals." in in_view
    assert "DenseNet: CHR" in body  # the paper's rows are folded
    assert "DenseNet: CHR" not in in_view
    texts = re.sub(r"<[^>]*>", " ", body)
    assert not [name for name in METHODS if "_" in name and name in texts]  # methods have plain names
    assert "None" not in page[page.index("<main>") :]
    assert not re.search(r"[-\N{MINUS SIGN}]0\.0\b", texts)


def test_a_page_of_one_baseline_alone(dataset: Path, tmp_path: Path) -> None:
    group = make_group(Subset("10", "10"), methods=("cnn",), n=100)
    data = BenchmarkData(dataset, (group.subset,), {"folder": "some"})
    write_results(tmp_path, data, [group], COSTS, {"command": "", "data": "bags"}, resamples=5)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>CNN on bags</h1>" in page
    assert "against the others" not in page
    assert "These are other data" not in page  # by the origin of the data


def test_the_page_fits_windows_of_any_width(results: Path, tmp_path: Path) -> None:
    assert_fits(results / "report.html", tmp_path, images=4)


def test_unknown_methods_are_named() -> None:
    with pytest.raises(GbadError, match="unknown method gbat; choose from cnn, "):
        chosen_methods(["gbad", "gbat"])
    assert list(chosen_methods(["gbad", "cnn"])) == ["cnn", "gbad"]
    assert list(chosen_methods(None)) == list(METHODS)
