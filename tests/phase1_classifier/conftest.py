"""Classifiers and trainings that take moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import torchvision
from torch import Tensor, nn

from gbad.phase1_classifier import BACKBONES, Classifier, build_classifier, train_classifier
from gbad.phase1_classifier.backbones import Backbone

TINY = "tiny"
CHANNELS = (8, 16, 24, 32)
OPTIONS: dict[str, dict[str, Any]] = {
    "fpn": {"fpn_width": 8, "head_width": 6, "pooling": "max", "fusion": "hidden", "position_weight": 0.0},
    "plain": {},
    "chr": {"mask": "hierarchical", "threshold": None, "prediction": "deepest"},
}


def block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class TinyNet(nn.Module):
    """Five convolutions, named as the stages of a ResNet."""

    def __init__(self, weights: None = None) -> None:
        super().__init__()
        self.conv1 = block(3, 8)
        for level, (inputs, outputs) in enumerate(zip((8, *CHANNELS), CHANNELS, strict=False), 1):
            setattr(self, f"layer{level}", block(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone() -> Iterator[None]:
    """Let gbad know a backbone of a few thousand weights. ResNet-18 takes seconds a training, 130 MB a checkpoint."""
    taps = {f"L{level}": f"layer{level}" for level in range(1, 5)}
    stages = (("conv1.", "layer1."), ("layer2.",), ("layer3.",), ("layer4.",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, TINY, TinyNet, raising=False)
        patch.setitem(BACKBONES, TINY, Backbone(taps, CHANNELS, stages))
        yield


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """Build a classifier with random weights: ``build("fpn", fusion="logits")``, in training mode."""

    def make(
        architecture: str = "fpn", backbone: str = TINY, *, classes: int = 2, seed: int = 0, **options: Any
    ) -> Classifier:
        return build_classifier(
            backbone, classes, architecture=architecture, pretrained=False, weights=None, frozen_stages=0,
            frozen_norm=False, seed=seed, **OPTIONS[architecture] | options,
        )[0]  # fmt: skip

    return make


@pytest.fixture(scope="session")
def train() -> Callable[..., tuple[Any, pd.DataFrame]]:
    """Train a classifier; positional arguments as of `train_classifier`, options where they differ from these."""

    def run(*arguments: Any, **options: Any) -> tuple[Classifier, pd.DataFrame]:
        settings: dict[str, Any] = {
            "boxes": None, "epochs": 2, "batch_size": 16, "optimiser": "sgd", "learning_rate": 0.01,
            "weight_decay": 1e-4, "ema_decay": 0.999, "negatives": "fixed", "augmentation": "standard",
            "precision": "no", "device": "cpu", "seed": 0,
        }  # fmt: skip
        return train_classifier(*arguments, **settings | options)

    return run
