"""Training that starts from a pipeline, and pipelines in half precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gbad
from gbad import GbadError, GBADPipeline, PipelineFileError
from gbad.data.labels import LabelList, list_path, with_classes, write_list
from gbad.phase1_classifier import build_classifier
from gbad.training.checks import check_settings
from gbad.training.phase1 import architecture_options
from gbad.training.plain_settings import from_plain, to_plain
from gbad.training.run_folder import Run, open_run, start_run
from gbad.training.settings import Settings
from gbad.training.start import start_of, started_from

Make = Callable[..., GBADPipeline]
OPTIONS = {"architecture": "fpn", "pretrained": False, "weights": None, "frozen_stages": 0, "frozen_norm": False}
SPEC = {
    "fpn_width": 8, "head_width": 8, "pooling": "max", "fusion": "hidden", "position_weight": 0.0,
    "fpn_form": "full",
}  # fmt: skip


def test_weights_are_taken_over_and_layers_of_other_classes_start_anew(
    pipeline: GBADPipeline, pipeline_file: Path, make_pipeline: Make
) -> None:
    start = started_from(make_pipeline(start=str(pipeline_file)).settings)
    assert start is not None
    spec = {name: start["spec"][name] for name in SPEC}
    for classes, expected in ((5, 0), (2, 1)):
        model, origin = build_classifier("resnet18", classes, **OPTIONS, seed=0, start=start, **spec)
        differ = [
            name for name, value in model.state_dict().items()
            if not np.array_equal(value.numpy(), start["arrays"][name])
        ]  # fmt: skip
        assert origin == "pipeline pipeline.joblib"
        assert bool(differ) == bool(expected)
        assert all("backbone" not in name for name in differ)
        assert all(value.requires_grad for value in model.parameters())


def test_training_goes_on_from_a_pipeline(
    pipeline_file: Path, make_pipeline: Make, dataset: Path, train_paths: list[Path], train_list: object
) -> None:
    labels = train_list.labels  # type: ignore[attr-defined]
    options = {"epochs": 1, "learning_rate": 1e-9}
    on = make_pipeline(start=str(pipeline_file), **options).fit(train_paths, labels)
    assert on.fitted_.training["phase1"]["backbone_weights"] == "pipeline pipeline.joblib"
    anew = make_pipeline(**options).fit(train_paths, labels)
    before = gbad.load(pipeline_file).fitted_.classifier["arrays"]
    weights = [name for name in before if name.endswith("weight") and before[name].ndim == 4]
    for name in weights:
        np.testing.assert_allclose(on.fitted_.classifier["arrays"][name], before[name], atol=1e-5)
    assert not any(np.allclose(anew.fitted_.classifier["arrays"][name], before[name], atol=1e-3) for name in weights)


def test_the_second_look_starts_from_nothing_where_there_is_none(pipeline_file: Path, make_pipeline: Make) -> None:
    assert started_from(make_pipeline(start=str(pipeline_file)).settings, regions=True) is None
    assert started_from(make_pipeline().settings) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "nowhere.joblib"}, "nowhere.joblib: no such file.* or one of simulated-bags"),
        ({"start": "simulated-bags", "weights": __file__}, "start or weights, not both"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_trained(
    changes: dict[str, str], message: str, make_pipeline: Make
) -> None:
    with pytest.raises(GbadError, match=message):
        check_settings(make_pipeline(**changes).settings)


def test_another_backbone_is_refused_before_anything_is_written(
    pipeline_file: Path, make_pipeline: Make, dataset: Path, tmp_path: Path
) -> None:
    for changes, message in (({"backbone": "resnet34"}, "its backbone is resnet18, not resnet34"),
                             ({"architecture": "plain"}, "its architecture is fpn, not plain")):  # fmt: skip
        with pytest.raises(GbadError, match=message):
            start_run(tmp_path / "run", dataset, 10, make_pipeline(start=str(pipeline_file), **changes).settings)
    assert not (tmp_path / "run").exists()


def test_validation_images_that_the_start_has_learnt_from_are_told(
    trained: Run, make_pipeline: Make, dataset: Path, tmp_path: Path
) -> None:
    start, seed = str(trained.folder / "pipeline.joblib"), trained.settings.random_state
    start_run(tmp_path / "same", dataset, 10, make_pipeline(start=start, random_state=seed).settings)
    with pytest.warns(UserWarning, match=rf"has learnt from \d+ images? of the validation part: .* training, {seed}"):
        run = start_run(tmp_path / "other", dataset, 10, make_pipeline(start=start, random_state=seed + 1).settings)
    assert (run.data.validation & ~trained.data.validation).any()
    open_run(tmp_path / "other")  # a run that has a split is not warned of again
    copy = shutil.copytree(dataset, tmp_path / "other data")
    start_run(tmp_path / "new", copy, 10, make_pipeline(start=start, random_state=seed + 1).settings)


def test_layers_of_other_classes_start_anew_even_where_there_are_as_many(pipeline: GBADPipeline) -> None:
    start = {**pipeline.fitted_.classifier, "classes": pipeline.classes_, "name": "pipeline.joblib"}
    spec = {name: start["spec"][name] for name in SPEC}
    model, _ = build_classifier("resnet18", 5, **OPTIONS, seed=0, start=start, same_classes=False, **spec)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    same = {name: np.array_equal(value, start["arrays"][name]) for name, value in weights.items()}
    assert not same["classify.0.weight"]
    assert same["heads.0.weight"]
    assert all(is_same for name, is_same in same.items() if name.startswith(("backbone.", "fpn.")))


def test_another_architecture_or_backbone_is_refused(pipeline: GBADPipeline) -> None:
    with pytest.raises(GbadError, match="a classifier of fpn cannot go on as one of plain"):
        build_classifier(
            "resnet18", 5, **OPTIONS | {"architecture": "plain"}, seed=0, start=pipeline.fitted_.classifier
        )


def test_a_file_that_holds_no_fitted_pipeline_is_refused(make_pipeline: Make, tmp_path: Path) -> None:
    path = tmp_path / "classifier.joblib"
    gbad.storage.plain_data.save_plain({"a": 1}, path)
    with pytest.raises(PipelineFileError, match="holds no fitted pipeline"):
        started_from(make_pipeline(start=str(path)).settings)


def test_no_epochs_keep_both_classifiers_and_fit_the_rest(
    make_pipeline: Make, train_paths: list[Path], train_list: LabelList, tmp_path: Path
) -> None:
    two_looks = {"second_look": True, "class_heads": True, "suppression": "soft", "size": 32}
    classes = train_list.classes
    before = make_pipeline(**two_looks).fit(train_paths, train_list.labels, classes=classes)
    before.save(tmp_path / "first.joblib")
    kept = {"epochs": 0, "region_epochs": 0, "start": str(tmp_path / "first.joblib"), "fpn_width": None}
    after = make_pipeline(**two_looks | kept, random_state=7).fit(train_paths, train_list.labels, classes=classes)
    assert before.fitted_.second is not None
    assert after.fitted_.second is not None
    for one, two in (
        (before.fitted_.classifier, after.fitted_.classifier),
        (before.fitted_.second.model.classifier, after.fitted_.second.model.classifier),
    ):
        assert one["spec"] == two["spec"]
        assert all(np.array_equal(two["arrays"][name], values) for name, values in one["arrays"].items())
    found = before.explain(train_paths[:6]), after.explain(train_paths[:6])
    np.testing.assert_array_equal(found[0].logits, found[1].logits)
    assert not np.array_equal(found[0].losses, found[1].losses)  # another seed: another BiGAN
    assert after.fitted_.training["phase1"]["backbone_weights"] == "pipeline first.joblib"


def test_weights_in_half_precision_that_are_kept_are_not_rounded_again(
    pipeline: GBADPipeline, make_pipeline: Make, train_paths: list[Path], train_list: LabelList, tmp_path: Path
) -> None:
    pipeline.in_half_precision().save(tmp_path / "half.joblib")
    fitted = make_pipeline(start=str(tmp_path / "half.joblib"), epochs=0).fit(
        train_paths, train_list.labels, classes=pipeline.classes_
    )
    rounded = fitted.in_half_precision().explain(train_paths[:8])
    np.testing.assert_array_equal(rounded.log_gated, fitted.explain(train_paths[:8]).log_gated)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs 0 keeps the classifier of a pipeline, but there is none to start from"),
        ({"epochs": 0, "start": "imagenet"}, "epochs 0 keeps the classifier of a pipeline"),
        ({"region_epochs": 0, "second_look": True}, "region_epochs 0 keeps the classifier of a pipeline"),
    ],
)
def test_no_classifier_can_be_kept_where_there_is_none(
    changes: dict[str, object], message: str, make_pipeline: Make
) -> None:
    with pytest.raises(GbadError, match=message):
        check_settings(make_pipeline(**changes).settings)


@pytest.mark.parametrize(
    ("changes", "spec", "form"),
    [
        ({}, None, "full"),
        ({"fpn_form": "light"}, None, "light"),
        ({}, {}, "full"),  # a pipeline of before
        ({}, {"fpn_form": "light"}, "light"),
        ({"fpn_form": "light"}, {"fpn_form": "full"}, "light"),
    ],
)
def test_the_form_of_the_pyramid_is_that_of_the_start_unless_it_is_given(
    changes: dict[str, str], spec: dict[str, str] | None, form: str
) -> None:
    start = None if spec is None else {"spec": spec}
    assert architecture_options(Settings(**changes), start)["fpn_form"] == form


def test_no_second_classifier_can_be_kept_of_a_pipeline_with_one_look(pipeline_file: Path, make_pipeline: Make) -> None:
    settings = make_pipeline(start=str(pipeline_file), second_look=True, region_epochs=0).settings
    with pytest.raises(GbadError, match="has no second look whose classifier could be kept"):
        check_settings(settings)


def test_a_classifier_is_kept_for_its_own_classes_alone(
    pipeline_file: Path, make_pipeline: Make, own_dataset: Path, train_paths: list[Path], train_list: LabelList,
    tmp_path: Path,
) -> None:  # fmt: skip
    kept = make_pipeline(start=str(pipeline_file), epochs=0)
    with pytest.raises(GbadError, match="the training list has A, B"):
        kept.fit(train_paths, train_list.labels[:, :2].copy(), classes=("A", "B"))
    write_list(with_classes(train_list, train_list.classes[::-1]), list_path(own_dataset, 10, "train"))
    with pytest.raises(GbadError, match="in the same order"):
        start_run(tmp_path / "run", own_dataset, 10, kept.settings)
    assert not (tmp_path / "run").exists()


def test_a_classifier_that_is_kept_is_not_given_another_shape(pipeline_file: Path, make_pipeline: Make) -> None:
    for name, value in (("fpn_width", 16), ("pooling", "average")):
        settings = make_pipeline(start=str(pipeline_file), epochs=0, **{name: value}).settings
        with pytest.raises(GbadError, match=f"{name} is .*, not {value}"):
            check_settings(settings)


def test_half_precision_halves_the_classifier_and_hardly_changes_scores(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    halved = pipeline.in_half_precision()
    for saved, name in ((pipeline, "full"), (halved, "half")):
        saved.save(tmp_path / name)
    of_weights = sum(value.nbytes for value in pipeline.fitted_.classifier["arrays"].values() if value.dtype == "f4")
    saving = (tmp_path / "full").stat().st_size - (tmp_path / "half").stat().st_size
    assert abs(saving - of_weights / 2) < 2000
    loaded = gbad.load(tmp_path / "half")
    assert np.array_equal(loaded.explain(train_paths[:8]).log_gated, halved.explain(train_paths[:8]).log_gated)
    full = pipeline.explain(train_paths[:8]).logits
    assert 0 < np.abs(loaded.explain(train_paths[:8]).logits - full).max() < 0.05


def test_values_beyond_half_precision_stay_as_they_are() -> None:
    state = {
        "spec": {},
        "arrays": {"large": np.array([1e6], np.float32), "whole": np.array([3]), "small": np.ones(2, "f4")},
    }
    rounded = gbad.phase1_classifier.in_half_precision(state)["arrays"]
    assert [rounded[name].dtype for name in ("large", "whole", "small")] == [np.float32, np.int64, np.float16]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backbone": "efficientnet_lite0"}, "simulated-bags"),
        ({"backbone": "efficientnet_lite0", "fpn_width": 256}, "simulated-bags"),
        ({"backbone": "efficientnet_lite0", "start": "imagenet"}, None),
        ({"backbone": "efficientnet_lite0", "start": "other.joblib"}, "other.joblib"),
        ({"backbone": "efficientnet_lite0", "architecture": "plain"}, None),
        ({"backbone": "efficientnet_lite0", "weights": "weights.pt"}, None),
        ({"backbone": "efficientnet_lite0", "pretrained": False}, None),
        ({"backbone": "efficientnet_lite1"}, None),
        ({}, None),
    ],
)
def test_the_model_that_comes_with_gbad_is_the_start_where_it_fits(
    changes: dict[str, Any], expected: str | None
) -> None:
    assert start_of(Settings(**changes)) == expected


def test_the_default_widths_take_all_weights_of_the_model_that_comes_with_gbad() -> None:
    settings = Settings(backbone="efficientnet_lite0", position_weight=1.0)
    start = started_from(settings)
    assert start is not None
    options = OPTIONS | architecture_options(settings, start)
    model, origin = build_classifier("efficientnet_lite0", 5, **options, seed=0, start=start)
    assert origin == "pipeline simulated-bags"
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), start["arrays"][name], err_msg=name)


def test_runs_and_files_of_before_started_from_imagenet() -> None:
    plain = to_plain(Settings())
    assert from_plain(plain).start is None
    del plain["start"]
    assert from_plain(plain).start == "imagenet"
