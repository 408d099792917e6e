from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import assert_fits
from PIL import Image
from sklearn.metrics import roc_auc_score

from gbad.benchmarks.detectors import runner
from gbad.benchmarks.detectors.cell import load_task, run_cell
from gbad.benchmarks.detectors.control import control_scores
from gbad.benchmarks.detectors.detectors import make_detector, read_parameters
from gbad.benchmarks.detectors.outputs import write_outputs
from gbad.benchmarks.detectors.paper_mode import PAPER_LABEL
from gbad.benchmarks.detectors.runner import BenchmarkSettings, long_table, run_benchmark
from gbad.benchmarks.detectors.tables import markdown, summarise
from gbad.benchmarks.detectors.tasks import make_tasks
from gbad.cli.benchmark_detectors import repeat_options
from gbad.data.one_class import ClassData, read_classes
from gbad.errors import DataError, GbadError, RunError
from gbad.phase2_anomaly import IMAGE_DETECTORS
from gbad.phase2_anomaly.images.ganomaly import GANomalyDetector

Command = Callable[..., Any]
TINY = ("features=4", "latent_size=4", "batch_size=16")


def settings(idx: Path, **options: Any) -> BenchmarkSettings:
    return BenchmarkSettings(**{"data": str(idx), "protocol": "one-vs-rest", "epochs": 2, "parameters": TINY} | options)


def content(out: Path) -> dict[str, Any]:
    """All cells, without what differs from run to run."""
    found = {}
    for path in sorted((out / "cells").glob("*/done.json")):
        cell = json.loads(path.read_text())["result"]
        cell["cost"] = {key: value for key, value in cell["cost"].items() if "parameters" in key}
        found[path.parent.name] = {key: value for key, value in cell.items() if key != "made_with"}
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


def test_the_command(idx: Path, tmp_path: Path, run_script: Command) -> None:
    out = tmp_path / "out"
    command = (
        "pipelines/benchmark_detectors.py", "--data", idx, "--protocol", "leave-one-class-out", "--detectors",
        "ganomaly", "vae", "--classes", "0", "1", "--epochs", 1, "--seeds", 4, "--set", *TINY, "--out", out,
    )  # fmt: skip
    outcome = run_script(*command)
    assert outcome.status == 0, outcome.err
    assert "images/s" in outcome.err
    assert PAPER_LABEL in outcome.out
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
    plots = {path.stem for path in (out / "plots").glob("*.png")}
    assert plots == {"roc_auc"} | {
        f"{kind}-{detector}-{mode}"
        for kind in ("scores", "roc") for detector in ("ganomaly", "vae") for mode in ("clean", "paper")
    } | {"losses-ganomaly", "losses-vae"}  # fmt: skip
    assert page.count("<svg") == 1 + 8 + 2
    assert "Scores and training of ganomaly" in page
    assert not (out / "work").exists() or not list((out / "work").rglob("*.pt"))
    assert json.loads((out / "environment.json").read_text())["versions"]["torch"]


def test_the_page_fits_windows_of_any_width(finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    out, results = finished
    shutil.copytree(out, tmp_path / "out")
    write_outputs(tmp_path / "out", results)
    assert_fits(tmp_path / "out" / "report.html", tmp_path, images=32)


def test_a_killed_command_goes_on(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path, start: Command, gbad_command: Command
) -> None:
    out = tmp_path / "out"
    command = (
        "benchmark-detectors", "--data", idx, "--protocol", "one-vs-rest", "--detectors", "ganomaly",
        "--classes", "0", "2", "--epochs", 2, "--seeds", 0, "--set", *TINY, "--out", out,
    )  # fmt: skip
    process = start("-m", "gbad.cli", *command)
    while not (done := list(out.glob("cells/0-ganomaly-seed0-*/done.json"))) and process.poll() is None:
        time.sleep(0.1)
    process.kill()
    process.communicate()
    (first,) = done
    before = first.read_bytes()
    outcome = gbad_command(*command)
    assert outcome.status == 0, outcome.err
    assert first.read_bytes() == before
    expected = {path: cell for path, cell in content(finished[0]).items() if "-ganomaly-seed0-" in path}
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
    monkeypatch.setattr("gbad.phase2_anomaly.epochs.CHECKPOINT_SECONDS", 0.0)
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


def test_a_cell_made_with_another_default_is_not_taken(
    idx: Path, finished: tuple[Path, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = finished
    one = next(result for result in results if (result["detector"], result["class"], result["seed"]) == ("vae", "0", 0))
    assert one["params"]["features"] == 4
    assert one["params"]["beta1"] == IMAGE_DETECTORS["vae"]().beta1  # a default
    told = json.loads((out / "cells" / one["folder"] / "done.json").read_text())
    assert {"params": one["params"], "class": "0", "version": runner.VERSION}.items() <= told["about"].items()
    make = runner.make_detector
    monkeypatch.setattr(runner, "make_detector", lambda *args, **options: make(*args, **options).set_params(beta1=0.25))
    monkeypatch.setattr(runner, "run_cell", lambda *args, **options: pytest.fail("run"))
    with pytest.raises(pytest.fail.Exception):
        run_benchmark(out, settings(idx), detectors=["vae"], classes=["0"], seeds=[0])


def test_repeated_detectors_and_seeds_count_once(idx: Path, finished: tuple[Path, list[dict[str, Any]]]) -> None:
    again = run_benchmark(
        finished[0], settings(idx), detectors=["ganomaly", "vae", "vae"], classes=["0", "2", "2"], seeds=[0, 1, 0]
    )
    assert again == finished[1]


def test_classes_whose_names_are_alike_in_a_file_name_have_results_of_their_own(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for name in ("a b", "a_b"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (32, 32), number).save(tmp_path / "data" / part / name / f"{number}.png")
    options = settings(tmp_path / "data", epochs=1, paper_every=0)
    results = run_benchmark(tmp_path / "out", options, detectors=["vae"], seeds=[0])
    assert [result["class"] for result in results] == ["a b", "a_b"]
    assert len({result["folder"] for result in results}) == 2


def test_summary_by_hand(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    results = finished[1]
    ganomaly, vae = summarise(results)
    areas = {(one["class"], one["seed"]): one["clean"]["roc_auc"] for one in results if one["detector"] == "ganomaly"}
    assert ganomaly.clean.roc_auc == pytest.approx(np.mean(list(areas.values())))
    assert ganomaly.clean.classes["2"] == pytest.approx((areas["2", 0] + areas["2", 1]) / 2)
    first, second = ((areas["0", seed] + areas["2", seed]) / 2 for seed in (0, 1))
    half = 12.706204736 * abs(first - second) / 2  # Student's t with one degree of freedom
    low, high = ganomaly.clean.seeds_interval
    assert (low, high) == pytest.approx(((first + second) / 2 - half, (first + second) / 2 + half))
    assert (vae.cells, vae.diverged) == (4, 0)
    assert vae.clean.rows_interval[0] <= vae.clean.roc_auc <= vae.clean.rows_interval[1]
    long = long_table(results)
    chosen = long[(long["detector"] == "vae") & (long["metric"] == "pr_auc") & (long["mode"] == "paper")]
    assert chosen["value"].mean() == pytest.approx(vae.paper.measures["pr_auc"])


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
    assert np.isnan(summarise(results)[0].paper.roc_auc)


def test_paper_mode_tests_the_last_epoch_and_every_so_many_before(idx: Path, tmp_path: Path) -> None:
    options = settings(idx, epochs=5, paper_every=2)
    (result,) = run_benchmark(tmp_path, options, detectors=["vae"], classes=["0"], seeds=[0])
    assert list(result["paper_history"]) == ["1", "3", "5"]


def test_a_class_with_one_training_image_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    for name, count in (("cat", 8), ("dog", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            image = np.full((32, 32), 20 * number, np.uint8)
            Image.fromarray(image).save(tmp_path / "data" / name / f"{number}.png")
    with pytest.raises(DataError, match="dog has one normal training image, and a detector needs two"):
        run_benchmark(tmp_path / "out", settings(tmp_path / "data"), detectors=["vae"])
    assert not (tmp_path / "out").exists()


def test_hyperparameters_of_the_command_line() -> None:
    parameters = read_parameters(["features=8", "vae.latent_size=3"], ["ganomaly", "vae"])
    assert make_detector("vae", parameters).get_params()["latent_size"] == 3
    assert (
        make_detector("ganomaly", parameters).get_params()["latent_size"] == IMAGE_DETECTORS["ganomaly"]().latent_size
    )
    assert make_detector("ganomaly", parameters).get_params()["features"] == 8
    for order in (["ganomaly.features=8", "features=16"], ["features=16", "ganomaly.features=8"]):
        assert make_detector("ganomaly", read_parameters(order, ["ganomaly"])).get_params()["features"] == 8
    for text in ("features", "colour=3", "epochs=3", "sagan.features=3"):
        with pytest.raises(GbadError, match=f"--set {text}: no hyperparameter"):
            read_parameters([text], ["ganomaly"])


def test_hyperparameters_are_checked_before_the_data_are_read(tmp_path: Path) -> None:
    for detector, text, message in (
        ("panda_gan", "panda_gan.reconstruction=general", "set perceptual_weights to a file"),
        ("sagan", "widths=[4, 0]", r"each of widths == 0, must be >= 1"),
        ("sagan", "widths=4", "widths must be a list of whole numbers, got 4"),
    ):
        with pytest.raises(GbadError, match=message):
            run_benchmark(tmp_path / "out", settings(tmp_path / "none", parameters=(text,)), detectors=[detector])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["warp", "meta", "cuda:99", "hpu"])
def test_a_device_that_cannot_be_used_is_refused_before_anything_is_written(
    device: str, idx: Path, tmp_path: Path
) -> None:
    with pytest.raises(GbadError, match=rf"--device {device} cannot be used here \(.{{5,200}}\)\. Choose another one"):
        run_benchmark(tmp_path / "out", settings(idx, device=device), detectors=["vae"])
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
        (("--preset", "paper"), "vae with --size 32, --preset paper: preset must be one of published, released"),
        (("--preset", "released"), "there is no preset 'released' of 'vae', but of ganomaly, skip_ganomaly"),
        (("--split", "5"), "--split 5: not three numbers of images"),
        (("--protocol", "frames"), "the protocol frames is for data in the layout ucsd, not idx"),
        (("--size", 48), "vae with --size 48: image_size must be 32, 64, 128 or 256, got 48"),
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
