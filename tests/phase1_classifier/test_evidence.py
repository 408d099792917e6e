from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource
from gbad.phase1_classifier import (
    Classifier,
    class_heatmap,
    evidence_maps,
    evidence_peaks,
    extract_features,
    predict_batch,
    see,
    stage_evidence,
)
from gbad.phase1_classifier.classifier import multilabel_bce

Build = Callable[..., Classifier]
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("architecture", ["fpn", "plain", "chr"])
@pytest.mark.parametrize("views", [1, 2, 4])
def test_seeing_gives_what_prediction_gives(build: Build, architecture: str, views: int) -> None:
    model = build(architecture).eval()
    logits, features, levels = see(model, PIXELS, views)
    expected = predict_batch(model, PIXELS, views)
    np.testing.assert_allclose(logits, expected[0], atol=1e-6)
    np.testing.assert_allclose(features, expected[1], atol=1e-6)
    np.testing.assert_allclose(see(model, PIXELS).logits, model.classify_levels(levels).logits.detach(), atol=1e-6)


@pytest.mark.parametrize("architecture", ["fpn", "plain", "chr"])
def test_evidence_of_an_image_is_its_own_and_that_of_a_heatmap(build: Build, architecture: str) -> None:
    model = build(architecture).eval()
    together = evidence_maps(model, see(model, PIXELS).levels).numpy()
    assert together.shape[:2] == (5, 2)
    assert (together >= 0).all()
    for row in range(5):
        alone = evidence_maps(model, see(model, PIXELS[row : row + 1]).levels).numpy()[0]
        np.testing.assert_allclose(together[row], alone, rtol=1e-4, atol=1e-6)
        shown = class_heatmap(model, PIXELS[row], 1)
        np.testing.assert_allclose(shown * together[row, 1].max(), together[row, 1], rtol=1e-4, atol=1e-6)
    only = evidence_maps(model, see(model, PIXELS).levels, [1]).numpy()
    np.testing.assert_allclose(only[:, 0], together[:, 1], rtol=1e-5, atol=1e-7)


def test_the_evidence_of_maximum_pooling_adds_up_to_the_logit(build: Build) -> None:
    """Without biases, a network of linear parts and ReLUs is the sum of gradient times activation."""
    model = build("fpn", pooling="max").eval()
    for layer in (*model.heads, *model.classify):
        torch.nn.init.uniform_(layer.weight, 0, 1)
        torch.nn.init.zeros_(layer.bias)
    levels = [torch.rand(3, 8, side, side) for side in (16, 8, 4, 2)]
    sums = torch.stack([evidence_maps(model, levels, [c]).sum((1, 2, 3)) for c in range(2)], 1)
    torch.testing.assert_close(sums, model.classify_levels(levels).logits.detach(), rtol=0.02, atol=0.0)


@pytest.mark.parametrize("architecture", ["fpn", "plain", "chr"])
@pytest.mark.parametrize("options", [{"pooling": "max", "fusion": "context"}, {"pooling": "average"}])
def test_evidence_is_gradient_times_activation_of_each_map(
    build: Build, architecture: str, options: dict[str, str]
) -> None:
    """As its paper writes it: the gradient of one class's logit in each map, with no knowledge of the pooling."""
    model = build(architecture, **(options if architecture == "fpn" else {})).eval()
    levels = [level.detach().requires_grad_(True) for level in see(model, PIXELS).levels]
    with torch.no_grad():
        levels[0][:, :, :2, :2] = levels[0].amax((2, 3), keepdim=True)  # equal maxima share the gradient
    found = evidence_maps(model, [level.detach() for level in levels])
    logits = model.classify_levels(levels).logits
    for column in range(2):
        gradients = torch.autograd.grad(logits[:, column].sum(), levels, retain_graph=True, materialize_grads=True)
        expected = torch.zeros_like(found[:, :1])
        for level, gradient in zip(levels, gradients, strict=True):
            evidence = (gradient * level.detach()).sum(1, keepdim=True).relu()
            assert evidence.any() or architecture == "chr"
            share = evidence[0].numel() / expected[0].numel()
            expected += share * F.interpolate(evidence, size=expected.shape[2:], mode="bilinear")
        assert expected.any()
        torch.testing.assert_close(found[:, column : column + 1], expected, rtol=1e-4, atol=1e-7)


def peaks_of(build: Build, maps: torch.Tensor, extent: float) -> np.ndarray:
    """Peaks of a classifier that sees given maps of logits, for its first image."""
    model = build("fpn", position_weight=1.0).eval()
    assert model.position is not None
    model.position.heat_map = lambda levels: maps  # type: ignore[method-assign,union-attr]
    return evidence_peaks(model, see(model, PIXELS[: len(maps)]).levels, extent)[0]


def test_a_peak_is_where_the_most_evidence_is_near(build: Build) -> None:
    maps = torch.full((1, 2, 64, 64), -12.0)
    maps[0, :, 12, 48] = 9.0  # one bright cell, against many in a window at the other end
    maps[0, :, 40:48, 8:20] = 2.0
    np.testing.assert_allclose(peaks_of(build, maps, 1 / 64), [[48.5 / 64, 12.5 / 64]] * 2)
    np.testing.assert_allclose(peaks_of(build, maps, 0.3), [[14 / 64, 44 / 64]] * 2, atol=1.5 / 64)


@pytest.mark.parametrize("extent", [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize("blob", [1, 3, 5])
def test_a_region_is_centred_on_evidence_that_is_smaller(build: Build, extent: float, blob: int) -> None:
    maps = torch.full((1, 2, 56, 56), -20.0)
    maps[0, :, 28 - blob // 2 : 29 + blob // 2, 20 - blob // 2 : 21 + blob // 2] = 3.0
    np.testing.assert_allclose(peaks_of(build, maps, extent), [[20.5 / 56, 28.5 / 56]] * 2, atol=0.6 / 56)
    noisy = maps + 0.02 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(peaks_of(build, noisy, extent), [[20.5 / 56, 28.5 / 56]] * 2, atol=1.6 / 56)


def test_the_peak_of_a_coarse_map_lies_between_its_cells(build: Build) -> None:
    maps = torch.full((1, 2, 8, 8), -20.0)
    maps[0, :, 3, 4:6] = 3.0
    np.testing.assert_allclose(peaks_of(build, maps, 0.2), [[5 / 8, 3.5 / 8]] * 2, atol=1 / 32)


def test_a_class_without_evidence_is_looked_for_in_the_middle(build: Build) -> None:
    model = build("plain").eval()
    torch.nn.init.zeros_(model.classify.weight)
    np.testing.assert_array_equal(evidence_peaks(model, see(model, PIXELS).levels, 0.3), np.full((5, 2, 2), 0.5))


def test_features_with_peaks(build: Build, tmp_path: Path) -> None:
    model = build("plain").eval()
    source = ImageSource([f"{row}.png" for row in range(5)], 64, lambda row: PIXELS[row])
    file = extract_features(
        model, source, np.arange(5), tmp_path / "with", BadImages(5), batch_size=2, peak_extent=0.25
    )
    expected = evidence_peaks(model, see(model, PIXELS).levels, 0.25)
    assert file.peaks is not None
    np.testing.assert_allclose(file.peaks, expected, atol=1e-6)
    without = extract_features(model, source, np.arange(5), tmp_path / "without", BadImages(5), batch_size=2)
    assert without.peaks is None
    np.testing.assert_allclose(file.logits, without.logits, atol=1e-6)


def test_unknown_labels_have_no_part_in_the_loss() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.randint(0, 2, (4, 3)).float()
    torch.testing.assert_close(multilabel_bce(logits, labels), F.binary_cross_entropy_with_logits(logits, labels))
    labels[1, 2] = labels[3, 0] = torch.nan
    loss = multilabel_bce(logits, labels)
    known = ~labels.isnan()
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits[known], labels[known]))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[~known].any()
    assert logits.grad[known].all()


def test_stage_evidence_is_gradient_times_activation_of_the_last_two_stages(build: Build) -> None:
    model = build("plain").eval()
    found = stage_evidence(model, PIXELS[:3], [1, 0, 1])
    pixels = torch.from_numpy(PIXELS[:3]).permute(0, 3, 1, 2).float().requires_grad_(True)
    stages = model.backbone(model.normalise(pixels))
    logits = model.classify_levels([stages["L4"]]).logits
    for row, column in enumerate([1, 0, 1]):
        expected = torch.zeros(stages["L3"].shape[2:])
        for name in ("L3", "L4"):
            (gradient,) = torch.autograd.grad(logits[row, column], [stages[name]], retain_graph=True)
            one = (gradient * stages[name])[row].sum(0).relu().detach()
            assert one.any()
            expected += F.interpolate(one[None, None] / one.max(), size=expected.shape, mode="bilinear")[0, 0]
        np.testing.assert_allclose(found[row], expected.numpy(), rtol=1e-3, atol=1e-6)
    assert (found >= 0).all()
    assert (found <= 2).all()
    alone = stage_evidence(model, PIXELS[1:2], [0])
    np.testing.assert_allclose(alone[0], found[1], rtol=1e-3, atol=1e-6)


def test_stage_evidence_of_no_evidence_is_zero(build: Build) -> None:
    model = build("plain").eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
    assert not stage_evidence(model, PIXELS[:2], [0, 1]).any()
