"""What the classifiers of phase 1 share: form of their predictions, input normalisation, training mode, Equation 1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbad.phase1_classifier.backbones import backbone


class Prediction(NamedTuple):
    """What a classifier gives for N images.

    Attributes
    ----------
    logits : float32 Tensor (N, C)
        One logit per class; the sigmoid is the probability that the image shows that threat.
    features : float32 Tensor (N, D)
        What phase 2 looks at.
    """

    logits: Tensor
    features: Tensor


class Normalise(nn.Module):
    """Bring images, RGB in [0, 255], to the mean and deviation under which a backbone was trained."""

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


def keep_frozen_norms(network: nn.Module) -> None:
    """Put batch normalisation that is not trained into evaluation mode, so that it keeps its statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def multilabel_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over images and classes 1…C (letter, Equation 1, whose sum from 0 is a misprint).

    Parameters
    ----------
    logits, labels : float Tensor (N, C)
        Labels are 0 or 1.
    """
    return F.binary_cross_entropy_with_logits(logits, labels)
