"""The plain convolutional network that the letter compares with: the backbone, average pooling, one FC layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gbad.phase1_classifier.backbones import backbone, build_backbone, fold_norms
from gbad.phase1_classifier.classifier import Normalise, Prediction, keep_frozen_norms, multilabel_bce


class PlainClassifier(nn.Module):
    """Backbone, global average of its last stage, FC.

    Parameters
    ----------
    backbone_name : str
        One of `gbad.phase1_classifier.BACKBONES`.
    n_classes : int
        Number of threat classes C.
    folded_norms : bool
        Whether batch normalisation is folded into the backbone's convolutions (`fold_norms`).

    Notes
    -----
    Features for phase 2 are the pooled last stage, which is the pyramid's L4; of EfficientNet-Lite0 that is its last
    block, without the 1280 channels that ImageNet's classes are told from. Random weights come from torch's global
    generator: build inside `gbad.runtime.randomness.forked_rng`.
    """

    def __init__(self, backbone_name: str, n_classes: int, *, folded_norms: bool = False) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {
            "architecture": "plain", "backbone_name": backbone_name, "n_classes": n_classes,
            "folded_norms": folded_norms,
        }  # fmt: skip
        self.n_features = backbone(backbone_name).channels[-1]
        self.normalise = Normalise(backbone_name)
        self.backbone = build_backbone(backbone_name)
        if folded_norms:
            fold_norms(self.backbone)
        self.classify = nn.Linear(self.n_features, n_classes)

    def train(self, mode: bool = True) -> PlainClassifier:
        """Switch to training mode, except that frozen normalisation keeps its statistics."""
        super().train(mode)
        keep_frozen_norms(self.backbone)
        return self

    def forward(self, images: Tensor) -> Prediction:
        """Classify images, RGB in [0, 255]: float Tensor (N, 3, H, W)."""
        return self.classify_levels(self.levels(images))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Equation 1 on images as in `forward` and labels, float (N, C)."""
        return multilabel_bce(self(images).logits, labels)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the one map that is classified: the last stage, (N, D, h, w)."""
        return [self.backbone(self.normalise(images))["L4"]]

    def classify_levels(self, levels: list[Tensor]) -> Prediction:
        """Classify from what `levels` gives."""
        pooled = levels[0].mean((2, 3))
        return Prediction(self.classify(pooled).float(), pooled.float())
