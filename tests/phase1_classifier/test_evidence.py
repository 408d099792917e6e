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


def test_peaks_are_the_middles_of_the_windows_with_the_most_evidence(build: Build) -> None:
    model = build("fpn", position_weight=1.0).eval()
    maps = torch.full((1, 2, 16, 16), -9.0)
    maps[0, 0, 3, 12] = 9.0  # one bright cell, against six in a window at the other end
    maps[0, 0, 10:12, 2:5] = 2.0
    assert model.position is not None
    model.position.heat_map = lambda levels: maps  # type: ignore[method-assign]
    levels = see(model, PIXELS[:1]).levels
    fine, coarse = evidence_peaks(model, levels, 1 / 16)[0, 0], evidence_peaks(model, levels, 5 / 16)[0, 0]
    np.testing.assert_allclose(fine, [12.5 / 16, 3.5 / 16])
    assert abs(coarse[0] - 3.5 / 16) < 2 / 16
    assert abs(coarse[1] - 11 / 16) < 2 / 16


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
