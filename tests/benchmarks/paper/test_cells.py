from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gbad.benchmarks.paper import cells, network_cells, run
from gbad.benchmarks.paper import data as benchmark_data
from gbad.benchmarks.paper.cells import Cell, Lists
from gbad.benchmarks.paper.data import BenchmarkData, existing_data
from gbad.benchmarks.paper.inference import Scores, at_prevalence, score_images
from gbad.benchmarks.paper.methods import METHODS, NETWORKS, chosen_methods, needed_networks
from gbad.benchmarks.paper.network_cells import NetworkCell, make_network_cell
from gbad.benchmarks.paper.scales import SCALES, ListSizes
from gbad.benchmarks.store import Entry
from gbad.cli.benchmark import benchmark as command
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths, read_image
from gbad.data.labels import LabelList, read_sixray
from gbad.errors import DataError, GbadError, TooManyBadImagesError
from gbad.evaluation.metrics import average_precision_per_class
from gbad.phase1_classifier import predict_batch
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase3_gate import log_sigmoid, soft_gate
from gbad.training.phase1 import load_classifier
from gbad.training.settings import Settings

QUICK = {"pretrained": False, "size": 32, "fpn_width": 8, "head_width": 8, "epochs": 1, "device": "cpu"}
SCALE = replace(SCALES["small"], backbones=("resnet18",), resamples=20)
CHOSEN = (
    "cnn", "cnn_balanced_fpn", "gbad_paper", "gbad_ungated", "gbad_heads", "gbad", "gbad_oracle_gate",
    "gbad_random_gate",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick_bigan() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        options = {
            "min_steps": 20, "epochs": 1, "latent_size": 4, "hidden_sizes": (16,), "discriminator_sizes": (16, 8, 8),
        }  # fmt: skip
        for name, value in options.items():
            patch.setitem(BiGANDetector.__init__.__kwdefaults__, name, value)
        yield


@pytest.fixture(scope="module")
def data(dataset: Path) -> BenchmarkData:
    return existing_data(dataset)


def benchmark(out: Path, data: BenchmarkData, **options: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"methods": CHOSEN, "seeds": (1, 2), "overrides": QUICK, "data": data.folder}
    return run.run_benchmark(out, SCALE, **(chosen | options))


@pytest.fixture(scope="module")
def finished(data: BenchmarkData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of four networks. Not to be changed."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    benchmark(out, data)
    return out


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def make_cell(root: Path, data: BenchmarkData, name: str = "cnn", seed: int = 1, **options: Any) -> NetworkCell:
    subset = data.subsets[0]
    lists = Lists(subset, data.train_digest(subset), data.read(subset, "test"))
    backbone = options.pop("backbone", "resnet18")
    return make_network_cell(root, data, lists, name, NETWORKS[name], backbone, seed, SCALE, QUICK | options)


def modified(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob("cells/**/*") if path.is_file()}


def test_each_network_is_trained_once_and_shared(finished: Path) -> None:
    networks = needed_networks(chosen_methods(CHOSEN))
    assert set(networks) == {"cnn", "gbad_paper", "gbad"}
    assert len(list((finished / "cells").iterdir())) == 2 * len(networks)
    costs = pd.read_csv(finished / "results" / "cells.csv")
    assert sorted(costs["network"]) == sorted(2 * [*networks])
    of_paper = costs["network"] == "gbad_paper"  # it holds no image out
    assert costs.loc[~of_paper, "images_seen"].nunique() == 1
    assert set(costs.loc[of_paper, "images_seen"]) == {2 * 24}
    balanced = costs["network"] != "cnn"
    assert (costs.loc[balanced, "positive_passes"] == costs.loc[balanced, "epochs"]).all()
    assert (costs.loc[~balanced, "positive_passes"] == costs.loc[~balanced, "negative_passes"]).all()
    assert (costs.loc[~balanced, "positive_passes"] < costs.loc[~balanced, "epochs"]).all()
    assert costs.loc[costs["network"] == "cnn", "phase2_seconds"].isna().all()


def test_everything_is_written(finished: Path) -> None:
    found = {path.name for path in (finished / "results").iterdir()}
    assert found == {
        "results.csv", "estimates.csv", "table1.csv", "table4.csv", "table5.csv", "gates.csv", "cells.csv",
        "summary.json", "tables.md", "report.html", "plots",
    }  # fmt: skip
    summary = json.loads((finished / "results" / "summary.json").read_text())
    assert summary["networks"]["gbad_paper"]["pooling"] == "average"
    assert set(summary["networks"]) == {"cnn", "gbad_paper", "gbad"}
    assert len(summary["trained_on"]) == 1
    assert "torch 2" in summary["trained_on"][0]
    plots = {path.name for path in (finished / "results" / "plots").iterdir()}
    names = ("ap-sixray10-resnet18", "map-resnet18", "roc-resnet18", "precision-recall-resnet18")
    assert plots == {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    page = (finished / "results" / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in page
    assert 'src="http' not in page
    for method in CHOSEN:
        assert METHODS[method].label in page.replace("&#39;", "'")


def test_results_are_the_average_precision_of_the_stored_scores(finished: Path, data: BenchmarkData) -> None:
    test = read_sixray(data.folder, 10, "test")
    tidy = pd.read_csv(finished / "results" / "results.csv")
    settings = NETWORKS["gbad"].settings
    for method, output in (("gbad_ungated", "logits"), ("gbad_heads", "ranking"), ("gbad", "log_gated")):
        folder = next((finished / "cells").glob("gbad-resnet18-10-seed2-*"))
        scores = Scores.load(next(folder.glob("test-*/scores.npz")))
        assert tuple(scores.names) == test.names
        validation = Scores.load(folder / "validation.npz")
        scores, _ = at_prevalence(scores, validation, settings, 1 / (1 + data.ratio(data.subsets[0])))
        expected = average_precision_per_class(test.labels, getattr(scores, output), test.classes)
        own = tidy[(tidy["method"] == method) & (tidy["seed"] == 2)].set_index("class")["ap"]
        assert {name: own[name] for name in test.classes} == pytest.approx(expected, abs=1e-12)


def test_phase_3_chooses_for_the_prevalence_of_each_subset(finished: Path) -> None:
    folder = next((finished / "cells").glob("gbad-resnet18-10-seed2-*"))
    test, validation = Scores.load(next(folder.glob("test-*/scores.npz"))), Scores.load(folder / "validation.npz")
    settings = NETWORKS["gbad"].settings
    assert validation.labels is not None
    own = validation.labels.any(axis=1).mean()
    for scores, again in zip((test, validation), at_prevalence(test, validation, settings, own), strict=True):
        for name in ("ranking", "log_gated", "thresholds", "strength", "heads_share"):
            np.testing.assert_allclose(getattr(again, name), getattr(scores, name), atol=1e-12, err_msg=name)
    always = at_prevalence(test, validation, Settings(alpha=0.5), own)
    assert [one.strength for one in always] == [0.5, 0.5]
    expected = soft_gate(always[0].ranking, test.p_anomalous, 0.5)  # type: ignore[arg-type]
    np.testing.assert_array_equal(always[0].log_gated, expected)  # type: ignore[arg-type]
    none = replace(validation, labels=0 * validation.labels)
    assert at_prevalence(test, none, settings, 0.01) == (test, none)
    ungated = Scores.load(next((finished / "cells").glob("cnn-*-seed2-*/validation.npz")))
    assert at_prevalence(ungated, ungated, settings, 0.01) == (ungated, ungated)


def test_the_second_look_has_a_row_of_its_own(data: BenchmarkData, tmp_path: Path) -> None:
    more = QUICK | {"size": 32, "second_look": True, "region_size": 32, "region_epochs": 1, "second_look_share": 1.0}
    benchmark(tmp_path, data, methods=("gbad_first_look", "gbad"), seeds=(1,), overrides=more)
    folder = next((tmp_path / "cells").glob("gbad-resnet18-10-seed1-*"))
    test, validation = Scores.load(next(folder.glob("test-*/scores.npz"))), Scores.load(folder / "validation.npz")
    for scores in (test, validation):
        assert scores.second_look is not None
        assert scores.ranking is not None
        assert scores.second_share is not None
        looked = ~np.isnan(scores.second_look)
        expected = np.where(looked, np.nan_to_num(scores.second_look), scores.ranking)
        share = float(scores.second_share)
        both = (1 - share) * scores.ranking + share * expected
        gate = scores.first_look - log_sigmoid(scores.ranking)
        np.testing.assert_allclose(scores.log_gated, log_sigmoid(both) + gate, atol=1e-9)
    assert validation.labels is not None
    own = validation.labels.any(axis=1).mean()
    for scores, again in zip(
        (test, validation), at_prevalence(test, validation, NETWORKS["gbad"].settings, own), strict=True
    ):
        for name in ("log_gated", "first_look", "thresholds", "second_share"):
            np.testing.assert_allclose(getattr(again, name), getattr(scores, name), atol=1e-9, err_msg=name)
    tidy = pd.read_csv(tmp_path / "results" / "results.csv")
    assert set(tidy["method"]) == {"gbad_first_look", "gbad"}
    gates = pd.read_csv(tmp_path / "results" / "gates.csv")
    assert "second_share" in gates
    assert pd.read_csv(tmp_path / "results" / "cells.csv")["second_look_seconds"].notna().all()


def test_heads_that_help_where_threats_are_rare_count_there_alone() -> None:
    labels = np.zeros((20, 1), np.uint8)
    labels[:4] = 1
    classifier, head = np.linspace(-1, -2, 20)[:, None], np.linspace(-1, -2, 20)[:, None]
    classifier[4] = 1.0  # above all four threats
    head[0], head[4:8] = 2.0, 1.0  # three of the threats below four others, the first above all
    scores = Scores(
        np.arange(20).astype(str), classifier, heads=1000 * head, gate_score=np.zeros(20), p_anomalous=np.full(20, 0.5),
        labels=labels,
    )  # fmt: skip
    usual, rare = (at_prevalence(scores, scores, Settings(alpha=0.0), prevalence)[0] for prevalence in (0.2, 1e-3))
    assert usual.heads_share == 0.0
    np.testing.assert_array_equal(usual.ranking, classifier)  # type: ignore[arg-type]
    assert rare.heads_share == 0.125
    np.testing.assert_allclose(rare.ranking, 0.875 * classifier + 125 * head)  # type: ignore[arg-type]
    assert rare.thresholds is not None
    assert usual.thresholds is not None
    paper = Settings(alpha=0.0, class_heads=False)
    assert at_prevalence(scores, scores, paper, 1e-3)[0].heads_share == 0.0


def test_scores_are_those_of_the_saved_pipeline(finished: Path, data: BenchmarkData) -> None:
    import gbad

    folder = next((finished / "cells").glob("gbad_paper-resnet18-10-seed1-*"))
    scores = Scores.load(next(folder.glob("test-*/scores.npz")))
    pipeline = gbad.load(folder / "run" / "pipeline.joblib")
    explained = pipeline.explain(image_paths(data.folder, scores.names[:5].tolist()))
    assert scores.logits[:5] == pytest.approx(explained.logits, abs=1e-5)
    assert scores.log_gated is not None
    assert scores.log_gated[:5] == pytest.approx(explained.log_gated, abs=1e-4)
    assert scores.peaks is not None
    assert set(scores.peaks[scores.peaks >= 0]) <= {0, 1}
    present = read_sixray(data.folder, 10, "test").labels.astype(bool)
    assert ((scores.peaks >= 0) == present).all()  # each threat has a box


def test_validation_scores_leave_the_training_rows_alone(finished: Path) -> None:
    for folder in (finished / "cells").iterdir():
        split = pd.read_csv(folder / "run" / "split.csv").set_index("name")
        validation = Scores.load(folder / "validation.npz")
        held_out = set() if folder.name.startswith("gbad_paper") else {"validation"}
        assert set(split.loc[validation.names, "part"]) == held_out
        assert validation.labels is not None
        assert (split.loc[validation.names].iloc[:, 1:].to_numpy() == validation.labels).all()
        assert len(validation.names) == (split["part"] == "validation").sum()


def test_finished_cells_are_not_computed_again(own: Path, data: BenchmarkData, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "score_images", "validation_scores"):
        monkeypatch.setattr(network_cells, name, lambda *args, **options: pytest.fail("computed again"))
    before = modified(own)
    tables = (own / "results" / "results.csv").read_text()
    shutil.rmtree(own / "results")
    summary = benchmark(own, data)
    assert modified(own) == before
    assert (own / "results" / "results.csv").read_text() == tables
    assert summary["targets"][0]["met"] is not None


def test_changed_settings_make_other_cells(own: Path, data: BenchmarkData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "write_results", lambda *args, **options: {})
    before = modified(own)
    benchmark(own, data, methods=("cnn",), seeds=(1,), overrides=QUICK | {"epochs": 2})
    after = modified(own)
    assert {path: after[path] for path in before} == before
    (new,) = {path.relative_to(own / "cells").parts[0] for path in after.keys() - before.keys()}
    done = json.loads((own / "cells" / new / "done.json").read_text())
    assert done["about"]["settings"]["epochs"] == 2
    assert done["result"]["epochs"] == 2


def test_folders_tell_everything_that_decides_a_score(data: BenchmarkData, tmp_path: Path) -> None:
    first = make_cell(tmp_path, data).entry.folder
    assert make_cell(tmp_path, data).entry.folder == first
    others = [
        make_cell(tmp_path, data, "chr"), make_cell(tmp_path, data, seed=2), make_cell(tmp_path, data, epochs=2),
        make_cell(tmp_path, data, size=96), make_cell(tmp_path, replace(data, origin={"simulation": "another"})),
    ]  # fmt: skip
    assert len({first.name.split("-")[-1], *(cell.entry.folder.name.split("-")[-1] for cell in others)}) == 6
    with pytest.raises(GbadError, match="unknown backbone"):
        make_cell(tmp_path, data, backbone="resnet1")
    with pytest.raises(GbadError, match="must be a number, a text or None"):
        make_cell(tmp_path, replace(data, origin={"simulation": {1, 2}}))
    with pytest.raises(GbadError, match="prevalence: each subset"):
        make_cell(tmp_path, data, prevalence=0.1)


def test_settings_of_what_a_network_does_not_have_make_no_other_cell(data: BenchmarkData, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [{"region_epochs": 3}, {"epsilon": 0.5}]
    for of_others in others:
        folders = {make_cell(tmp_path, data, "cnn", **options).entry.folder for options in ({}, of_others)}
        assert len(folders) == 1
        folders = {make_cell(tmp_path, data, "gbad", **options).entry.folder for options in ({}, of_others)}
        assert len(folders) == 2


def test_a_scale_may_give_single_networks_settings_of_their_own(data: BenchmarkData, tmp_path: Path) -> None:
    subset = data.subsets[0]
    lists = Lists(subset, data.train_digest(subset), data.read(subset, "test"))
    scale = replace(SCALE, of_network={"chr": {"size": 96, "epochs": 5}})
    common = (tmp_path, data, lists)
    of_chr = make_network_cell(*common, "chr", NETWORKS["chr"], "resnet18", 1, scale, {"pretrained": False})
    other = make_network_cell(*common, "cnn", NETWORKS["cnn"], "resnet18", 1, scale, {"pretrained": False})
    assert (of_chr.settings.size, of_chr.settings.epochs) == (96, 5)
    assert (other.settings.size, other.settings.epochs) == (SCALE.settings["size"], SCALE.settings["epochs"])
    given = make_network_cell(*common, "chr", NETWORKS["chr"], "resnet18", 1, scale, {"size": 64, "pretrained": False})
    assert (given.settings.size, given.settings.epochs) == (64, 5)  # what a user gives has the last word
    for known in SCALES.values():
        assert known.of_network.keys() <= NETWORKS.keys()


def test_networks_without_gate_are_scored_on_the_views_of_the_settings(
    own: Path, data: BenchmarkData, tmp_path: Path
) -> None:
    test = read_sixray(data.folder, 10, "test")
    paths = image_paths(data.folder, test.names[:4])
    folder = next((own / "cells").glob("cnn-resnet18-10-seed1-*")) / "run"
    assert {network.settings.views for network in NETWORKS.values()} == {1}
    assert not any("views" in scale.settings for scale in SCALES.values())
    scored = [score_images(folder, 1, test.names[:4], paths, 32, BadImages(4), views=views).logits for views in (1, 2)]
    pixels = np.stack([read_image(path, 32) for path in paths])
    mirrored = predict_batch(load_classifier(folder), pixels[:, :, ::-1].copy())[0]
    np.testing.assert_allclose(scored[1], (scored[0] + mirrored) / 2, atol=1e-5)


def test_scoring_goes_on_where_it_was_killed(own: Path, data: BenchmarkData, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(own / "cells", data, "gbad")
    expected = cell.test_scores()
    shutil.rmtree(cell.scores.folder)
    monkeypatch.setattr(cells, "CHUNK", 16)
    scored, count = network_cells.score_images, []

    def killed(*args: Any, **options: Any) -> Scores:
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(len(args[2]))
        return scored(*args, **options)

    monkeypatch.setattr(network_cells, "score_images", killed)
    with pytest.raises(KeyboardInterrupt):
        cell.score(data)
    assert count == [16, 16]
    count[:] = [0]
    assert cell.score(data)
    assert count == [0, 4]  # the last of three parts
    found = cell.test_scores()
    np.testing.assert_array_equal(found.names, expected.names)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    assert not cell.scores.work.exists()
    assert not cell.score(data)


@dataclass(frozen=True)
class MadeUp(Cell):
    """A cell of scores that are made up; no image is read."""

    scored: Callable[[int, int], Scores | None]
    label = "made up"

    def _train(self, data: BenchmarkData, show_progress: bool) -> dict[str, Any]:
        return {}

    def _scorer(self, *args: Any) -> Callable[[int, int], Scores | None]:
        return self.scored

    def costs(self) -> dict[str, Any]:
        return {}


def made_up(folder: Path, data: BenchmarkData, count: int, scored: Callable[[int, int], Scores | None]) -> MadeUp:
    names = tuple(f"P{row:05d}" for row in range(count))
    test = LabelList(names, np.zeros((count, 1), np.uint8), ("Gun",))
    entry = Entry.of(folder, "made-up", {})
    return MadeUp(entry, "", "", 0, Lists(data.subsets[0], "", test), Entry.of(entry.folder, "test", {}), scored)


def test_a_continued_scoring_counts_what_was_left_out_before(data: BenchmarkData, tmp_path: Path) -> None:
    def score(start: int, stop: int) -> Scores:  # 15 are too few for any single call
        return Scores(np.arange(start + 15, stop).astype(str), np.zeros((stop - start - 15, 1)))

    cell = made_up(tmp_path, data, 2100, score)
    with pytest.raises(TooManyBadImagesError, match="30 of 2,100 test images cannot be used"):
        cell.score(data)
    assert not cell.scores.is_done


def test_a_part_without_any_usable_image_is_left_out(data: BenchmarkData, tmp_path: Path) -> None:
    def score(start: int, stop: int) -> Scores | None:
        return None if start else Scores(np.arange(stop).astype(str), np.zeros((stop, 1)))

    cell = made_up(tmp_path, data, cells.CHUNK + 1, score)
    assert cell.score(data)
    assert len(cell.test_scores().names) == cells.CHUNK
    with pytest.raises(DataError, match="none of 3 test images can be used"):
        made_up(tmp_path / "other", data, 3, lambda start, stop: None).score(data)


def test_scores_of_images_that_were_replaced_are_not_taken(own_dataset: Path, tmp_path: Path) -> None:
    for made in own_dataset.glob("*.json"):
        made.unlink()  # what a simulated folder is known by
    first = make_cell(tmp_path, existing_data(own_dataset))
    assert make_cell(tmp_path, existing_data(own_dataset)).scores.folder == first.scores.folder
    image, other = image_paths(own_dataset, first.lists.test.names[:2])
    image.write_bytes(other.read_bytes())
    again = make_cell(tmp_path, existing_data(own_dataset))
    assert again.entry.folder == first.entry.folder
    assert again.scores.folder != first.scores.folder


def test_training_goes_on_where_it_was_killed(
    data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell(tmp_path, data)

    def killed(*args: Any) -> Scores:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network_cells, "validation_scores", killed)
        with pytest.raises(KeyboardInterrupt):
            cell.train(data)
    classifier = cell.run / "phase1" / "classifier.joblib"
    written = classifier.stat().st_mtime_ns
    assert cell.train(data)
    assert not cell.train(data)
    assert classifier.stat().st_mtime_ns == written
    assert cell.validation_scores().labels is not None
    assert not (cell.run / "cache").exists()


def test_networks_without_the_weights_that_they_were_to_start_from_are_refused(
    data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_cells, "load_imagenet_weights", lambda *args: None)
    monkeypatch.setattr(network_cells, "train", lambda *args, **options: pytest.fail("trained"))
    cell = make_cell(tmp_path, data, pretrained=True)
    with pytest.raises(GbadError, match="there are none for resnet18.*--no-pretrained"):
        cell.train(data)
    assert not cell.entry.folder.exists()


def test_the_content_of_a_file_of_weights_decides_the_folder(data: BenchmarkData, tmp_path: Path) -> None:
    weights, folders = tmp_path / "weights.pt", []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content)
        folders.append(make_cell(tmp_path, data, weights=str(weights)).entry.folder)
    assert folders[0] == folders[2] != folders[1]


def test_simulated_subsets_share_networks_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate = benchmark_data.simulate_dataset
    monkeypatch.setattr(
        benchmark_data, "simulate_dataset", lambda *args, **options: simulate(*args, **(options | {"workers": 1}))
    )
    scale = replace(
        SCALE, lists={"10": ListSizes(14, 14, 5, 5), "100": ListSizes(14, 14, 5, 15)}, image_size=48, resamples=3
    )
    run.run_benchmark(tmp_path, scale, methods=("cnn", "cnn_balanced"), seeds=(0,), overrides=QUICK)
    assert len(list((tmp_path / "cells").iterdir())) == 2
    folder = next((tmp_path / "cells").glob("cnn-*"))
    scores = Scores.load(next(folder.glob("test-*/scores.npz")))
    assert len(scores.names) == 20  # each image once
    tidy = pd.read_csv(tmp_path / "results" / "results.csv", dtype={"subset": str})
    own = tidy[tidy["method"] == "cnn"].set_index(["subset", "class"])["ap"]
    for subset, name, weight in (("10", "10", 1), ("100", "100", 1), ("1000", "100", 10)):
        test = read_sixray(tmp_path / "data", name, "test")
        logits = scores.select(test.names)[1].logits
        weights = np.where(test.positive, 1, weight)
        expected = average_precision_per_class(test.labels, logits, test.classes, sample_weight=weights)
        for label, value in expected.items():
            assert own[subset, label] == pytest.approx(value, nan_ok=True)
    assert {path.name for path in (tmp_path / "results").glob("table[123].csv")} == {
        "table1.csv", "table2.csv", "table3.csv",
    }  # fmt: skip


def test_scores_by_name_and_damaged_files(tmp_path: Path) -> None:
    scores = Scores(np.array(["a", "b", "c"]), np.arange(6.0).reshape(3, 2), thresholds=np.array([0.5, 0.6]))
    rows, selected = scores.select(["c", "x", "a"])
    assert rows.tolist() == [0, 2]
    assert selected.logits.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert selected.thresholds is not None
    scores.save(tmp_path / "scores.npz")
    assert Scores.load(tmp_path / "scores.npz").names.tolist() == ["a", "b", "c"]
    whole = (tmp_path / "scores.npz").read_bytes()
    for damaged in (b"damaged", b"", whole[: len(whole) // 2], whole[:60] + b"flip" + whole[64:]):
        (tmp_path / "scores.npz").write_bytes(damaged)
        with pytest.raises(GbadError, match=r"scores\.npz"):
            Scores.load(tmp_path / "scores.npz")


def test_the_command(run_script: Callable[..., Any], dataset: Path, tmp_path: Path) -> None:
    """As a user calls it, with networks that are too small to learn anything."""
    out = tmp_path / "a folder"
    outcome = run_script(
        "pipelines/benchmark.py", dataset, "--scale", "small", "--methods", "cnn", "--seeds", "3",
        "--backbones", "resnet18", "--no-pretrained", "--size", 32, "--epochs", 1, "--out", out, "--resamples", 5,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "Cell 1 of 1: cnn, resnet18, seed 3" in outcome.out
    tidy = pd.read_csv(out / "results" / "results.csv")
    assert set(tidy["method"]) == {"cnn"}
    assert set(tidy["seed"]) == {3}
    summary = json.loads((out / "results" / "summary.json").read_text())
    assert summary["all_met"] is False
    assert summary["settings"]["epochs"] == 1


def test_options_of_the_simulation_reach_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def instead(out: Path, scale: Any, **rest: Any) -> dict[str, Any]:
        asked.update(scale=scale, **rest)
        return {"targets": []}

    monkeypatch.setattr("gbad.benchmarks.paper.run.run_benchmark", instead)
    command(out=tmp_path, image_size=320, load=0.5, size=224)
    assert asked["scale"] == replace(SCALES["small"], image_size=320, load=0.5)
    assert asked["overrides"] == {"size": 224}
    assert asked["data"] is None


def test_wrong_arguments_cost_nothing(gbad_command: Callable[..., Any], dataset: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--methods", "cnn,gbat"), "unknown method gbat"),
        (("--scale", "huge"), "unknown scale 'huge'"),
        (("--seeds", "1,1"), "seeds must be different"),
        (("--backbones", "resnet1"), "unknown --backbone"),
    ):
        outcome = gbad_command("benchmark", dataset, "--out", tmp_path, *arguments)
        assert outcome.status == 1
        assert message in outcome.err
    assert gbad_command("benchmark", dataset, "--seeds", "one").status == 2
    assert not (tmp_path / "cells").exists()
