"""The plain convolutional network with which the paper compares GBAD: backbone, average pooling, one FC layer."""

from __future__ import annotations

from torch import Tensor, nn

from gbad.phase1_classifier.backbones import backbone
from gbad.phase1_classifier.classifier import Classifier, Prediction, multilabel_bce


class PlainClassifier(Classifier):
    """Backbone, global average of its last stage, FC. Parameters: see `Classifier`.

    Notes
    -----
    Features for phase 2 are the pooled last stage, L4. For EfficientNet-Lite this is the last block, not the layer of
    1280 channels that ImageNet's classes are told from.
    """

    architecture = "plain"

    def __init__(self, backbone_name: str, n_classes: int, *, folded_norms: bool = False) -> None:
        super().__init__(backbone_name, n_classes, folded_norms=folded_norms)
        self.n_features = backbone(backbone_name).channels[-1]
        self.classify = nn.Linear(self.n_features, n_classes)

    def loss(self, images: Tensor, labels: Tensor, boxes: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Equation 1, see `Classifier.loss`."""
        return multilabel_bce(self(images).logits, labels)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the only map that is classified: the last stage, (N, D, h, w)."""
        return [self.backbone(self.normalise(images))["L4"]]

    def classify_pooled(self, pooled: list[Tensor]) -> Prediction:
        """Classify the output of `pool`."""
        return Prediction(self.classify(pooled[0]).float(), pooled[0].float())
