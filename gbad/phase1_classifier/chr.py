"""Class-balanced hierarchical refinement, CHR (Miao et al., CVPR 2019): the method of SIXray's authors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbad.errors import GbadError
from gbad.phase1_classifier.backbones import backbone
from gbad.phase1_classifier.classifier import Classifier, Prediction

MASKS = ("none", "released", "hierarchical")
PREDICTIONS = ("deepest", "average")
_THRESHOLDS = {"none": -math.inf, "released": -20.0, "hierarchical": -3.0}


class CHRClassifier(Classifier):
    """Three heads on the last three stages of a backbone; each finer head is refined by a coarser map.

    The coarsest head pools its stage behind a 1×1 convolution and a ReLU. Each finer head applies the same layers to
    its stage, puts a coarser map beside it, enlarged bilinearly, and merges both by a 1×1 convolution and a ReLU. The
    coarser map is the last stage itself for the middle head, and the map of the middle head for the finest head. Maps
    are as wide as their stages. Pooling is global; the released code is bound to 224 pixels.

    Parameters
    ----------
    backbone_name, n_classes, folded_norms
        See `Classifier`.
    mask : {"none", "released", "hierarchical"}
        Which absent classes are left out of the loss, see `chr_loss`.
    threshold : float or None
        Limit of the mask, a logit. None: -20 for ``"released"``, as in the released code; -3, a probability of 5 %, for
        ``"hierarchical"``, which is our choice: that mask is our reading of the paper, and has no published limit.
    prediction : {"deepest", "average"}
        Logits of the coarsest head, as in the released code, or the mean of the three heads.

    Notes
    -----
    Features for phase 2 are the pooled maps of the three heads side by side, coarsest first.
    """

    architecture = "chr"

    def __init__(
        self,
        backbone_name: str,
        n_classes: int,
        *,
        mask: str,
        threshold: float | None,
        prediction: str,
        folded_norms: bool = False,
    ) -> None:
        for name, value, known in (("mask", mask, MASKS), ("prediction", prediction, PREDICTIONS)):
            if value not in known:
                raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")
        super().__init__(
            backbone_name, n_classes, mask=mask, threshold=threshold, prediction=prediction, folded_norms=folded_norms
        )
        self.mask, self.threshold, self.prediction = mask, threshold, prediction
        deepest, middle, finest = backbone(backbone_name).channels[:0:-1]
        widths = (deepest, middle, finest)
        self.n_features = sum(widths)
        self.stages = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
        self.merge = nn.ModuleList(
            nn.Conv2d(width + coarser, width, 1) for width, coarser in ((middle, deepest), (finest, middle))
        )
        self.classify = nn.ModuleList(nn.Linear(width, n_classes) for width in widths)

    def loss(self, images: Tensor, labels: Tensor, boxes: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Sum of the losses of the heads (`chr_loss`), see `Classifier.loss`."""
        heads = self.heads(self.pool(self.levels(images)))
        return chr_loss(heads, labels, self.mask, self.threshold)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Give the refined maps of the three heads, fine to coarse: (N, channels, h, w) each."""
        stages = self.backbone(self.normalise(images))
        coarser = stages["L4"]
        maps = [self.stages[0](coarser).relu()]
        for level, stage, merge in zip((stages["L3"], stages["L2"]), list(self.stages)[1:], self.merge, strict=True):
            enlarged = F.interpolate(coarser, size=level.shape[2:], mode="bilinear", align_corners=False)
            coarser = merge(torch.cat([stage(level).relu(), enlarged], 1)).relu()
            maps.append(coarser)
        return maps[::-1]

    def classify_pooled(self, pooled: list[Tensor]) -> Prediction:
        """Classify the output of `pool`."""
        heads = self.heads(pooled)
        logits = heads[0] if self.prediction == "deepest" else torch.stack(heads).mean(0)
        return Prediction(logits, torch.cat(pooled[::-1], 1).float())

    def heads(self, pooled: list[Tensor]) -> list[Tensor]:
        """Logits (N, C) of each head, coarsest first, from the output of `pool`."""
        return [fc(values).float() for fc, values in zip(self.classify, reversed(pooled), strict=True)]


def chr_loss(heads: Sequence[Tensor], labels: Tensor, mask: str, threshold: float | None) -> Tensor:
    """Masked binary cross-entropy: its mean over images and classes, summed over the heads.

    Parameters
    ----------
    heads : sequence of float Tensor (N, C)
        Logits, coarsest head first.
    labels : float Tensor (N, C)
        0 or 1.
    mask : {"none", "released", "hierarchical"}
        The class-balanced loss leaves out absent classes that are recognised already. ``"released"``: if the head's own
        logit is below the threshold, as in the released code. ``"hierarchical"``: if the logit of the next coarser
        head is, so that each head filters for the next; the coarsest head has no mask. ``"none"``: no class is left
        out.
    threshold : float or None
        See `CHRClassifier`.
    """
    limit = _THRESHOLDS[mask] if threshold is None else threshold
    judges: dict[str, Sequence[Tensor | None]] = {
        "none": [None] * len(heads),
        "released": heads,
        "hierarchical": [None, *heads[:-1]],
    }
    total = labels.new_zeros(())
    for logits, judge in zip(heads, judges[mask], strict=True):
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        if judge is not None:
            loss = loss.masked_fill((labels == 0) & (judge < limit), 0.0)
        total = total + loss.mean()
    return total
