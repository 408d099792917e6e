"""What all kinds of classifiers promise alike."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.source import source_from_array
from gbad.errors import GbadError, PipelineFileError
from gbad.phase1_classifier import (
    ARCHITECTURES,
    Classifier,
    build_classifier,
    class_heatmap,
    classifier_from_state,
    classifier_state,
    extract_features,
    predict_batch,
    train_classifier,
)

SMALL = {"fpn": {"fpn_width": 8, "head_width": 6}, "plain": {}, "chr": {"mask": "released", "prediction": "average"}}
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
LABELS = np.zeros((8, 2), np.uint8)
LABELS[:3, 0] = LABELS[2:4, 1] = 1


def small(architecture: str, **more: float) -> Classifier:
    options = SMALL[architecture] | more
    return build_classifier("resnet18", 2, architecture=architecture, pretrained=False, **options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_state_round_trip_is_exact(architecture: str) -> None:
    model = small(architecture).to(memory_format=torch.channels_last).eval()
    state = classifier_state(model)
    assert state["spec"]["architecture"] == architecture
    assert not [key for key in state["arrays"] if "mean" in key.split(".") or "std" in key.split(".")]
    copy = classifier_from_state(state)
    assert type(copy) is ARCHITECTURES[architecture]
    assert copy.spec == model.spec
    for one, other in zip(predict_batch(model, PIXELS), predict_batch(copy, PIXELS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_of_before_there_were_others_is_a_pyramid() -> None:
    state = classifier_state(small("fpn"))
    del state["spec"]["architecture"]
    assert classifier_from_state(state).spec == small("fpn").spec


def test_another_normalisation_is_refused() -> None:
    """Images would be given to the network otherwise than in its training, and nothing else would tell."""
    inception = {"architecture": "plain", "backbone_name": "inception_v3", "n_classes": 2}
    state = classifier_state(small("plain"))
    for wrong in ({"spec": inception, "arrays": {}}, state | {"normalisation": [0.5] * 6}):
        with pytest.raises(PipelineFileError, match=r"another normalisation.*train again"):
            classifier_from_state(wrong)
    before = {name: value for name, value in state.items() if name != "normalisation"}
    classifier_from_state(before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_do_not_depend_on_the_batch_and_features_have_their_width(architecture: str, tmp_path: Path) -> None:
    model = small(architecture).eval()
    logits, features = predict_batch(model, PIXELS)
    alone = [predict_batch(model, PIXELS[row : row + 1])[0] for row in range(8)]
    np.testing.assert_allclose(np.concatenate(alone), logits, atol=1e-5)
    source = source_from_array(PIXELS, 32)
    file = extract_features(model, source, np.arange(8), tmp_path / "features", BadImages(8))
    np.testing.assert_allclose(file.features, features, atol=1e-5)
    np.testing.assert_allclose(file.logits, logits, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_normalisation_keeps_its_statistics(architecture: str) -> None:
    model = small(architecture)
    model.backbone.requires_grad_(False)
    before = model.backbone.state_dict()["bn1.running_mean"].clone()
    model.train().loss(torch.rand(4, 3, 32, 32), torch.zeros(4, 2))
    assert torch.equal(model.backbone.state_dict()["bn1.running_mean"], before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_is_trained(architecture: str) -> None:
    model = small(architecture).train()
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    model.loss(images, torch.from_numpy(LABELS).float()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heatmaps_are_maps_in_0_to_1_at_the_finest_resolution(architecture: str) -> None:
    model = small(architecture).eval()
    heatmap = class_heatmap(model, PIXELS[0], 1)
    assert heatmap.shape == tuple(model.levels(torch.zeros(1, 3, 32, 32))[0].shape[2:])
    assert 0 <= heatmap.min() <= heatmap.max() <= 1


@pytest.mark.parametrize("architecture", ["plain", "chr", "fpn"])  # the last with boxes; without: test_training.py
def test_a_continued_training_ends_like_an_unbroken_one(architecture: str, tmp_path: Path) -> None:
    boxes = {0: np.array([[0, 0.1, 0.1, 0.5, 0.5]], np.float32)} if architecture == "fpn" else None
    options = {"position_weight": 1.0} if boxes else {}

    def train(name: str, epochs: int) -> tuple[np.ndarray, pd.DataFrame]:
        with closing(DecodedCache(source_from_array(PIXELS, 32), tmp_path / "cache", BadImages(8))) as cache:
            model, history = train_classifier(
                small(architecture, **options), cache, LABELS, np.arange(8), np.arange(8), ("Gun", "Knife"),
                tmp_path / name, boxes=boxes, epochs=epochs, batch_size=4, learning_rate=1e-3, negatives="natural",
                device="cpu", precision="no",
            )  # fmt: skip
        return predict_batch(model, PIXELS)[0], history

    def stop_after(epoch: int) -> None:
        # A run of one epoch has another schedule: cut the whole one short instead.
        import gbad.phase1_classifier.training as module

        original = module.save_checkpoint

        def checkpoint(*args: Any) -> None:
            original(*args)
            if len(args[-1]) == epoch:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "save_checkpoint", checkpoint)
            with pytest.raises(KeyboardInterrupt):
                train("broken", 2)

    unbroken, expected = train("unbroken", 2)
    stop_after(1)
    continued, history = train("broken", 2)
    np.testing.assert_allclose(continued, unbroken, atol=1e-5)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), expected.drop(columns="seconds"), rtol=1e-5)


def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(GbadError, match="'vit'.*fpn, plain, chr"):
        build_classifier("resnet18", 2, architecture="vit")


def test_views_are_averaged() -> None:
    model = small("plain").eval()
    flips = [PIXELS, PIXELS[:, :, ::-1], PIXELS[:, ::-1], PIXELS[:, ::-1, ::-1]]
    alone = [predict_batch(model, np.ascontiguousarray(pixels)) for pixels in flips]
    for views in (1, 2, 4):
        for k, values in enumerate(predict_batch(model, PIXELS, views)):
            np.testing.assert_allclose(values, np.mean([one[k] for one in alone[:views]], axis=0), atol=1e-5)
