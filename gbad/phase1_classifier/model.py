"""GBAD's multi-label classifier (Dumagpi et al. 2020, Figure 2): backbone, feature pyramid, pooled heads, Σ, FC5."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gbad.errors import GbadError
from gbad.phase1_classifier.backbones import backbone
from gbad.phase1_classifier.classifier import Classifier, Prediction, multilabel_bce
from gbad.phase1_classifier.pooled_pyramid import pooled_pyramid
from gbad.phase1_classifier.positions import PositionHead
from gbad.phase1_classifier.pyramid import FeaturePyramid

POOLINGS = ("average", "max")
FUSIONS = ("hidden", "logits", "context")


class ThreatClassifier(Classifier):
    """Backbone + FPN; its levels L1 to L4 are pooled, pass FC1 to FC4, are averaged (Σ) and classified (FC5).

    Parameters
    ----------
    backbone_name, n_classes, folded_norms
        See `Classifier`.
    fpn_width : int
        Channels of each FPN level.
    head_width : int
        Outputs of each of FC1 to FC4.
    pooling : {"average", "max"}
        ``"average"``: global average of the level, as in the paper. ``"max"``: global maximum behind a ReLU, which
        keeps a small threat in a large bag visible.
    fusion : {"hidden", "logits", "context"}
        The paper does not say what Σ averages. ``"hidden"``: the hidden vectors before one FC5. ``"logits"``: the
        logits of one FC5 per level. ``"context"``: as ``"hidden"``, with a plain network beside the pyramid; a logit is
        the mean of FC5's logit and of the logit of one more FC on the pooled last stage of the backbone, as in
        `PlainClassifier`.
    fpn_form : {"full", "light"}
        See `FeaturePyramid`.
    position_weight : float
        Above 0, the levels also learn from boxes where threats are (`PositionHead`), with this weight in the loss. A
        logit is then the mean of the logit above and of the maximum of the class's heat-map times a learnt factor. The
        two have separate losses, and the mean of both losses is minimised: with one loss of the mean logit, FC5 hardly
        learns beside the heat-map. FC5 and ``"context"`` share a loss, because they ranked better so.

    Notes
    -----
    Features for phase 2 are the outputs of FC1 to FC4 side by side, D = 4 · head_width; with ``"context"``, the pooled
    last stage of the backbone follows.
    """

    architecture = "fpn"

    def __init__(
        self,
        backbone_name: str,
        n_classes: int,
        *,
        fpn_width: int,
        head_width: int,
        pooling: str,
        fusion: str,
        position_weight: float,
        fpn_form: str = "full",
        folded_norms: bool = False,
    ) -> None:
        for name, value, known in (("pooling", pooling, POOLINGS), ("fusion", fusion, FUSIONS)):
            if value not in known:
                raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
        super().__init__(
            backbone_name, n_classes, fpn_width=fpn_width, head_width=head_width, pooling=pooling, fusion=fusion,
            position_weight=position_weight, fpn_form=fpn_form, folded_norms=folded_norms,
        )  # fmt: skip
        facts = backbone(backbone_name)
        self.pooling = pooling
        self.fusion = fusion
        self.position_weight = position_weight
        self.n_features = head_width * len(facts.channels) + (facts.channels[-1] if fusion == "context" else 0)
        self.fpn = FeaturePyramid(facts.channels, fpn_width, fpn_form)
        self.heads = nn.ModuleList(nn.Linear(fpn_width, head_width) for _ in facts.channels)
        self.classify = nn.ModuleList(
            nn.Linear(head_width, n_classes) for _ in (facts.channels if fusion == "logits" else (0,))
        )
        self.context = nn.Linear(facts.channels[-1], n_classes) if fusion == "context" else None
        self.position = PositionHead(fpn_width, n_classes, len(facts.channels)) if position_weight else None

    def loss(self, images: Tensor, labels: Tensor, boxes: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Equation 1, see `Classifier.loss`.

        With a ``position_weight``: the mean of Equation 1 over both logits (see the class), plus the weighted loss of
        the positions if there are boxes.
        """
        if self.position is None:
            return multilabel_bce(self(images).logits, labels)
        levels = self.levels(images)
        pyramid = levels[: len(self.heads)]
        whole, where = self.classify_pooled(self.pool(levels)).logits, self.position.logits(pyramid)
        loss = 0.5 * (multilabel_bce(whole, labels) + multilabel_bce(where, labels))
        if boxes is None or theta is None:
            return loss
        return loss + self.position_weight * self.position.loss(pyramid, labels, boxes, theta)

    def forward(self, images: Tensor) -> Prediction:
        """Classify images, RGB in [0, 255]: float Tensor (N, 3, H, W). Averages need no maps of a full pyramid."""
        if self.pooling != "average" or self.position is not None or self.fpn.form != "full":
            return super().forward(images)
        stages = self.backbone(self.normalise(images))
        pooled = pooled_pyramid(self.fpn, stages)
        if pooled is None:
            return self.classify_levels(self._levels(stages))
        return self.classify_pooled([*pooled, *([] if self.context is None else [stages["L4"].mean((2, 3))])])

    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the pyramid's levels L1 to L4 of images as in `forward`: (N, fpn_width, h, w) each.

        With the fusion ``"context"``, the last stage of the backbone follows.
        """
        return self._levels(self.backbone(self.normalise(images)))

    def _levels(self, stages: dict[str, Tensor]) -> list[Tensor]:
        last = [] if self.context is None else [stages["L4"]]
        return [*self.fpn(stages).values(), *last]

    def pool(self, levels: list[Tensor]) -> list[Tensor]:
        """Pool each channel of the output of `levels` by itself: (N, channels) each."""
        if self.pooling == "average":
            return super().pool(levels)
        pyramid, last = levels[: len(self.heads)], levels[len(self.heads) :]
        return [*(level.amax((2, 3)).relu() for level in pyramid), *super().pool(last)]  # maximum and ReLU commute

    def classify_pooled(self, pooled: list[Tensor]) -> Prediction:
        """Classify the output of `pool`: by FC5 and the last stage, not by the heat-map."""
        pyramid, last = pooled[: len(self.heads)], pooled[len(self.heads) :]
        hidden = [head(level).relu() for head, level in zip(self.heads, pyramid, strict=True)]  # 4 × (N, head_width)
        if self.fusion == "logits":
            logits = torch.stack([fc(level) for fc, level in zip(self.classify, hidden, strict=True)]).mean(0)
        else:
            logits = self.classify[0](torch.stack(hidden).mean(0))
        logits = logits.float()
        if self.context is not None:
            logits = 0.5 * (logits + self.context(last[0]).float())
        return Prediction(logits, torch.cat([*hidden, *last], 1).float())

    def classify_levels(self, levels: list[Tensor]) -> Prediction:
        """Classify the output of `levels`, also by the heat-map if there is one."""
        whole, features = super().classify_levels(levels)
        if self.position is None:
            return Prediction(whole, features)
        return Prediction(0.5 * (whole + self.position.logits(levels[: len(self.heads)])), features)

    def position_maps(self, images: Tensor) -> Tensor:
        """Logits of the classes at each place of images as in `forward`: float32 (N, C, h, w), as fine as level L1.

        Raises
        ------
        GbadError
            If the classifier has not learnt positions.
        """
        if self.position is None:
            raise GbadError("this classifier knows no positions: train it with boxes and a position_weight above 0")
        return self.position.heat_map(self.levels(images)[: len(self.heads)])
