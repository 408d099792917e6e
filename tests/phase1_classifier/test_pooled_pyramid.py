"""The averages of a pyramid's levels are those of its maps, forward and backward, whatever the sizes of the maps."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from gbad.phase1_classifier import model as model_module
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.pooled_pyramid import pooled_pyramid
from gbad.phase1_classifier.pyramid import FeaturePyramid

CHANNELS = (4, 6, 8, 10)
SIZES = {
    "halves": [(24, 16), (12, 8), (6, 4), (3, 2)],
    "odd, rounded up": [(25, 15), (13, 8), (7, 4), (4, 2)],
    "odd, rounded down": [(35, 31), (17, 15), (8, 7), (3, 3)],
    "down to one cell": [(8, 8), (4, 4), (2, 2), (1, 1)],
    "one size": [(5, 5), (5, 5), (5, 5), (5, 5)],
}


def made_up(sizes: list[tuple[int, int]], layout: torch.memory_format) -> OrderedDict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return OrderedDict(
        (f"L{level}", torch.randn(2, channels, *size, generator=generator).contiguous(memory_format=layout))
        for level, (channels, size) in enumerate(zip(CHANNELS, sizes, strict=True), start=1)
    )


def pyramid() -> FeaturePyramid:
    network = FeaturePyramid(list(CHANNELS), 5)
    for bias in (value for name, value in network.named_parameters() if name.endswith("bias")):
        torch.nn.init.normal_(bias)  # zero at the start of a training, not later
    return network


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_averages_and_gradients_are_those_of_the_maps(
    sizes: list[tuple[int, int]], layout: torch.memory_format
) -> None:
    network, found = pyramid(), []
    for pool in (pooled_pyramid, lambda fpn, stages: [level.mean((2, 3)) for level in fpn(stages).values()]):
        stages = made_up(sizes, layout)
        for stage in stages.values():
            stage.requires_grad_()
        network.zero_grad()
        pooled = pool(network, stages)
        assert pooled is not None
        sum((level * (number + 1)).square().sum() for number, level in enumerate(pooled)).backward()  # type: ignore[union-attr]
        gradients = [value.grad for value in (*stages.values(), *network.parameters())]
        found.append([*pooled, *gradients])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_holds_the_sums() -> None:
    sizes = [(96, 96), (48, 48), (24, 24), (12, 12)]
    stages = {name: torch.full_like(stage, 50.0) for name, stage in made_up(sizes, torch.contiguous_format).items()}
    network = pyramid()
    expected, half = (
        pooled_pyramid(network, {name: stage.to(dtype) for name, stage in stages.items()})
        for dtype in (torch.float32, torch.float16)
    )
    assert expected is not None
    assert half is not None
    for one, other in zip(half, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_sizes_that_the_sums_do_not_describe_are_left_to_the_maps() -> None:
    stages = made_up([(23, 23), (9, 9), (4, 4), (2, 2)], torch.contiguous_format)  # some rows 2, some 3 times
    assert pooled_pyramid(pyramid(), stages) is None


@pytest.mark.parametrize("size", [64, 72, 75])
def test_a_classifier_with_averages_says_the_same_as_by_its_maps(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = ThreatClassifier(
        "resnet18", 3, fpn_width=8, head_width=8, pooling="average", fusion="context", position_weight=0.0
    ).eval()
    images = 255 * torch.rand(2, 3, size, size)
    with torch.no_grad():
        quick, by_maps = model(images), model.classify_levels(model.levels(images))
        torch.testing.assert_close(quick.logits, by_maps.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(quick.features, by_maps.features, rtol=1e-4, atol=1e-5)
        monkeypatch.setattr(model_module, "pooled_pyramid", lambda fpn, stages: None)
        torch.testing.assert_close(model(images).logits, by_maps.logits)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    torch.testing.assert_close(
        model.loss(images, labels), torch.nn.functional.binary_cross_entropy_with_logits(by_maps.logits, labels)
    )
