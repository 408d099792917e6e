"""What the classifiers of phase 1 share: base class, form of predictions, input normalisation, Equation 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbad.phase1_classifier.backbones import backbone, build_backbone
from gbad.phase1_classifier.fine_tuning import fold_norms, keep_frozen_norms


class Prediction(NamedTuple):
    """Output of a classifier for N images.

    Attributes
    ----------
    logits : float32 Tensor (N, C)
        One logit per class; its sigmoid is the probability that the image shows that threat.
    features : float32 Tensor (N, D)
        Input of phase 2.
    """

    logits: Tensor
    features: Tensor


class Classifier(nn.Module, ABC):
    """Base class: a backbone behind the normalisation of its input.

    An architecture sets `architecture` and `n_features` (D), adds its layers, and implements `levels`,
    `classify_pooled` and `loss`, and `pool` where it does not take averages. Random weights come from torch's global
    generator: build classifiers inside `gbad.runtime.randomness.forked_rng`, as `build_classifier` does.

    Parameters
    ----------
    backbone_name : str
        One of `gbad.phase1_classifier.BACKBONES`.
    n_classes : int
        Number of threat classes C.
    folded_norms : bool
        Whether batch normalisation is folded into the backbone's convolutions (`fold_norms`).
    **options
        Further arguments of the architecture's constructor, for `spec`.

    Attributes
    ----------
    spec : dict
        Arguments that build the same classifier again, and the name of the architecture.
    graph : callable or None
        Gives the prediction and the levels of images sooner than the layers do, see `gbad.phase1_classifier.use_onnx`.
    """

    architecture: ClassVar[str]
    n_features: int
    graph: Callable[[Tensor], tuple[Prediction, list[Tensor]]] | None = None

    def __init__(self, backbone_name: str, n_classes: int, *, folded_norms: bool = False, **options: Any) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {
            "architecture": self.architecture, "backbone_name": backbone_name, "n_classes": n_classes, **options,
            "folded_norms": folded_norms,
        }  # fmt: skip
        self.normalise = Normalise(backbone_name)
        self.backbone = build_backbone(backbone_name)
        if folded_norms:
            fold_norms(self.backbone)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, except that frozen normalisation keeps its statistics."""
        super().train(mode)
        keep_frozen_norms(self.backbone)
        return self

    def forward(self, images: Tensor) -> Prediction:
        """Classify images, RGB in [0, 255]: float Tensor (N, 3, H, W)."""
        return self.classify_levels(self.levels(images))

    @abstractmethod
    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the maps that are pooled, fine to coarse: (N, channels, h, w) each, for images as in `forward`."""

    def pool(self, levels: list[Tensor]) -> list[Tensor]:
        """Pool each channel of the output of `levels` by itself: (N, channels) each."""
        return [level.mean((2, 3)) for level in levels]

    @abstractmethod
    def classify_pooled(self, pooled: list[Tensor]) -> Prediction:
        """Classify the output of `pool`."""

    def classify_levels(self, levels: list[Tensor]) -> Prediction:
        """Classify the output of `levels`."""
        return self.classify_pooled(self.pool(levels))

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, boxes: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Loss to be minimised, a scalar.

        Parameters
        ----------
        images : float Tensor (N, 3, H, W)
            As in `forward`.
        labels : float Tensor (N, C)
            1 = present, 0 = absent, NaN = unknown.
        boxes, theta : float Tensor (N, K, 5), float Tensor (N, 2, 3), optional
            Boxes and views, see `gbad.phase1_classifier.positions.box_targets`; for classifiers that learn positions.
        """


class Normalise(nn.Module):
    """Bring images, RGB in [0, 255], to the mean and standard deviation under which a backbone was trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone_name: str) -> None:
        super().__init__()
        facts = backbone(backbone_name)
        self.register_buffer("mean", 255 * torch.tensor(facts.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(facts.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images, float Tensor (N, 3, H, W)."""
        return (images - self.mean) / self.std


def multilabel_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over images and classes 1…C (GBAD, Equation 1; its sum from 0 is a misprint).

    Parameters
    ----------
    logits, labels : float Tensor (N, C)
        Labels are 0 or 1, or NaN where it is not known whether the class is present: these places are left out.
    """
    known = ~labels.isnan()
    losses = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)
