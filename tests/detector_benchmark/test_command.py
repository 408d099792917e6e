from __future__ import annotations

import gzip
import json
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from gbad.data.one_class import ClassData, read_classes
from gbad.detector_benchmark import runner
from gbad.detector_benchmark.cell import load_task, run_cell
from gbad.detector_benchmark.command import repeat_options
from gbad.detector_benchmark.control import control_scores
from gbad.detector_benchmark.cost import inference_parameters, milliseconds_per_image
from gbad.detector_benchmark.detectors import DETECTORS, make_detector, read_parameters
from gbad.detector_benchmark.measures import resampled_roc_auc
from gbad.detector_benchmark.paper_mode import PAPER_LABEL, PaperMode
from gbad.detector_benchmark.protocols import make_tasks
from gbad.detector_benchmark.runner import Settings, long_table, run_benchmark
from gbad.detector_benchmark.tables import markdown, summarise
from gbad.errors import DivergedError, GbadError, RunError
from gbad.phase2_anomaly import ganomaly
from gbad.phase2_anomaly.ganomaly import GANomalyDetector

Command = Callable[..., Any]
TINY = ("features=4", "latent_size=4", "batch_size=16")


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 28 px images that differ in brightness: 30 training and 30 test images. Not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "shades"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        labels = np.arange(30, dtype=np.uint8) % 3
        images = (80 * labels[:, None, None] + rng.integers(0, 90, (30, 28, 28))).astype(np.uint8)
        for kind, values in (("images", images), ("labels", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            path = folder / f"{prefix}-{kind}-idx{values.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(head + values.tobytes()))
    return folder


@pytest.fixture(scope="module")
def defects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One category in MVTec-AD's layout: dark images, defects are bright squares. Not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "mvtec"
    rng = np.random.default_rng(0)
    for part, kind, count in (("train", "good", 8), ("test", "good", 4), ("test", "spot", 4)):
        for number in range(count):
            pixels = rng.integers(0, 40, (64, 64, 3), dtype=np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            if kind == "spot":
                pixels[:12, :12] = mask[:12, :12] = 255
                path = folder / "disc" / "ground_truth" / kind / f"{number}_mask.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)
            path = folder / "disc" / part / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def settings(idx: Path, **options: Any) -> Settings:
    return Settings(**{"data": str(idx), "protocol": "one-vs-rest", "epochs": 2, "parameters": TINY} | options)


def content(out: Path) -> dict[str, Any]:
    """All cells, without what differs from run to run."""
    found = {}
    for path in sorted((out / "cells").rglob("*.json")):
        cell = json.loads(path.read_text())
        cell["cost"] = {key: value for key, value in cell["cost"].items() if "parameters" in key}
        found[str(path.relative_to(out))] = {key: value for key, value in cell.items() if key != "made_with"}
    return found


@pytest.fixture(scope="module")
def finished(idx: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A finished benchmark and its results. Not to be changed."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    results = run_benchmark(out, settings(idx), detectors=["ganomaly", "vae"], classes=["0", "2"], seeds=[0, 1])
    return out, results


def test_options_with_several_values() -> None:
    given = ["--seeds", "0", "1", "--size", "32", "--classes=a", "--seeds", "2"]
    expected = ["--seeds", "0", "--seeds", "1", "--size", "32", "--classes=a", "--seeds", "2"]
    assert repeat_options(given, ["--seeds", "--classes"]) == expected


def test_the_command(idx: Path, tmp_path: Path, run_python: Command) -> None:
    out = tmp_path / "out"
    command = (
        "pipelines/benchmark_detectors.py", "--data", idx, "--protocol", "leave-one-class-out", "--detectors",
        "ganomaly", "vae", "--classes", "0", "1", "--epochs", 1, "--seeds", 4, "--set", *TINY, "--out", out,
    )  # fmt: skip
    outcome = run_python(*command)
    assert outcome.status == 0, outcome.err
    assert "images/s" in outcome.err
    assert "leaks test" in outcome.out
    assert str(out / "report.html") in outcome.out
    table = pd.read_csv(out / "results.csv")
    assert list(table) == ["dataset", "protocol", "class", "detector", "mode", "seed", "metric", "value"]
    areas = table[table["metric"] == "roc_auc"]
    assert len(areas) == (2 + 1) * 2 * 2  # modes and control, detectors, classes
    assert areas["value"].between(0, 1).all()
    text = (out / "table.md").read_text()
    assert "the named class is abnormal" in text
    assert "--protocol leave-one-class-out" in text
    for mode in (out / "report.html", out / "table.md", out / "plots" / "roc_auc.svg"):
        assert PAPER_LABEL in mode.read_text()
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 2 * 2 * 8
    assert not (out / "work").exists() or not list((out / "work").rglob("*.pt"))
    assert json.loads((out / "environment.json").read_text())["versions"]["torch"]


def test_a_killed_command_goes_on(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path, start: Command, run_python: Command
) -> None:
    out = tmp_path / "out"
    command = (
        "-m", "gbad.cli", "benchmark-detectors", "--data", idx, "--protocol", "one-vs-rest", "--detectors", "ganomaly",
        "--classes", "0", "2", "--epochs", 2, "--seeds", 0, "--set", *TINY, "--out", out,
    )  # fmt: skip
    process = start(*command)
    first = out / "cells" / "0" / "ganomaly" / "seed0.json"
    while not first.exists() and process.poll() is None:
        time.sleep(0.1)
    process.kill()
    process.communicate()
    before = first.read_bytes()
    outcome = run_python(*command)
    assert outcome.status == 0, outcome.err
    assert first.read_bytes() == before
    expected = {path: cell for path, cell in content(finished[0]).items() if path.endswith("ganomaly/seed0.json")}
    assert content(out) == expected
    assert len(expected) == 2


def test_a_training_that_was_interrupted_gives_the_same_figures(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in the test of paper mode after the second epoch, of which there is no checkpoint yet."""
    task = load_task(make_tasks(read_classes(idx, 32), "one-vs-rest", classes=["0"])[0])
    common = {"image_size": 32, "epochs": 2, "random_state": 0, "contamination": 0.05}
    original = GANomalyDetector._paper_scores
    calls = []

    def dying(self: GANomalyDetector, *arguments: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(GANomalyDetector, "_paper_scores", dying)
    monkeypatch.setattr("gbad.phase2_anomaly.epochs._CHECKPOINT_SECONDS", 0.0)
    parameters = read_parameters(TINY, ["ganomaly"])
    with pytest.raises(KeyboardInterrupt):
        run_cell(task, make_detector("ganomaly", parameters, **common), tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    epochs: list[int] = []
    result = run_cell(task, make_detector("ganomaly", parameters, **common), tmp_path, on_epoch=epochs.append)
    assert epochs == [2]
    expected = finished[1][0]
    assert (expected["class"], expected["detector"], expected["seed"]) == ("0", "ganomaly", 0)
    assert result["clean"] == expected["clean"]
    assert result["paper"] == expected["paper"]
    assert {str(epoch): area for epoch, area in result["paper_history"].items()} == expected["paper_history"]


def test_memory_does_not_grow_with_images_that_lie_in_a_file(
    idx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gbad.data.one_class.class_data._IN_MEMORY", 1)
    task = load_task(make_tasks(read_classes(idx, 32), "one-vs-rest", classes=["0"])[0])
    assert task.test.shape == (30, 32, 32, 1)
    assert isinstance(task.test, np.memmap)
    assert not task.test.flags.owndata
    order = np.random.default_rng(0).permutation(30)
    detector = make_detector("ganomaly", read_parameters(TINY, ["ganomaly"]), image_size=32, epochs=1).fit(task.train)
    shuffled = detector.paper_scores(task.test, order=order)
    assert np.allclose(shuffled[order], detector.paper_scores(task.test[order]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(shuffled, detector.paper_scores(task.test))


def test_the_figures_of_a_cell(idx: Path, finished: tuple[Path, list[dict[str, Any]]]) -> None:
    result = finished[1][0]
    task = load_task(make_tasks(read_classes(idx, 32), "one-vs-rest", classes=["0"])[0])
    assert task.train.shape == (10, 32, 32, 1)  # grey images are given as such
    detector = make_detector(
        "ganomaly", read_parameters(TINY, ["ganomaly"]), image_size=32, epochs=2, random_state=0, contamination=0.05
    ).fit(task.train)
    score = detector.anomaly_score(task.test)
    abnormal = task.task.abnormal
    assert result["clean"]["roc_auc"] == roc_auc_score(abnormal, score)
    threshold = np.percentile(detector.anomaly_score(task.train), 95)
    assert result["clean"]["recall"] == (score[abnormal] > threshold).mean()
    assert result["clean"]["false_alarm_rate"] == (score[~abnormal] > threshold).mean()
    last = roc_auc_score(abnormal, detector.paper_scores(task.test))
    assert result["paper"]["roc_auc_last_epoch"] == last
    order = np.random.default_rng(0).permutation(len(task.test))
    shuffled = roc_auc_score(abnormal[order], detector.paper_scores(task.test[order]))
    assert result["paper"]["roc_auc_shuffled"] == pytest.approx(shuffled)
    assert result["control"]["roc_auc"] == roc_auc_score(abnormal, control_scores(task.train, task.test))
    assert result["paper"]["roc_auc"] == max(result["paper_history"].values()) >= last
    assert result["counts"] == {"train": 10, "test_normal": 10, "test_abnormal": 20}
    assert np.mean(result["resamples"]["clean"]) == pytest.approx(result["clean"]["roc_auc"], abs=0.05)


def test_cells_are_done_once_and_more_may_be_added(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = finished
    monkeypatch.setattr(runner, "run_cell", lambda *args, **options: pytest.fail("a cell was run again"))
    options: dict[str, Any] = {"detectors": ["ganomaly", "vae"], "classes": ["0", "2"], "seeds": [0, 1]}
    assert run_benchmark(out, settings(idx), **options) == results
    assert len(run_benchmark(out, settings(idx), **options | {"seeds": [1]})) == 4
    with pytest.raises(RunError, match="another epochs"):
        run_benchmark(out, settings(idx, epochs=3), **options)
    with pytest.raises(pytest.fail.Exception):
        run_benchmark(out, settings(idx), **options | {"seeds": [2]})


def test_a_folder_of_another_version_or_with_other_labels_is_refused(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"detectors": ["vae"], "classes": ["0"], "seeds": [0]}
    with monkeypatch.context() as patch:
        patch.setattr(runner, "VERSION", runner.VERSION + 1)
        with pytest.raises(RunError, match="another version"):
            run_benchmark(finished[0], settings(idx), **options)

    def relabelled(*args: Any, **kwargs: Any) -> list[ClassData]:
        (data,) = read_classes(*args, **kwargs)
        return [replace(data, test=replace(data.test, labels=(data.test.labels + 1) % 3))]

    monkeypatch.setattr(runner, "read_classes", relabelled)
    with pytest.raises(RunError, match="another labels"):
        run_benchmark(finished[0], settings(idx), **options)


def test_data_may_move_but_not_change(defects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"detectors": ["vae"], "seeds": [0]}
    common = {"protocol": "normal-vs-abnormal", "epochs": 1}
    first = run_benchmark(tmp_path / "out", settings(defects, **common), **options)
    moved = Path(shutil.copytree(defects, tmp_path / "elsewhere" / "mvtec"))
    monkeypatch.chdir(moved)
    for number, spelling in enumerate((moved, Path("../mvtec"), Path("."))):
        assert run_benchmark(tmp_path / "out", settings(spelling, **common), **options) == first
        (again,) = run_benchmark(tmp_path / f"again {number}", settings(spelling, **common), **options)
        assert again["resamples"] == first[0]["resamples"]
    mask = moved / "disc" / "ground_truth" / "spot" / "0_mask.png"
    for path in (moved / "disc" / "train" / "good" / "0.png", mask):
        before = path.read_bytes()
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        with pytest.raises(RunError, match="another images"):
            run_benchmark(tmp_path / "out", settings(moved, **common), **options)
        path.write_bytes(before)


def test_a_killed_cell_is_not_continued_on_other_test_images(tmp_path: Path) -> None:
    path, unit, abnormal = tmp_path / "paper.joblib", np.arange(4), np.array([False, False, True, True])
    test = np.zeros((4, 32, 32, 1), np.uint8)
    PaperMode(path, test, unit, abnormal, (1,)).test(1, lambda X, order=None: np.arange(4.0))
    assert PaperMode(path, test.copy(), unit, abnormal, (1,)).history == {1: 1.0}
    test[3, 0, 0] = 1
    with pytest.raises(RunError, match="figures on other test images"):
        PaperMode(path, test, unit, abnormal, (1,))


def test_a_cell_made_with_another_default_is_refused(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    path = out / "cells" / "0" / "vae" / "seed0.json"
    cell = json.loads(path.read_text())
    assert cell["params"]["features"] == 4
    assert cell["params"]["beta1"] == DETECTORS["vae"]().beta1  # a default
    path.write_text(json.dumps(cell | {"params": cell["params"] | {"beta1": 0.25}}))
    with pytest.raises(RunError, match=r"seed0\.json was made with another beta1\."):
        run_benchmark(out, settings(idx), detectors=["vae"], classes=["0"], seeds=[0])
    path.write_text(json.dumps(cell | {"class": "1"}))
    with pytest.raises(RunError, match=r"seed0\.json was made with another class\."):
        run_benchmark(out, settings(idx), detectors=["vae"], classes=["0"], seeds=[0])
    assert len(run_benchmark(out, settings(idx), detectors=["ganomaly"], classes=["0"], seeds=[0])) == 1


def test_repeated_detectors_and_seeds_count_once(idx: Path, finished: tuple[Path, list[dict[str, Any]]]) -> None:
    again = run_benchmark(
        finished[0], settings(idx), detectors=["ganomaly", "vae", "vae"], classes=["0", "2", "2"], seeds=[0, 1, 0]
    )
    assert again == finished[1]


def test_classes_whose_files_would_have_one_name_are_refused_even_if_only_one_is_asked_for(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for name in ("a b", "a_b"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (32, 32), number).save(tmp_path / "data" / part / name / f"{number}.png")
    with pytest.raises(GbadError, match="two of a b, a_b give the same file name"):
        run_benchmark(tmp_path / "out", settings(tmp_path / "data"), detectors=["vae"], classes=["a b"], seeds=[0])
    assert not (tmp_path / "out").exists()


def test_summary_by_hand(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    results = finished[1]
    ganomaly, vae = summarise(results)
    areas = {(one["class"], one["seed"]): one["clean"]["roc_auc"] for one in results if one["detector"] == "ganomaly"}
    assert ganomaly["clean"]["roc_auc"] == pytest.approx(np.mean(list(areas.values())))
    assert ganomaly["clean"]["classes"]["2"] == pytest.approx((areas["2", 0] + areas["2", 1]) / 2)
    first, second = ((areas["0", seed] + areas["2", seed]) / 2 for seed in (0, 1))
    half = 12.706204736 * abs(first - second) / 2  # Student's t with one degree of freedom
    low, high = ganomaly["clean"]["seeds_interval"]
    assert (low, high) == pytest.approx(((first + second) / 2 - half, (first + second) / 2 + half))
    assert (vae["cells"], vae["diverged"]) == (4, 0)
    assert vae["clean"]["rows_interval"][0] <= vae["clean"]["roc_auc"] <= vae["clean"]["rows_interval"][1]
    long = long_table(results)
    chosen = long[(long["detector"] == "vae") & (long["metric"] == "pr_auc") & (long["mode"] == "paper")]
    assert chosen["value"].mean() == pytest.approx(vae["paper"]["pr_auc"])


def test_paper_mode_claims_no_more_than_the_published_code_did(
    finished: tuple[Path, list[dict[str, Any]]],
) -> None:
    page = markdown(finished[1])
    ganomaly_row, vae_row = (
        next(x for x in page.splitlines() if x.startswith(f"| {y} |")) for y in ("ganomaly", "vae")
    )
    assert "batch statistics, best epoch, min-max" in ganomaly_row
    assert "none: paper-style" in vae_row
    assert f"ganomaly, {PAPER_LABEL}" in page
    assert "vae, paper-style (leaks test statistics)" in page
    assert f"vae, {PAPER_LABEL}" not in page
    for result in finished[1]:
        if result["detector"] == "vae":  # in eval mode: only the choice of the epoch is left
            assert result["paper"]["roc_auc_shuffled"] == result["paper"]["roc_auc_last_epoch"]
            assert result["paper"]["roc_auc_last_epoch"] == pytest.approx(result["clean"]["roc_auc"], abs=0.011)


def test_without_paper_mode_there_are_dashes(idx: Path, tmp_path: Path) -> None:
    options = settings(idx, epochs=1, paper_every=0)
    results = run_benchmark(tmp_path, options, detectors=["vae"], classes=["0"], seeds=[0], command="it")
    assert results[0]["paper"] is None
    assert "| vae | 0." in markdown(results)
    assert np.isnan(summarise(results)[0]["paper"]["roc_auc"])


def test_paper_mode_tests_the_last_epoch_and_every_so_many_before(idx: Path, tmp_path: Path) -> None:
    options = settings(idx, epochs=5, paper_every=2)
    (result,) = run_benchmark(tmp_path, options, detectors=["vae"], classes=["0"], seeds=[0])
    assert list(result["paper_history"]) == ["1", "3", "5"]


@pytest.mark.parametrize("grid", [1, 2])
def test_localisation_and_patches(grid: int, defects: Path, tmp_path: Path) -> None:
    options = settings(defects, protocol="normal-vs-abnormal", grid=grid, epochs=20)
    (result,) = run_benchmark(tmp_path, options, detectors=["vae"], seeds=[0])
    assert result["class"] == "disc"
    assert result["counts"] == {"train": 8 * grid**2, "test_normal": 4, "test_abnormal": 4}
    assert result["clean"]["roc_auc"] == 1.0
    assert result["clean"]["pixel_roc_auc"] > 0.75
    assert result["clean"]["pro"] > 0.5


def test_patches_of_one_image_are_resampled_together(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = make_tasks(read_classes(dataset, 32, grid=2), "normal-vs-abnormal", max_train=8)
    images: list[np.ndarray] = []

    def resampled(abnormal: np.ndarray, score: np.ndarray, image: np.ndarray, **options: Any) -> np.ndarray:
        images.append(image)
        return resampled_roc_auc(abnormal, score, image, **options)

    monkeypatch.setattr("gbad.detector_benchmark.cell.resampled_roc_auc", resampled)
    vae = make_detector("vae", read_parameters(TINY, ["vae"]), image_size=32, epochs=1)
    run_cell(load_task(task), vae, tmp_path, paper_every=0, resamples=5)
    (image,) = images
    shown = sorted(name.split("#")[0] for name in task.test.names)
    assert [np.unique(shown).tolist().index(name) for name in shown] == image.tolist()
    assert 2 < np.bincount(image).max() <= 4


def test_a_diverged_training_is_reported_and_the_others_go_on(
    idx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*args: object) -> None:
        raise DivergedError("The training diverged in epoch 1")

    monkeypatch.setattr(ganomaly.GANomalyDetector, "_step", diverge)
    results = run_benchmark(tmp_path, settings(idx), detectors=["ganomaly", "vae"], classes=["0"], seeds=[0])
    assert "diverged in epoch 1" in results[0]["error"]
    assert "ganomaly (1 of 1 diverged) | –" in markdown(results)
    assert long_table(results).query("metric == 'diverged'")["value"].tolist() == [1]


@pytest.mark.parametrize("what", ["scores", "maps"])
def test_test_images_without_finite_scores_do_not_end_a_benchmark(
    what: str, defects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"scores": "anomaly_score", "maps": "anomaly_map"}[what]
    honest = getattr(DETECTORS["vae"], method)
    monkeypatch.setattr(DETECTORS["vae"], method, lambda self, X: honest(self, X) * np.inf)
    options = settings(defects, protocol="normal-vs-abnormal", epochs=1)
    (result,) = run_benchmark(tmp_path, options, detectors=["vae"], seeds=[0])
    assert f"{what} of test images are not finite" in result["error"]
    assert not list(tmp_path.rglob("*.pt"))


def test_layers_that_scoring_does_not_call_are_not_counted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
    detector = GANomalyDetector(features=4, latent_size=4, epochs=1).fit(images)
    parts = {name.split(".")[0] for name in detector.weights_}
    assert parts == {"generator", "discriminator"}
    network = ganomaly.GANomaly(1, 4, 32, 4)
    assert detector.n_parameters_ == sum(values.numel() for values in network.parameters())
    expected = sum(values.numel() for values in network.generator.parameters())
    assert inference_parameters(detector, images) == expected < detector.n_parameters_


@pytest.mark.parametrize("batch", [1, 64])
def test_times_are_those_of_built_networks_on_batches_of_just_that_size(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
    detector = GANomalyDetector(features=4, latent_size=4, epochs=1).fit(images)
    built, sizes = [], []
    networks, score_parts = GANomalyDetector._fitted_networks, GANomalyDetector._score_parts

    def build(self: GANomalyDetector) -> ganomaly.GANomaly:
        built.append(1)
        return networks(self)

    def judge(self: GANomalyDetector, generator: ganomaly.GANomaly, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return score_parts(self, generator, x)

    monkeypatch.setattr(GANomalyDetector, "_fitted_networks", build)
    monkeypatch.setattr(GANomalyDetector, "_score_parts", judge)
    assert milliseconds_per_image(detector, images, batch) > 0
    assert built == [1]
    assert len(sizes) > 1
    assert set(sizes) == {batch}


def test_the_time_of_an_epoch_is_that_of_training_alone(
    idx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = GANomalyDetector._renew_statistics

    def slowly(self: GANomalyDetector, *arguments: Any) -> None:  # after the last epoch, and in each paper test
        time.sleep(0.4)
        renew(self, *arguments)

    monkeypatch.setattr(GANomalyDetector, "_renew_statistics", slowly)
    monkeypatch.setattr(GANomalyDetector, "_networks", lambda self: time.sleep(0.4) or ganomaly.GANomaly(1, 4, 32, 4))
    (result,) = run_benchmark(tmp_path, settings(idx), detectors=["ganomaly"], classes=["0"], seeds=[0])
    assert 0 < result["cost"]["seconds_per_epoch"] < 0.4


def test_hyperparameters_of_the_command_line() -> None:
    parameters = read_parameters(["features=8", "vae.latent_size=3"], ["ganomaly", "vae"])
    assert make_detector("vae", parameters).get_params()["latent_size"] == 3
    assert make_detector("ganomaly", parameters).get_params()["latent_size"] == DETECTORS["ganomaly"]().latent_size
    assert make_detector("ganomaly", parameters).get_params()["features"] == 8
    for text in ("features", "colour=3", "epochs=3", "sagan.features=3"):
        with pytest.raises(GbadError, match=f"--set {text}: no hyperparameter"):
            read_parameters([text], ["ganomaly"])


def test_hyperparameters_are_checked_before_the_data_are_read(tmp_path: Path) -> None:
    for detector, text, message in (
        ("panda_gan", "panda_gan.reconstruction=general", "set perceptual_weights to a file"),
        ("sagan", "widths=[4, 0]", r"each of widths == 0, must be >= 1"),
        ("sagan", "widths=4", "widths must be whole numbers in a list, got 4"),
    ):
        with pytest.raises(GbadError, match=message):
            run_benchmark(tmp_path / "out", settings(tmp_path / "none", parameters=(text,)), detectors=[detector])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "nothing"), "nothing: no such folder. Give the folder of the data set."),
        (("--layout", "mvtec"), "no CATEGORY/train/good"),
        (("--layout", "sixray"), "Give the folder that holds ImageSet"),
        (("--detectors", "ganomoly"), "no detector 'ganomoly'. There are: ganomaly, skip_ganomaly"),
        (("--protocol", "one-class"), "protocol 'one-class' is unknown"),
        (("--classes", "Trouser"), "no class or category 'Trouser'. There are: 0, 1, 2."),
        (("--grid", 2), "only sixray and mvtec are cut into patches"),
        (("--max-test", 2), "Check which classes are normal"),
        (("--size", 48), "vae with --size 48, --epochs 15: image_size must be 32, 64, 128 or 256, got 48"),
        (("--set", "batch_size=1"), "--set batch_size=1: batch_size == 1, must be >= 2"),
        (("--set", "divergence_weight=x"), "--set divergence_weight=x: divergence_weight must be an instance of"),
        (("--set", "learning_rate=NaN"), "learning_rate == nan, must be finite"),
        (("--set", "scale_parts=False"), "scale_parts must be true or false, got 'False'"),
        (("--set", "features=0"), "features == 0, must be >= 1"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    options: tuple[object, ...], message: str, idx: Path, tmp_path: Path, gbad_command: Command
) -> None:
    given: dict[object, object] = {
        "--data": idx, "--protocol": "one-vs-rest", "--detectors": "vae", "--out": tmp_path / "out",
    }  # fmt: skip
    given |= dict([options])
    outcome = gbad_command("benchmark-detectors", *(value for pair in given.items() for value in pair))
    assert outcome.status == 1
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
