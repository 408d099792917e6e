from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gbad.benchmarks.paper import cells, detector_cells, run
from gbad.benchmarks.paper.any_threat import detector_rows
from gbad.benchmarks.paper.cells import Lists
from gbad.benchmarks.paper.data import BenchmarkData, existing_data
from gbad.benchmarks.paper.detector_cells import DetectorCell, make_detector_cell
from gbad.benchmarks.paper.methods import METHODS, chosen_methods, needed_networks
from gbad.benchmarks.paper.scales import SCALES, Scale
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.errors import DivergedError, GbadError
from gbad.phase2_anomaly import GANomalyDetector, ImageAnomalyDetector
from gbad.training.training_set import validation_rows

TINY = {"image_size": 32, "epochs": 1, "features": 2, "latent_size": 4, "max_images": 30}
SCALE = replace(SCALES["small"], backbones=("resnet18",), resamples=20, image_detectors=TINY)
QUICK = {"pretrained": False, "size": 32, "epochs": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def data(dataset: Path) -> BenchmarkData:
    return existing_data(dataset)


def make(root: Path, data: BenchmarkData, seed: int = 1, scale: Scale = SCALE, **options: Any) -> DetectorCell:
    chosen: dict[str, Any] = {"name": "ganomaly", "validation_fraction": 0.2} | options
    subset = data.subsets[0]
    lists = Lists(subset, data.train_digest(subset), data.read(subset, "test"))
    return make_detector_cell(root, data, lists, seed=seed, scale=scale, **chosen)


@pytest.fixture(scope="module")
def done(data: BenchmarkData, tmp_path_factory: pytest.TempPathFactory) -> DetectorCell:
    """A finished cell. Not to be changed."""
    cell = make(tmp_path_factory.mktemp("cell"), data)
    assert cell.train(data)
    assert cell.score(data)
    return cell


def test_a_cell_learns_from_threat_free_images_of_the_training_part(
    data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    fit = ImageAnomalyDetector.fit

    def spy(self: Any, X: np.ndarray, *args: Any, **options: Any) -> Any:
        seen.append(np.array(X))
        return fit(self, X, *args, **options)

    monkeypatch.setattr(ImageAnomalyDetector, "fit", spy)
    cell = make(tmp_path, data, scale=replace(SCALE, image_detectors=TINY | {"max_images": 1000}))
    cell.train(data)
    train = read_sixray(data.folder, 10, "train")
    held_out = validation_rows(train.names, train.labels, image_paths(data.folder, train.names), 0.2, 1)
    assert len(seen[0]) == (~held_out & ~train.labels.any(axis=1)).sum()
    validation = cell.validation_scores()
    assert sorted(validation.names) == sorted(np.array(train.names)[held_out])
    few = make(tmp_path, data)
    few.train(data)
    assert len(seen[1]) == 30
    originals = {image.tobytes() for image in seen[0]}
    assert all(image.tobytes() in originals for image in seen[1])


def test_scores_are_those_of_the_saved_detector(done: DetectorCell, data: BenchmarkData) -> None:
    test = data.read(data.subsets[0], "test")
    scores = done.test_scores()
    assert tuple(scores.names) == test.names
    assert scores.logits.shape == (36, 0)
    detector = GANomalyDetector.load(done.entry.folder / "detector.joblib")
    expected = detector.anomaly_score([str(path) for path in image_paths(data.folder, test.names)])
    assert scores.gate_score is not None
    np.testing.assert_allclose(scores.gate_score, expected, atol=1e-5)
    assert not done.entry.work.exists(), "cache and checkpoint are gone"


def test_thresholds_come_from_the_validation_part(done: DetectorCell, data: BenchmarkData) -> None:
    test = data.read(data.subsets[0], "test")
    seeds = [done.seed_scores(test.names[::-1])] * 2
    assert [one.threshold for one in seeds] == [None, None]
    validation = done.validation_scores()
    assert validation.labels is not None
    np.testing.assert_array_equal(seeds[0].validation_any, validation.labels.any(axis=1))
    np.testing.assert_array_equal(seeds[0].validation_score, validation.gate_score)
    y_any = np.asarray(test.labels.any(axis=1))[::-1]
    row = detector_rows({"ganomaly": seeds}, y_any, 2.0, resamples=10).iloc[0]
    assert 0 <= row["f1"] <= 1
    with pytest.raises(GbadError, match="1 test images have no score. Delete it"):
        done.seed_scores((*test.names, "P99999"))


def test_a_finished_cell_is_not_computed_again(
    done: DetectorCell, data: BenchmarkData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageAnomalyDetector, "score_samples", lambda *args: pytest.fail("computed again"))
    assert not done.train(data)
    assert not done.score(data)


def test_folders_tell_everything_that_decides_a_score(data: BenchmarkData, tmp_path: Path) -> None:
    first = make(tmp_path, data).entry.folder
    assert make(tmp_path, data).entry.folder == first
    others = [
        make(tmp_path, data, seed=2), make(tmp_path, data, name="skip_ganomaly", scale=other_scale(latent_size=None)),
        make(tmp_path, data, validation_fraction=0.3), make(tmp_path, replace(data, origin={"simulation": "another"})),
        make(tmp_path, data, scale=other_scale(epochs=2)), make(tmp_path, data, scale=other_scale(max_images=29)),
    ]  # fmt: skip
    assert len({first, *(cell.entry.folder for cell in others)}) == 7


def other_scale(**changes: Any) -> Scale:
    settings = {name: value for name, value in (TINY | changes).items() if value is not None}
    return replace(SCALE, image_detectors=settings)


def test_a_killed_cell_goes_on(
    done: DetectorCell, data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make(tmp_path, data)
    test = data.read(data.subsets[0], "test")
    with monkeypatch.context() as patch:
        patch.setattr(GANomalyDetector, "save", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cell.train(data)
    assert (cell.entry.work / "checkpoint.pt").exists()
    monkeypatch.setattr(GANomalyDetector, "_step", lambda *args: pytest.fail("trained again"))
    assert cell.train(data)
    monkeypatch.setattr(cells, "CHUNK", 16)
    scored, count = detector_cells.stream, []

    def killed(source: Any, rows: np.ndarray, batch_size: int) -> Any:
        count.append(len(rows))
        if len(count) == 3:
            raise KeyboardInterrupt
        return scored(source, rows, batch_size)

    monkeypatch.setattr(detector_cells, "stream", killed)
    with pytest.raises(KeyboardInterrupt):
        cell.score(data)
    assert cell.score(data)
    assert count == [16, 16, 4, 4]
    found, expected = (one.seed_scores(test.names).test_score for one in (cell, done))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_cell_tells_of_images_that_cannot_be_used(own_dataset: Path, tmp_path: Path) -> None:
    own = existing_data(own_dataset)
    for path in image_paths(own_dataset, own.read(own.subsets[0], "train").names)[-5:]:
        path.unlink()
    with pytest.raises(GbadError, match="of 72 images cannot be used"):
        make(tmp_path, own).train(own)


def test_methods_without_classes_stay_out_of_the_other_tables(data: BenchmarkData, tmp_path: Path) -> None:
    summary = run.run_benchmark(
        tmp_path, replace(SCALE, image_detectors={name: TINY[name] for name in TINY if name != "latent_size"}),
        data=data.folder, methods=("cnn", "ganomaly", "skip_ganomaly"), seeds=(1,), overrides=QUICK,
    )  # fmt: skip
    results = tmp_path / "results"
    assert set(pd.read_csv(results / "results.csv")["method"]) == {"cnn"}
    table = pd.read_csv(results / "table4.csv", keep_default_na=False)
    assert table["method"].tolist() == ["GANomaly", "Skip-GANomaly", "cnn"]
    assert table["backbone"].tolist() == ["", "", "resnet18"]
    assert table[["precision", "recall", "f1", "roc_auc", "pr_auc"]].notna().all().all()
    costs = pd.read_csv(results / "cells.csv")
    assert costs["network"].tolist() == ["cnn", "ganomaly", "skip_ganomaly"]
    assert costs["images_seen"].tolist()[1:] == [30, 30]
    text = (results / "tables.md").read_text()
    assert "| Skip-GANomaly | " in text
    assert ": ganomaly" not in text
    assert any("shown the same number of images" in note for note in summary["notes"])
    assert "Skip-GANomaly, AUC" in (results / "plots" / "roc-resnet18.svg").read_text()
    assert "GANomaly, AP" in (results / "plots" / "precision-recall-resnet18.svg").read_text()
    assert "GANomaly" not in (results / "plots" / "map-resnet18.svg").read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/**/*")}
    shutil.rmtree(results)
    run.run_benchmark(
        tmp_path, replace(SCALE, image_detectors={name: TINY[name] for name in TINY if name != "latent_size"}),
        data=data.folder, methods=("cnn", "ganomaly", "skip_ganomaly"), seeds=(1,), overrides=QUICK,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/**/*")} == before


def test_a_table_needs_a_method_that_knows_classes() -> None:
    with pytest.raises(GbadError, match="ganomaly, skip_ganomaly: no average precision of a class. Name another"):
        chosen_methods(("skip_ganomaly", "ganomaly"))
    assert {"ganomaly", "skip_ganomaly"} <= set(chosen_methods(None))
    assert "ganomaly" not in needed_networks(METHODS)


def test_scores_that_are_not_finite_stop_the_benchmark(
    data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make(tmp_path, data)
    monkeypatch.setattr(GANomalyDetector, "anomaly_score", lambda self, images: np.full(len(images), np.nan))
    with pytest.raises(DivergedError, match="ganomaly.*are not finite"):
        cell.train(data)
    assert not cell.entry.is_done
