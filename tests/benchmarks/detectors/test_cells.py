from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from gbad.benchmarks.detectors.cell import load_task, run_cell
from gbad.benchmarks.detectors.cost import inference_parameters, milliseconds_per_image
from gbad.benchmarks.detectors.detectors import make_detector, read_parameters
from gbad.benchmarks.detectors.paper_mode import PaperMode
from gbad.benchmarks.detectors.runner import BenchmarkSettings, long_table, run_benchmark
from gbad.benchmarks.detectors.tables import markdown
from gbad.benchmarks.detectors.tasks import make_tasks
from gbad.data.one_class import read_classes
from gbad.errors import DivergedError, GbadError, RunError
from gbad.evaluation.measures import resampled_roc_auc
from gbad.phase2_anomaly import IMAGE_DETECTORS
from gbad.phase2_anomaly.images import ganomaly
from gbad.phase2_anomaly.images.ganomaly import GANomalyDetector

TINY = ("features=4", "latent_size=4", "batch_size=16")


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


def settings(idx: Path, **options: Any) -> BenchmarkSettings:
    return BenchmarkSettings(**{"data": str(idx), "protocol": "one-vs-rest", "epochs": 2, "parameters": TINY} | options)


def test_memory_does_not_grow_with_images_that_lie_in_a_file(idx: Path, tmp_path: Path) -> None:
    task = load_task(make_tasks(read_classes(idx, 32), "one-vs-rest", classes=["0"])[0], in_memory=1)
    assert task.test.shape == (30, 32, 32, 1)
    assert isinstance(task.test, np.memmap)
    assert not task.test.flags.owndata
    order = np.random.default_rng(0).permutation(30)
    detector = make_detector("ganomaly", read_parameters(TINY, ["ganomaly"]), image_size=32, epochs=1).fit(task.train)
    shuffled = detector.paper_scores(task.test, order=order)
    assert np.allclose(shuffled[order], detector.paper_scores(task.test[order]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(shuffled, detector.paper_scores(task.test))


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
    with pytest.raises(GbadError, match="plots would count as such"):
        run_benchmark(moved / "results", settings(moved, **common), **options)
    mask = moved / "disc" / "ground_truth" / "spot" / "0_mask.png"
    for path in (moved / "disc" / "train" / "good" / "0.png", mask):
        before = path.read_bytes()
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        with pytest.raises(RunError, match="another images"):
            run_benchmark(tmp_path / "out", settings(moved, **common), **options)
        path.write_bytes(before)


def test_paper_mode_goes_on_with_what_it_has_found(tmp_path: Path) -> None:
    rows = np.zeros((4, 32, 32, 1), np.uint8), np.arange(4), np.array([False, False, True, True])
    first = PaperMode(tmp_path / "paper.json", *rows, (1, 2))
    first.test(1, lambda X, order=None: np.array([0.1, 0.2, 1 / 3, np.pi]))
    again = PaperMode(tmp_path / "paper.json", *rows, (1, 2))
    assert (again.history, again.best_epoch, again.shuffled) == ({1: 1.0}, 1, None)
    np.testing.assert_array_equal(again.best_scores, first.best_scores)  # type: ignore[arg-type]
    again.test(1, lambda *args, **options: pytest.fail("tested again"))


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

    monkeypatch.setattr("gbad.benchmarks.detectors.cell.resampled_roc_auc", resampled)
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
    honest = getattr(IMAGE_DETECTORS["vae"], method)
    monkeypatch.setattr(IMAGE_DETECTORS["vae"], method, lambda self, X: honest(self, X) * np.inf)
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
    renew, clock, skipped = GANomalyDetector._renew_statistics, time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + skipped[0])

    def slowly(self: GANomalyDetector, *arguments: Any) -> None:  # after the last epoch, and in each paper test
        skipped[0] += 1000
        renew(self, *arguments)

    def build(self: GANomalyDetector) -> ganomaly.GANomaly:
        skipped[0] += 1000
        return ganomaly.GANomaly(1, 4, 32, 4)

    monkeypatch.setattr(GANomalyDetector, "_renew_statistics", slowly)
    monkeypatch.setattr(GANomalyDetector, "_networks", build)
    (result,) = run_benchmark(tmp_path, settings(idx), detectors=["ganomaly"], classes=["0"], seeds=[0])
    assert skipped[0] >= 3000
    assert 0 < result["cost"]["seconds_per_epoch"] < 1000
