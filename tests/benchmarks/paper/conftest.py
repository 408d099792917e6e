"""A backbone that trains in moments: ResNet-18 takes seconds a training, and 130 MB a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torchvision
from torch import Tensor, nn

from gbad.phase1_classifier import BACKBONES
from gbad.phase1_classifier.backbones import Backbone

CHANNELS = (8, 16, 24, 32)


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class TinyNet(nn.Sequential):
    """Five convolutions, named as the stages of a ResNet."""

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.add_module("conv1", _block(3, 8))
        for level, (inputs, outputs) in enumerate(zip((8, *CHANNELS), CHANNELS, strict=False), 1):
            self.add_module(f"layer{level}", _block(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self:
            x = stage(x)
        return x


@pytest.fixture(scope="module")
def tiny_backbone() -> Iterator[None]:
    """Put five convolutions in the place of ResNet-18, whose name settings accept."""
    taps = {f"L{level}": f"layer{level}" for level in range(1, 5)}
    stages = (("conv1.", "layer1."), ("layer2.",), ("layer3.",), ("layer4.",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, "resnet18", TinyNet)
        patch.setitem(BACKBONES, "resnet18", Backbone(taps, CHANNELS, stages))
        yield
