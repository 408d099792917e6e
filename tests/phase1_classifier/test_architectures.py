"""What all classifiers promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gbad.data.bad_images import BadImages
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
    scoring_network,
    see,
)

pytestmark = pytest.mark.usefixtures("real_resnet18")

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
LABELS = np.zeros((8, 2), np.uint8)
LABELS[:3, 0] = LABELS[2:4, 1] = 1


Build = Callable[..., Classifier]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_state_round_trip_is_exact(build: Build, architecture: str) -> None:
    model = build(architecture).to(memory_format=torch.channels_last).eval()
    state = classifier_state(model)
    assert state["spec"]["architecture"] == architecture
    assert not [key for key in state["arrays"] if "mean" in key.split(".") or "std" in key.split(".")]
    copy = classifier_from_state(state)
    assert type(copy) is ARCHITECTURES[architecture]
    assert copy.spec == model.spec
    for one, other in zip(predict_batch(model, PIXELS), predict_batch(copy, PIXELS), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "tiny"])
def test_the_network_that_scores_computes_the_same(build: Build, architecture: str, backbone: str) -> None:
    model = build(architecture, backbone).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    state = classifier_state(model)
    network = scoring_network(state, "cpu")
    for one, other in zip(predict_batch(network, PIXELS), predict_batch(model, PIXELS), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(see(network, PIXELS).levels, see(model, PIXELS).levels, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    folded = scoring_network(classifier_state(network), "cpu")  # a network whose norms are folded already
    for one, other in zip(predict_batch(folded, PIXELS), predict_batch(network, PIXELS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_normalisation_is_refused(build: Build) -> None:
    """The network would see other images than in its training, and nobody would notice."""
    state = classifier_state(build("plain"))
    with pytest.raises(PipelineFileError, match=r"another normalisation.*train again"):
        classifier_from_state(state | {"normalisation": [0.5] * 6})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_do_not_depend_on_the_batch_and_features_have_their_width(
    build: Build, architecture: str, tmp_path: Path
) -> None:
    model = build(architecture).eval()
    logits, features = predict_batch(model, PIXELS)
    alone = [predict_batch(model, PIXELS[row : row + 1])[0] for row in range(8)]
    np.testing.assert_allclose(np.concatenate(alone), logits, atol=1e-5)
    source = source_from_array(PIXELS, 32)
    file = extract_features(model, source, np.arange(8), tmp_path / "features", BadImages(8))
    np.testing.assert_allclose(file.features, features, atol=1e-5)
    np.testing.assert_allclose(file.logits, logits, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_normalisation_keeps_its_statistics(build: Build, architecture: str) -> None:
    model = build(architecture)
    model.backbone.requires_grad_(False)
    before = model.backbone.state_dict()["conv1.1.running_mean"].clone()
    model.train().loss(torch.rand(4, 3, 32, 32), torch.zeros(4, 2))
    assert torch.equal(model.backbone.state_dict()["conv1.1.running_mean"], before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_is_trained(build: Build, architecture: str) -> None:
    model = build(architecture).train()
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    model.loss(images, torch.from_numpy(LABELS).float()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heatmaps_are_maps_in_0_to_1_at_the_finest_resolution(build: Build, architecture: str) -> None:
    model = build(architecture).eval()
    heatmap = class_heatmap(model, PIXELS[0], 1)
    assert heatmap.shape == tuple(model.levels(torch.zeros(1, 3, 32, 32))[0].shape[2:])
    assert 0 <= heatmap.min() <= heatmap.max() <= 1


def test_unknown_architectures_are_refused() -> None:
    options = {"pretrained": False, "weights": None, "frozen_stages": 0, "frozen_norm": False, "seed": 0}
    with pytest.raises(GbadError, match="'vit'.*fpn, plain, chr"):
        build_classifier("resnet18", 2, architecture="vit", **options)


def test_views_are_averaged(build: Build) -> None:
    model = build("plain").eval()
    flips = [PIXELS, PIXELS[:, :, ::-1], PIXELS[:, ::-1], PIXELS[:, ::-1, ::-1]]
    alone = [predict_batch(model, np.ascontiguousarray(pixels)) for pixels in flips]
    for views in (1, 2, 4):
        for k, values in enumerate(predict_batch(model, PIXELS, views)):
            np.testing.assert_allclose(values, np.mean([one[k] for one in alone[:views]], axis=0), atol=1e-5)
