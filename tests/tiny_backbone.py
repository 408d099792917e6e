"""A backbone that trains in moments, in the place of ResNet-18, which takes seconds and 130 MB for a checkpoint.

The settings accept no other names than those of real backbones, so the tests train five convolutions under the name
``resnet18``. Tests of the real network use the fixture ``real_resnet18``. A new process calls `install` itself.
"""

from __future__ import annotations

import pytest
import torchvision
from torch import Tensor, nn

from gbad.phase1_classifier import BACKBONES
from gbad.phase1_classifier.backbones import Backbone

CHANNELS = (8, 16, 24, 32)
TINY = Backbone(
    taps={f"L{level}": f"layer{level}" for level in range(1, 5)},
    channels=CHANNELS,
    stages=(("conv1.", "layer1."), ("layer2.",), ("layer3.",), ("layer4.",)),
)


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


REAL = torchvision.models.resnet18, BACKBONES["resnet18"]


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of ResNet-18."""
    patch.setattr(torchvision.models, "resnet18", TinyNet)
    patch.setitem(BACKBONES, "resnet18", TINY)


def uninstall(patch: pytest.MonkeyPatch) -> None:
    """Take the real ResNet-18 again."""
    patch.setattr(torchvision.models, "resnet18", REAL[0])
    patch.setitem(BACKBONES, "resnet18", REAL[1])
