"""Any detector in the BiGAN's place, and an image-level one beside it, through the whole pipeline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import gbad
from gbad.data.bad_images import BadImages
from gbad.data.images import read_image
from gbad.data.source import source_from_array, source_from_paths
from gbad.errors import RunError
from gbad.explanation import PAPER_LOSSES
from gbad.phase1_classifier import Classifier
from gbad.phase2_anomaly import (
    FEATURE_DETECTORS,
    BiGANDetector,
    GANomalyDetector,
    GaussianDetector,
    ImageAnomalyDetector,
    IsolationForestDetector,
    NearestNeighboursDetector,
    OneClassSVMDetector,
)
from gbad.phase3_gate import ThreatGate
from gbad.pipeline import GBADPipeline
from gbad.training import phase2 as detector_phase
from gbad.training.fitted import FittedGBAD
from gbad.training.phase2 import fit_phase2, make_detector, make_image_detector, read_losses
from gbad.training.phase3 import fit_phase3
from gbad.training.phases import fit_phases
from gbad.training.plain_settings import from_plain, to_plain
from gbad.training.run_folder import Run, start_run
from gbad.training.settings import Settings
from gbad.training.settings import options as options_of_settings
from gbad.workflows.evaluate import evaluate
from gbad.workflows.train import train

Make = Callable[..., GBADPipeline]

OTHERS: dict[str, Any] = {
    "gaussian": GaussianDetector(),
    "neighbours": NearestNeighboursDetector(n_neighbors=3, max_rows=20),
    "isolation_forest": IsolationForestDetector(n_trees=10),
    "one_class_svm": OneClassSVMDetector(),
}
IMAGES = GANomalyDetector(features=4, latent_size=4, epochs=2, batch_size=8)


def with_detectors(trained: Run, folder: Path, make_pipeline: Make, **options: Any) -> GBADPipeline:
    """A pipeline with the classifier of a finished run, but detectors of its own."""
    shutil.copytree(trained.folder / "phase1", folder / "phase1")
    return fit_in(folder, trained, make_pipeline, **options)


def fit_in(folder: Path, trained: Run, make_pipeline: Make, **options: Any) -> GBADPipeline:
    settings = make_pipeline(**options).settings
    fit_phases(trained.data, settings, folder, BadImages(72))
    return GBADPipeline.from_fitted(settings, FittedGBAD.from_run(folder, trained.data, settings))


@pytest.fixture(scope="module")
def both(trained: Run, make_pipeline: Make, tmp_path_factory: pytest.TempPathFactory) -> tuple[GBADPipeline, Path]:
    """BiGAN and GANomaly together, and the run folder. Not to be changed."""
    folder = tmp_path_factory.mktemp("both") / "run"
    return with_detectors(trained, folder, make_pipeline, image_detector=IMAGES), folder


@pytest.mark.parametrize("name", OTHERS)
def test_any_detector_stands_in_the_bigans_place(
    name: str, trained: Run, make_pipeline: Make, train_paths: list[Path], tmp_path: Path
) -> None:
    pipeline = with_detectors(trained, tmp_path / "run", make_pipeline, detector=OTHERS[name])
    explained = pipeline.explain(train_paths)
    assert explained.losses.shape == (72, 1)
    assert explained.loss_names == FEATURE_DETECTORS[name].loss_names == pipeline.fitted_.detectors.loss_names
    assert (explained.losses >= 0).all()
    assert np.ptp(explained.losses) > 0
    pipeline.save(tmp_path / "pipeline.joblib")
    for loaded in (gbad.load(tmp_path / "pipeline.joblib"), joblib.load(tmp_path / "pipeline.joblib")):
        assert type(loaded.fitted_.detectors.of_features) is FEATURE_DETECTORS[name]
        np.testing.assert_array_equal(loaded.explain(train_paths).losses, explained.losses)
        np.testing.assert_array_equal(loaded.explain(train_paths).log_gated, explained.log_gated)
    order = np.random.default_rng(0).permutation(72)
    shuffled = pipeline.explain([train_paths[row] for row in order])
    np.testing.assert_allclose(shuffled.losses, explained.losses[order], rtol=1e-4)
    np.testing.assert_allclose(pipeline.explain(train_paths[:1]).losses, explained.losses[:1], rtol=1e-4)
    left = read_losses(tmp_path / "run", pipeline.classes_)
    np.testing.assert_allclose(left.losses, explained.losses[left.rows], rtol=1e-4)


def test_a_name_is_a_detector_with_the_pipelines_seed(make_pipeline: Make) -> None:
    def made(**options: Any) -> Any:
        return make_detector(make_pipeline(**options).settings)

    assert type(made(detector="bigan")) is BiGANDetector
    assert Settings().detector == "bigan"
    assert type(made(detector="gaussian")) is GaussianDetector
    one, other = made(detector="neighbours"), made(detector="neighbours", random_state=2)
    assert one.random_state != other.random_state
    detector = make_image_detector(make_pipeline(image_detector="vae").settings)
    assert detector is not None
    assert (type(detector).__name__, detector.device) == ("VAEDetector", "cpu")
    assert make_image_detector(make_pipeline().settings) is None


def test_an_image_level_detector_adds_a_column(
    both: tuple[GBADPipeline, Path], trained: Run, train_paths: list[Path]
) -> None:
    pipeline, folder = both
    names = (*PAPER_LOSSES, "image_anomaly")
    without = gbad.load(trained.folder / "pipeline.joblib").explain(train_paths)
    explained = pipeline.explain(train_paths)
    assert explained.loss_names == names
    np.testing.assert_allclose(explained.losses[:, :2], without.losses, rtol=1e-6)
    images = np.stack([read_image(path, 64) for path in train_paths])
    of_images = pipeline.fitted_.detectors.of_images
    assert of_images is not None
    expected = np.maximum(of_images.anomaly_score(images), 0)
    np.testing.assert_allclose(explained.losses[:, 2], expected, atol=1e-5)
    assert (explained.losses[:, 2] >= 0).all()
    assert pipeline.fitted_.decision.gate.n_features_in_ == 3
    assert pipeline.fitted_.decision.gate.grid_ is not None
    table = pd.read_csv(folder / "phase2" / "losses.csv")
    assert tuple(table.columns[3:6]) == names
    np.testing.assert_allclose(table["image_anomaly"], explained.losses[table["row"], 2], atol=1e-5)
    assert not [path for path in (folder / "phase2").iterdir() if path.suffix == ".pt" or path.name == "images"]


def test_scores_with_images_depend_on_nothing_but_the_image(
    both: tuple[GBADPipeline, Path], train_paths: list[Path]
) -> None:
    pipeline, _ = both
    together = pipeline.explain(train_paths)
    order = np.random.default_rng(0).permutation(72)
    shuffled = pipeline.explain([train_paths[row] for row in order])
    for name in ("losses", "gate_score", "log_gated"):
        np.testing.assert_allclose(getattr(shuffled, name), getattr(together, name)[order], rtol=1e-4, atol=1e-4)
        alone = getattr(pipeline.explain(train_paths[5:6]), name)
        np.testing.assert_allclose(alone, getattr(together, name)[5:6], rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_scores_are_equal(both: tuple[GBADPipeline, Path], pixels: np.ndarray, tmp_path: Path) -> None:
    pipeline, _ = both
    pipeline.save(tmp_path / "pipeline.joblib")
    loaded = gbad.load(tmp_path / "pipeline.joblib")
    assert loaded.settings.image_detector.get_params() == IMAGES.get_params()
    for name in ("losses", "gate_score", "log_gated"):
        np.testing.assert_array_equal(getattr(loaded.explain(pixels), name), getattr(pipeline.explain(pixels), name))
    loaded.save(tmp_path / "again.joblib")
    assert gbad.load(tmp_path / "again.joblib").__getstate__() == loaded.__getstate__()


def test_settings_survive_as_plain_data(make_pipeline: Make) -> None:
    for options in (
        {"detector": "bigan"}, {"detector": "neighbours"}, {"detector": GaussianDetector(contamination=0.2)},
        {"detector": BiGANDetector(latent_size=3)}, {"image_detector": IMAGES}, {"image_detector": "sagan"},
    ):  # fmt: skip
        settings = make_pipeline(**options).settings
        back = from_plain(to_plain(settings))
        assert to_plain(back) == to_plain(settings)
        for name, value in options.items():
            assert type(getattr(back, name)) is type(value)
    assert to_plain(Settings()).keys() == options_of_settings().keys()


def test_image_detector_learns_from_threat_free_training_images_only(
    trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    fit = ImageAnomalyDetector.fit

    def spy(self: Any, X: np.ndarray, *args: Any, **options: Any) -> Any:
        seen.append(np.array(X))
        return fit(self, X, *args, **options)

    monkeypatch.setattr(ImageAnomalyDetector, "fit", spy)
    with_detectors(trained, tmp_path / "run", make_pipeline, detector="gaussian", image_detector=IMAGES)
    wanted = np.flatnonzero(~trained.data.validation & ~trained.data.positive)
    small = source_from_paths([Path(trained.data.source.names[row]) for row in wanted.tolist()], 64)
    images = source_from_array(np.stack([small.load(row) for row in range(len(wanted))]), 32)
    np.testing.assert_array_equal(seen[0], np.stack([images.load(row) for row in range(len(wanted))]))


def test_paths_need_not_be_utf_8(trained: Run, make_pipeline: Make, tmp_path: Path) -> None:
    source = trained.data.source
    names = [f"donn\udce9es/{Path(name).name}" for name in source.names]  # the byte E9, as Python reads it
    data = replace(trained.data, source=replace(source, names=names))
    shutil.copytree(trained.folder / "phase1", tmp_path / "phase1")
    fit_phase2(data, make_pipeline(detector="gaussian").settings, tmp_path, BadImages(72))
    assert b"donn\xe9es/" in (tmp_path / "phase2" / "losses.csv").read_bytes()
    left = read_losses(tmp_path, data.classes)
    assert (len(left.rows), left.losses.shape) == (72, (72, 1))
    fit_phase3(data, make_pipeline().settings, tmp_path)
    whole = (tmp_path / "phase2" / "losses.csv").read_text(errors="surrogateescape")
    first = whole.splitlines()[0]
    cells = "0,a,training" + ",{}" * (first.count(",") - 2)
    (tmp_path / "phase2" / "losses.csv").write_text(whole.replace("0", "1", 1), errors="surrogateescape")
    with pytest.raises(RunError, match=r"losses\.csv: damaged, it is not what was written"):
        read_losses(tmp_path, data.classes)
    done = json.loads((tmp_path / "phase2" / "done.json").read_text())
    del done["losses"], done["digest"]  # as runs of before
    (tmp_path / "phase2" / "done.json").write_text(json.dumps(done))
    for content in (
        "",
        "row,part\n",
        f"{first}\n{cells.format(*['x'] * 9)}\n",
        f"{first}\n{cells.format(*['nan'] * 9)}\n",
    ):
        (tmp_path / "phase2" / "losses.csv").write_text(content)
        with pytest.raises(RunError, match=r"losses\.csv: damaged.*Delete it and .*done\.json, then run phase 2 again"):
            read_losses(tmp_path, data.classes)


@pytest.mark.parametrize(("device", "where"), [("auto", "meta"), ("cpu", "cpu")])
def test_features_are_made_where_phase_1_trained(
    device: str, where: str, trained: Run, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(model: Classifier, *args: Any, **options: Any) -> None:
        assert {parameter.device.type for parameter in model.parameters()} == {where}
        raise KeyboardInterrupt

    monkeypatch.setattr(
        detector_phase, "chosen_device", lambda choice: "meta" if choice == "auto" else "cpu"
    )  # stands for a GPU
    monkeypatch.setattr(detector_phase, "extract_features", stop)
    shutil.copytree(trained.folder / "phase1", tmp_path / "phase1")
    with pytest.raises(KeyboardInterrupt):
        fit_phase2(trained.data, make_pipeline(device=device).settings, tmp_path, BadImages(72))


@pytest.mark.parametrize("where", ["decoding", "training", "scoring"])
def test_phase_2_goes_on_where_it_was_killed(
    where: str, both: tuple[GBADPipeline, Path], trained: Run, make_pipeline: Make, train_paths: list[Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    expected = both[0].explain(train_paths).losses
    calls: list[str] = []

    def killed(*args: Any, **options: Any) -> Any:
        calls.append(where)
        raise KeyboardInterrupt

    name, target = {
        "decoding": ("decode_images", detector_phase), "training": ("fit", GANomalyDetector),
        "scoring": ("image_loss", detector_phase),
    }[where]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(target, name, killed)
        with pytest.raises(KeyboardInterrupt):
            with_detectors(trained, tmp_path / "run", make_pipeline, image_detector=IMAGES)
    assert calls == [where]
    if where != "decoding":
        monkeypatch.setattr("gbad.data.cache.stream", lambda *_: pytest.fail("decoded again"))
    if where == "scoring":
        monkeypatch.setattr(GANomalyDetector, "fit", lambda *args, **options: pytest.fail("trained again"))
    pipeline = fit_in(tmp_path / "run", trained, make_pipeline, image_detector=IMAGES)
    np.testing.assert_allclose(pipeline.explain(train_paths).losses, expected, rtol=1e-6)


def test_run_folders_report_and_scores_follow(dataset: Path, trained: Run, make_pipeline: Make, tmp_path: Path) -> None:
    options = {"detector": "gaussian", "image_detector": IMAGES}
    run = start_run(tmp_path / "run", dataset, 10, make_pipeline(**options).settings)
    shutil.copytree(trained.folder / "phase1", tmp_path / "run" / "phase1")
    train(start_run(tmp_path / "run", dataset, 10, make_pipeline(**options).settings))
    assert run.settings.detector == "gaussian"
    evaluate(gbad.load(tmp_path / "run" / "pipeline.joblib"), dataset, 10, tmp_path / "out")
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    of_image = ["gate_score", "anomalous", "any_threat", "looked_twice", "unfamiliarity"]
    assert list(scores.columns[-7:]) == ["mahalanobis_distance", "image_anomaly", *of_image]
    assert scores.drop(columns="reason").notna().all().all()
    assert (tmp_path / "out" / "plots" / "losses.png").stat().st_size > 1000
    with pytest.raises(gbad.RunError, match="another detector"):
        start_run(tmp_path / "run", dataset, 10, make_pipeline(**options | {"detector": "neighbours"}).settings)
    with pytest.raises(gbad.RunError, match="another image_detector"):
        start_run(tmp_path / "run", dataset, 10, make_pipeline(**options | {"image_detector": "vae"}).settings)


def test_gate_with_more_than_three_inputs_clips() -> None:
    random = np.random.default_rng(0)
    X, y = random.lognormal(size=(300, 5)), np.arange(300) % 3 == 0
    X[y] *= 2
    gate = ThreatGate().fit(X, y.astype(int))
    clipped = ThreatGate(monotone=False).fit(X, y.astype(int))
    assert gate.grid_ is None
    np.testing.assert_array_equal(gate.decision_function(X * 1.5), clipped.decision_function(X * 1.5))
    np.testing.assert_array_equal(
        gate.decision_function(X.max(axis=0, keepdims=True) * 9), gate.decision_function(X.max(axis=0, keepdims=True))
    )
    assert roc_auc_score(y, gate.decision_function(X)) > 0.8
