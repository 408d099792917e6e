from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import gbad
from gbad import DataError, GbadError, ImageError, RunError
from gbad.data.labels import LabelList
from gbad.phase2_anomaly import BiGANDetector, GANomalyDetector, GaussianDetector, NearestNeighboursDetector
from gbad.phase3_gate import ThreatGate
from gbad.pipeline import Explanation, GBADPipeline
from gbad.training import phase1 as classifier_phase
from gbad.training.training_set import TrainingSet

FIELDS = ("logits", "ungated", "losses", "gate_score", "anomalous", "log_gated", "gated", "any_threat")
Make = Callable[..., GBADPipeline]


def labels_of(count: int = 40) -> np.ndarray:
    labels = np.zeros((count, 2), np.uint8)
    labels[count // 4 : count // 2, 0] = 1
    labels[3 * count // 8 : 5 * count // 8, 1] = 1
    return labels


def assert_equal_scores(one: Explanation, other: Explanation, tolerance: float = 1e-5) -> None:
    for name in FIELDS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)


def test_all_values_have_the_promised_shape_and_type(pipeline: GBADPipeline, pixels: np.ndarray) -> None:
    explained = pipeline.explain(pixels)
    expected = {
        "logits": (40, 5), "ungated": (40, 5), "losses": (40, 2), "gate_score": (40,), "anomalous": (40,),
        "log_gated": (40, 5), "gated": (40, 5), "any_threat": (40,),
    }  # fmt: skip
    for name, shape in expected.items():
        values = getattr(explained, name)
        assert values.shape == shape, name
        assert values.dtype == (bool if name == "anomalous" else np.float64), name
        assert np.isfinite(values).all(), name


def test_intermediate_values_belong_together(pipeline_file: Path, train_paths: list[Path]) -> None:
    pipeline = gbad.load(pipeline_file)
    losses = pipeline.explain(train_paths).losses
    # So little training may leave a gate that decides alike for all images; this one does not.
    gate = ThreatGate().fit(losses, (losses[:, 0] > np.median(losses[:, 0])).astype(int))
    pipeline.fitted_ = replace(pipeline.fitted_, decision=replace(pipeline.fitted_.decision, gate=gate))
    explained = pipeline.explain(train_paths)
    assert 0 < explained.anomalous.mean() < 1
    np.testing.assert_array_equal(explained.anomalous, explained.gate_score > 0)
    np.testing.assert_allclose(explained.ungated, 1 / (1 + np.exp(-explained.logits)), rtol=1e-12)
    np.testing.assert_array_equal(explained.gated, np.exp(explained.log_gated))
    factor = np.where(explained.anomalous, 1.0, 1e-3)
    np.testing.assert_allclose(explained.gated, explained.ungated * factor[:, None], rtol=1e-12)
    assert (explained.losses >= 0).all()
    np.testing.assert_array_equal(pipeline.predict_proba(train_paths), explained.gated)
    np.testing.assert_array_equal(pipeline.anomaly_score(train_paths), explained.gate_score)
    any_threat = pipeline.fitted_.decision.any_threat
    calibrated = any_threat.slope * np.log(explained.gated / (1 - explained.gated)) + any_threat.bias
    none = np.prod(1 / (1 + np.exp(calibrated)), axis=1)
    np.testing.assert_allclose(explained.any_threat, np.log((1 - none) / none), rtol=1e-9)
    np.testing.assert_array_equal(pipeline.any_threat_score(train_paths), explained.any_threat)
    predicted = pipeline.predict(train_paths)
    assert predicted.dtype == np.uint8
    np.testing.assert_array_equal(predicted, explained.gated >= pipeline.thresholds_)
    assert 0 < predicted.mean() < 1


def test_scores_depend_on_nothing_but_the_image(pipeline: GBADPipeline, train_paths: list[Path]) -> None:
    together = pipeline.explain(train_paths)
    order = np.random.default_rng(0).permutation(len(train_paths))
    shuffled = pipeline.explain([train_paths[row] for row in order])
    for row, image in enumerate(order[:8]):
        alone = pipeline.explain([train_paths[image]])
        for name in FIELDS:
            of_image = getattr(together, name)[image : image + 1]
            np.testing.assert_allclose(getattr(alone, name), of_image, rtol=1e-5, atol=1e-5, err_msg=name)
            in_order = getattr(shuffled, name)[row : row + 1]
            np.testing.assert_allclose(in_order, of_image, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("shape", "mode"), [((64, 64), "RGB"), ((90, 50), "RGB"), ((31, 47), "L")])
def test_files_and_arrays_give_the_same(
    shape: tuple[int, int], mode: str, pipeline: GBADPipeline, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    if mode == "L":
        noise[..., 1:] = noise[..., :1]
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for image, path in zip(noise, paths, strict=True):
        Image.fromarray(image).convert(mode).save(path)
    from_files = pipeline.explain(paths)
    for other in (noise, np.asfortranarray(noise), noise[:, ::-1][:, ::-1]):
        assert_equal_scores(pipeline.explain(other), from_files, 1e-12)
    assert_equal_scores(pipeline.explain(np.array([str(path) for path in paths])), from_files, 1e-12)
    assert_equal_scores(pipeline.explain([str(path) for path in paths]), from_files, 1e-12)


def test_what_is_no_image_is_refused(pipeline: GBADPipeline, pixels: np.ndarray, tmp_path: Path) -> None:
    for wrong, message in (
        (pixels.astype(np.float32) / 255, "uint8 array of shape"),
        (pixels[..., 0], "uint8 array of shape"),
        ([pixels[0], pixels[0] / 255], "image 1 must be a uint8 array of shape"),
        ([pixels[0], 3], "image 1 is a int. Give paths, PIL images, or uint8 arrays"),
        (Image.fromarray(pixels[0].astype(np.uint16)[..., 0]), "image 0: 16-bit grey: one energy"),
        (Image.new("CMYK", (8, 8)), "colour mode CMYK"),
        (None, "images is a NoneType. Give paths, PIL images, or uint8 arrays"),
        (np.array("a.png"), "images is a ndarray. Give paths"),
        ([], "no images"),
        (pixels[:0], "no images"),
        (pixels[0, :0], r"image 0 has no pixel: its shape is \(0, 64, 3\)"),
        (pixels[:2, :, :0], "the images have no pixel"),
        (Image.new("RGB", (0, 8)), "image 0: without any pixel"),
    ):
        with pytest.raises(DataError, match=message):
            pipeline.predict_proba(wrong)  # type: ignore[arg-type]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-900])
    with Image.open(tmp_path / "cut.jpg") as cut, pytest.raises(ImageError, match="image 0: truncated: the file ends"):
        pipeline.predict_proba(cut)
    for missing in ([tmp_path / "a.png"], tmp_path / "a.png", [pixels[0], str(tmp_path / "a.png")]):
        with pytest.raises(ImageError, match=r"a\.png: no such file"):
            pipeline.predict_proba(missing)


def test_one_image_or_many_of_every_kind(pipeline: GBADPipeline, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    images[2, ..., 1:] = images[2, ..., :1]  # grey
    path = tmp_path / "a.png"
    Image.fromarray(images[0]).save(path)
    expected = pipeline.explain(images)
    many = [path, Image.fromarray(images[1]), images[2, ..., 0]]
    assert_equal_scores(pipeline.explain(many), expected, 1e-12)
    for row, kinds in enumerate(
        (
            (path, str(path), images[0], Image.fromarray(images[0])),
            (images[1], Image.fromarray(images[1]).convert("RGBA")),
            (images[2], images[2, ..., 0], Image.fromarray(images[2, ..., 0])),
        )
    ):
        for one in kinds:
            np.testing.assert_allclose(pipeline.predict_proba(one), expected.gated[row : row + 1], rtol=1e-5, atol=1e-6)
            assert pipeline.predict(one).shape == (1, len(pipeline.classes_))
            assert pipeline.any_threat_score(one).shape == pipeline.anomaly_score(one).shape == (1,)


def test_learning_takes_lists_only(make_pipeline: Callable[..., GBADPipeline], pixels: np.ndarray) -> None:
    for wrong, message in ((pixels[0], "to learn from"), ([pixels[0]], "the list holds ndarray"), ("a", "one path")):
        with pytest.raises(DataError, match=message):
            make_pipeline().fit(wrong, np.ones((1, 1)))


def test_stream_goes_on_behind_bad_images(pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    paths = [*train_paths[:3], tmp_path / "empty.jpg", *train_paths[3:6], tmp_path / "missing.jpg"]
    expected = pipeline.explain(train_paths[:6])
    for batch_size in (1, 3, 100):
        rows, parts, errors = [], [], {}
        for done, part, bad in pipeline.stream(pipeline.image_source(paths), batch_size=batch_size):
            rows += done.tolist()
            parts.append(part.logits)
            errors |= {row: error.status for row, error in bad.items()}
        assert rows == [0, 1, 2, 4, 5, 6]
        assert errors == {3: "unreadable", 7: "missing"}
        np.testing.assert_allclose(np.concatenate(parts), expected.logits, rtol=1e-5, atol=1e-5)


def test_an_unfitted_pipeline_says_so(make_pipeline: Make, pixels: np.ndarray, tmp_path: Path) -> None:
    unfitted = make_pipeline()
    for call in (unfitted.predict_proba, unfitted.predict, unfitted.anomaly_score, unfitted.explain):
        with pytest.raises(NotFittedError, match=r"not fitted yet.*gbad\.load"):
            call(pixels)
    with pytest.raises(NotFittedError):
        unfitted.save(tmp_path / "pipeline.joblib")
    with pytest.raises(NotFittedError):
        check_is_fitted(unfitted)


def test_it_is_a_scikit_learn_estimator(pipeline: GBADPipeline) -> None:
    check_is_fitted(pipeline)
    cloned = clone(pipeline)
    assert not hasattr(cloned, "fitted_")
    own = {name: value for name, value in pipeline.get_params(deep=False).items() if name != "detector"}
    assert own == {name: value for name, value in cloned.get_params(deep=False).items() if name != "detector"}
    assert cloned.get_params()["detector__min_steps"] == 60
    assert cloned.set_params(epsilon=0.1, detector__min_steps=70).get_params()["detector__min_steps"] == 70
    assert pipeline.get_params()["detector__min_steps"] == 60


def test_fit_on_arrays(make_pipeline: Make, pixels: np.ndarray, tmp_path: Path) -> None:
    """Equal seeds give equal pipelines; a run folder continues for the same images, labels and settings only."""
    labels, folder = labels_of(), tmp_path / "run"
    first = make_pipeline().fit(pixels, labels, classes=["Square", "Stripe"], run=folder)
    assert first.classes_ == ("Square", "Stripe")
    assert first.thresholds_.shape == (2,)
    assert set(first.fitted_.training) == {"phase1", "phase2", "phase3"}
    second = make_pipeline().fit(pixels, labels)
    assert second.classes_ == ("class_0", "class_1")
    assert_equal_scores(second.explain(pixels), first.explain(pixels), 1e-12)
    other = make_pipeline(random_state=2).fit(pixels[:, :32, :32], labels)
    assert np.abs(other.explain(pixels).logits - first.explain(pixels).logits).max() > 1e-3

    for phase in ("phase2", "phase3"):
        shutil.rmtree(folder / phase)
    again = make_pipeline().fit(pixels, labels, classes=["Square", "Stripe"], run=folder)
    assert_equal_scores(again.explain(pixels), first.explain(pixels), 1e-12)
    before = sorted(folder.rglob("*"))
    for changes, different in (
        ({"pixels": pixels[::-1]}, "images"),
        ({"labels": labels[::-1]}, "labels"),
        ({"classes": ["Square", "Line"]}, "labels"),
        ({"groups": [None] * 39 + ["a"]}, "groups"),
        ({"options": {"epochs": 3, "epsilon": 0.5}}, "epochs, epsilon"),
        ({"options": {"detector": BiGANDetector()}}, "detector"),
        ({"options": {"gate": ThreatGate(C=2.0)}}, "gate"),
    ):
        given: dict[str, Any] = {"pixels": pixels, "labels": labels, "classes": ["Square", "Stripe"], "options": {}}
        given |= changes
        with pytest.raises(RunError, match=f"another {different}. Choose another run folder"):
            make_pipeline(**given["options"]).fit(
                given["pixels"], given["labels"], classes=given["classes"], groups=given.get("groups"), run=folder
            )
    assert sorted(folder.rglob("*")) == before


def test_fit_divides_no_group_and_continues_with_the_same_groups_only(
    make_pipeline: Make, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out: list[np.ndarray] = []

    def no_phases(data: TrainingSet, *args: Any, **options: Any) -> bool:
        held_out.append(data.validation)
        return False

    monkeypatch.setattr("gbad.pipeline.fit_phases", no_phases)
    groups = np.array([f"bag {row % 8}" for row in range(40)])
    for _ in range(2):
        make_pipeline().fit(pixels, labels_of(), groups=groups, run=tmp_path / "run")
    assert not set(groups[held_out[0]]) & set(groups[~held_out[0]])
    np.testing.assert_array_equal(*held_out)
    for other in (None, groups[::-1], [*groups[:-1], None]):
        with pytest.raises(RunError, match="another groups. Choose another run folder"):
            make_pipeline().fit(pixels, labels_of(), groups=other, run=tmp_path / "run")


def test_fit_refuses_what_does_not_fit_together(make_pipeline: Make, pixels: np.ndarray, tmp_path: Path) -> None:
    labels = labels_of()
    for arguments, options, message in (
        ((pixels, labels[:-1]), {}, "one row per image"),
        ((pixels, labels[:, 0]), {}, "one row per image"),
        ((pixels, labels.astype(int) * 2), {}, "0 or 1"),
        ((pixels, np.where(labels == 1, 1, -1)), {}, "0 or 1"),
        ((pixels, np.full(labels.shape, np.nan)), {}, "0 or 1"),
        ((pixels, labels), {"classes": ["Gun"]}, "1 class names for 2 columns"),
        ((pixels, labels), {"classes": ["Gun", "Gun"]}, "same name"),
        ((pixels, labels), {"classes": ["Gun", ""]}, "no class name"),
        ((pixels, labels), {"classes": ["Gun", "status"]}, r"'status': scores\.csv has a column of that name"),
        ((pixels, labels), {"classes": ["Gun", "ungated_Gun"]}, "'ungated_Gun'"),
        ((pixels, labels), {"names": ["a"]}, "1 name for 40 images"),
        ((pixels, labels), {"groups": ["a"]}, "1 group for 40 images"),
        ((pixels, labels), {"groups": ["a"] * 39 + [7]}, "that of image 39 is 7"),
        ((pixels, labels), {"groups": [""] + ["a"] * 39}, "that of image 0 is ''"),
        ((pixels, labels), {"groups": ["a"] * 40}, "40 images in 1 group.*divide the group"),
        ((pixels / 255, labels), {}, "uint8"),
        ((list(pixels), labels), {}, "the list holds ndarray"),
        ((pixels, np.zeros_like(labels)), {}, "threats?"),
        ((pixels, np.ones_like(labels)), {}, "threats?"),
    ):
        with pytest.raises(DataError, match=message):
            make_pipeline().fit(*arguments, run=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("pipeline*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet43"}, "unknown backbone 'resnet43'; choose one of resnet18"),
        ({"pooling": "mean"}, "unknown pooling"),
        ({"fusion": "sum"}, "unknown fusion"),
        ({"negatives": "some"}, "unknown negatives"),
        ({"augmentation": "some"}, "unknown augmentation 'some'; choose one of standard, strong"),
        ({"optimiser": "adam"}, "unknown optimiser"),
        ({"precision": "tf32"}, "unknown precision"),
        ({"precision": "fp16"}, "needs an accelerator"),
        ({"device": "gpu"}, "unknown device"),
        ({"gate_fit": "cross"}, "unknown gate_fit"),
        ({"suppression": "medium"}, "unknown suppression"),
        ({"suppression": None}, "unknown suppression"),
        ({"epsilon": 0.0}, "epsilon must be a number above 0 and at most 1, not 0.0"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": "small"}, "epsilon"),
        ({"alpha": -1.0}, "alpha must be a number from 0, not -1.0"),
        ({"alpha": float("inf")}, "alpha"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a number from 0 and below 1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"epochs": -1}, "epochs must be a whole number from 0, not -1"),
        ({"epochs": 1.5}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"max_negatives": 1}, "max_negatives"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": None}, "random_state"),
        ({"size": 16}, "size must be a whole number from 32, not 16"),
        ({"backbone": "inception_v3", "size": 74}, "at least 75 px for inception_v3"),
        ({"weights": "nothing.pth"}, "nothing.pth: no such file"),
        ({"detector": ThreatGate()}, "detector must be one of bigan, .*BiGANDetector, .*not ThreatGate"),
        ({"detector": "forest"}, "unknown detector 'forest'; choose one of bigan, gaussian, neighbours"),
        ({"detector": GANomalyDetector()}, "detector must be one of bigan, .*not GANomalyDetector"),
        ({"detector": NearestNeighboursDetector(random_state=np.random.RandomState(0))}, "cannot be saved"),
        ({"detector": GaussianDetector().fit(np.eye(3))}, "detector is fitted already"),
        ({"image_detector": GaussianDetector()}, "image_detector must be one of ganomaly, .*not GaussianDet"),
        ({"image_detector": "gan"}, "unknown image_detector 'gan'; choose one of ganomaly, skip_ganomaly"),
        ({"gate": "svm"}, "gate must be a ThreatGate"),
        ({"architecture": "vit"}, "unknown architecture 'vit'; choose one of fpn, plain, chr"),
        ({"architecture": "chr", "chr_mask": "some"}, "unknown chr_mask 'some'; choose one of none, released, hier"),
        ({"chr_threshold": float("nan")}, "chr_threshold must be a number"),
        ({"chr_prediction": "finest"}, "unknown chr_prediction"),
        ({"position_weight": -1.0}, "position_weight must be a number from 0, not -1.0"),
        ({"architecture": "chr", "position_weight": 1.0}, "position_weight 1.0 needs the architecture fpn.*not chr"),
        ({"negatives": "half"}, "unknown negatives 'half'; choose one of fixed, fresh, hard, natural, all"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_at_once(
    options: dict[str, Any], message: str, make_pipeline: Make, pixels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(GbadError, match=message):
        make_pipeline(**options).fit(pixels, labels_of(), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_training_images_are_skipped_counted_or_stop_the_fit(
    make_pipeline: Make, train_paths: list[Path], train_list: LabelList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [*train_paths[:-1], tmp_path / "missing.jpg"]
    with pytest.raises(GbadError, match=r"1 of 72 images cannot be used.*1\.0%"):
        make_pipeline(negatives="all", validation_fraction=0.3).fit(paths, train_list.labels)
    with pytest.raises(ImageError, match="missing"):
        make_pipeline(negatives="all").fit(paths, train_list.labels, strict=True)
    monkeypatch.setattr(classifier_phase, "train_classifier", lambda *args, **options: pytest.fail("trained"))
    with pytest.raises(pytest.fail.Exception):
        make_pipeline(negatives="all").fit(paths, train_list.labels, max_bad=0.02)


def test_only_the_device_changes_a_fitted_pipeline_at_once(pipeline_file: Path, pixels: np.ndarray) -> None:
    pipeline = gbad.load(pipeline_file)
    before = pipeline.explain(pixels[:4])
    pipeline.set_params(views=2, suppression="soft")
    assert_equal_scores(pipeline.explain(pixels[:4]), before, 1e-12)
    pipeline.set_params(device="auto")
    assert pipeline.fitted_.device == "auto"
