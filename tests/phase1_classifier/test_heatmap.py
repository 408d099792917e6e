from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gbad.phase1_classifier import class_heatmap
from gbad.phase1_classifier.model import ThreatClassifier

Build = Callable[..., ThreatClassifier]


def test_heatmap_is_brightest_where_the_only_evidence_is(build: Build) -> None:
    """A network whose pyramid is switched to one spot: the heat-map must point there."""
    model = build(fpn_width=4, head_width=4).eval()
    torch.nn.init.constant_(model.classify[0].weight, 1.0)
    for head in model.heads:
        torch.nn.init.constant_(head.weight, 1.0)
        torch.nn.init.zeros_(head.bias)
    spot = [torch.full((1, 4, side, side), -1.0) for side in (16, 8, 4, 2)]
    spot[0][0, :, 3, 12] = 5.0
    model.levels = lambda images: spot  # type: ignore[method-assign]
    heatmap = class_heatmap(model, np.zeros((64, 64, 3), np.uint8), 1)
    assert heatmap.shape == (16, 16)
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (3, 12)
    assert heatmap.max() == 1.0
    assert (heatmap > 0).sum() == 1


@pytest.mark.parametrize("coarse", [1, 2, 3])
def test_levels_count_by_their_parts_in_the_logit_and_not_by_their_size(build: Build, coarse: int) -> None:
    model = build(classes=1, fpn_width=4, head_width=4, pooling="average").eval()
    for layer in (*model.heads, *model.classify):
        torch.nn.init.constant_(layer.weight, 1.0)
        torch.nn.init.zeros_(layer.bias)
    levels = [torch.zeros(1, 4, side, side) for side in (16, 8, 4, 2)]
    levels[0][0, :, 3, 12] = 256.0  # of 256 places; on the coarse level, all places are 1: both have a mean of 1
    levels[coarse][:] = 1.0
    model.levels = lambda images: levels  # type: ignore[method-assign]
    heatmap = class_heatmap(model, np.zeros((64, 64, 3), np.uint8), 0)
    # Half of the evidence lies in one place, the other half is spread over all 256.
    expected = np.full((16, 16), 1 / 257)
    expected[3, 12] = 1.0
    np.testing.assert_allclose(heatmap, expected, rtol=1e-5)


def test_heatmap_without_evidence_is_zero_and_leaves_no_gradients(build: Build) -> None:
    model = build(fpn_width=4, head_width=4).eval().requires_grad_(False)
    torch.nn.init.zeros_(model.classify[0].weight)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert not class_heatmap(model, image, 0).any()
    assert all(parameter.grad is None for parameter in model.parameters())
