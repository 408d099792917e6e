"""Classifiers and trainings that take moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import torchvision
from tiny_backbone import TINY as FACTS
from tiny_backbone import TinyNet

from gbad.phase1_classifier import BACKBONES, Classifier, build_classifier, train_classifier

TINY = "tiny"
OPTIONS: dict[str, dict[str, Any]] = {
    "fpn": {"fpn_width": 8, "head_width": 6, "pooling": "max", "fusion": "hidden", "position_weight": 0.0},
    "plain": {},
    "chr": {"mask": "hierarchical", "threshold": None, "prediction": "deepest"},
}


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone() -> Iterator[None]:
    """Let gbad know the small backbone under a name of its own, beside the real ResNet-18."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, TINY, TinyNet, raising=False)
        patch.setitem(BACKBONES, TINY, FACTS)
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
            "weight_decay": 1e-4, "ema_decay": 0.999, "negatives": "fixed", "freedom": {},
            "precision": "no", "device": "cpu", "seed": 0,
        }  # fmt: skip
        return train_classifier(*arguments, **settings | options)

    return run
