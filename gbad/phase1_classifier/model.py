"""The multi-label classifier of phase 1 (letter, Figure 2): backbone, feature pyramid, four pooled heads, Σ, FC5."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from gbad.errors import GbadError
from gbad.phase1_classifier.backbones import backbone, build_backbone, fold_norms
from gbad.phase1_classifier.classifier import Normalise, Prediction, keep_frozen_norms, multilabel_bce
from gbad.phase1_classifier.positions import PositionHead

POOLINGS = ("average", "max")
FUSIONS = ("hidden", "logits", "context")


class ThreatClassifier(nn.Module):
    """Backbone + FPN, whose levels L1 to L4 are pooled, pass FC1 to FC4, are averaged (Σ) and classified (FC5).

    Parameters
    ----------
    backbone_name : str
        One of `gbad.phase1_classifier.BACKBONES`.
    n_classes : int
        Number of threat classes C.
    fpn_width : int
        Channels of each FPN level.
    head_width : int
        Outputs of each of FC1 to FC4.
    pooling : {"average", "max"}
        ``"average"``: global average of the level, as the letter has it. ``"max"``: global maximum behind a ReLU, which
        keeps a small threat in a large bag visible.
    fusion : {"hidden", "logits", "context"}
        What Σ averages, which the letter leaves open: the hidden vectors before one FC5, or the logits of an FC5 per
        level. ``"context"`` is ``"hidden"`` with the plain network beside the pyramid: a logit is the mean of FC5's and
        of that of one more FC on the backbone's last stage, averaged over all places, as `PlainClassifier` has it.
    position_weight : float
        Above 0, the levels also learn from boxes where threats are (`PositionHead`), with this weight in the loss. Then
        a logit is the mean of the above and of the maximum of the class's heat-map times a learnt factor. Both have a
        loss of their own, of which the mean is taken: with one loss of their mean, FC5 learns next to nothing beside
        the heat-map. FC5 and ``"context"`` share one, with which they ranked better than with one each.
    folded_norms : bool
        Whether batch normalisation is folded into the backbone's convolutions (`fold_norms`).

    Notes
    -----
    Features for phase 2 are the outputs of FC1 to FC4 side by side, D = 4 · head_width; with ``"context"``, the pooled
    last stage of the backbone comes after them. Random weights come from
    torch's global generator: build inside `gbad.runtime.randomness.forked_rng`.
    """

    def __init__(
        self,
        backbone_name: str,
        n_classes: int,
        *,
        fpn_width: int = 256,
        head_width: int = 256,
        pooling: str = "average",
        fusion: str = "hidden",
        position_weight: float = 0.0,
        folded_norms: bool = False,
    ) -> None:
        super().__init__()
        for name, value, known in (("pooling", pooling, POOLINGS), ("fusion", fusion, FUSIONS)):
            if value not in known:
                raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
        self.spec: dict[str, Any] = {
            "architecture": "fpn", "backbone_name": backbone_name, "n_classes": n_classes, "fpn_width": fpn_width,
            "head_width": head_width, "pooling": pooling, "fusion": fusion, "position_weight": position_weight,
            "folded_norms": folded_norms,
        }  # fmt: skip
        facts = backbone(backbone_name)
        self.pooling = pooling
        self.fusion = fusion
        self.position_weight = position_weight
        self.n_features = head_width * len(facts.channels) + (facts.channels[-1] if fusion == "context" else 0)
        self.normalise = Normalise(backbone_name)
        self.backbone = build_backbone(backbone_name)
        if folded_norms:
            fold_norms(self.backbone)
        self.fpn = FeaturePyramidNetwork(list(facts.channels), fpn_width)
        self.heads = nn.ModuleList(nn.Linear(fpn_width, head_width) for _ in facts.channels)
        self.classify = nn.ModuleList(
            nn.Linear(head_width, n_classes) for _ in (facts.channels if fusion == "logits" else (0,))
        )
        self.context = nn.Linear(facts.channels[-1], n_classes) if fusion == "context" else None
        self.position = PositionHead(fpn_width, n_classes, len(facts.channels)) if position_weight else None

    def train(self, mode: bool = True) -> ThreatClassifier:
        """Switch to training mode, except that frozen normalisation keeps its statistics."""
        super().train(mode)
        keep_frozen_norms(self.backbone)
        return self

    def forward(self, images: Tensor) -> Prediction:
        """Classify images.

        Parameters
        ----------
        images : float Tensor (N, 3, H, W)
            RGB in [0, 255].
        """
        return self.classify_levels(self.levels(images))

    def loss(self, images: Tensor, labels: Tensor, boxes: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Equation 1; with a ``position_weight``, its mean over both readings of the image, plus the positions' loss.

        Parameters
        ----------
        images : float Tensor (N, 3, H, W)
            As in `forward`.
        labels : float Tensor (N, C)
            1 = present.
        boxes, theta : float Tensor (N, K, 5), float Tensor (N, 2, 3)
            See `gbad.phase1_classifier.positions.box_targets`.
        """
        levels = self.levels(images)
        whole, where, _ = self._readings(levels)
        if where is None:
            return multilabel_bce(whole, labels)
        loss = 0.5 * (multilabel_bce(whole, labels) + multilabel_bce(where, labels))
        if self.position is None or boxes is None or theta is None:
            return loss
        pyramid = levels[: len(self.heads)]
        return loss + self.position_weight * self.position.loss(pyramid, labels, boxes, theta)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the pyramid's levels L1 to L4 of images as in `forward`: (N, fpn_width, h, w) each.

        With the fusion ``"context"``, the backbone's last stage comes after them.
        """
        stages = self.backbone(self.normalise(images))
        last = [] if self.context is None else [stages["L4"]]
        return [*self.fpn(stages).values(), *last]

    def classify_levels(self, levels: list[Tensor]) -> Prediction:
        """Classify from what `levels` gives."""
        whole, where, features = self._readings(levels)
        return Prediction(whole if where is None else 0.5 * (whole + where), features)

    def _readings(self, levels: list[Tensor]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Logits (N, C) by FC5 and the last stage, those by the heat-map if there is one, and the features."""
        levels, last = levels[: len(self.heads)], [level.mean((2, 3)) for level in levels[len(self.heads) :]]
        if self.pooling == "max":
            pooled = [level.amax((2, 3)).relu() for level in levels]  # maximum and ReLU commute
        else:
            pooled = [level.mean((2, 3)) for level in levels]
        hidden = [head(level).relu() for head, level in zip(self.heads, pooled, strict=True)]  # 4 × (N, head_width)
        if self.fusion == "logits":
            logits = torch.stack([fc(level) for fc, level in zip(self.classify, hidden, strict=True)]).mean(0)
        else:
            logits = self.classify[0](torch.stack(hidden).mean(0))
        logits = logits.float()
        if self.context is not None:
            logits = 0.5 * (logits + self.context(last[0]).float())
        where = None if self.position is None else self.position.logits(levels)
        return logits, where, torch.cat([*hidden, *last], 1).float()

    def position_maps(self, images: Tensor) -> Tensor:
        """Logits of the classes at each place of images as in `forward`: float32 (N, C, h, w), h and w those of L1.

        Raises
        ------
        GbadError
            If the classifier has not learnt positions.
        """
        if self.position is None:
            raise GbadError("this classifier knows no positions: train it with boxes and a position_weight above 0")
        return self.position.heat_map(self.levels(images)[: len(self.heads)])
