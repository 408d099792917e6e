"""Evidence for each class at each place of images: what explanations show, and where the second look goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from gbad.data.arrays import Pixels
from gbad.data.transforms import eval_preset
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.prediction import FLIPS, full_precision, predicted

_CELLS = 32  # of a map, at least, along each side, where the highest place is looked for
_TOGETHER = 16  # images whose gradients are computed together: each level of each class takes memory


class Seen(NamedTuple):
    """What a classifier says of n images, and the maps that it says it from.

    Attributes
    ----------
    logits : float64 array (n, C)
        Mean over the views.
    features : float32 array (n, D)
        Mean over the views.
    levels : list of float32 Tensor (n, channels, h, w)
        Maps of the images as they are, fine to coarse, see `Classifier.levels`.
    """

    logits: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    levels: list[Tensor]


def see(model: Classifier, images: Pixels, views: int = 1) -> Seen:
    """Classify images as `gbad.phase1_classifier.predict_batch` does, and keep the maps for `evidence_peaks`.

    Parameters and values as there.
    """
    device = next(model.parameters()).device
    with torch.no_grad(), full_precision():  # the maps of inference mode could have no gradient
        pixels = eval_preset(images).to(device)
        if model.graph is None:
            levels = model.levels(pixels)
            first = model.classify_levels(levels)
        else:
            first, levels = model.graph(pixels)
        seen = [first, *(predicted(model, pixels.flip(flip)) for flip in FLIPS[1:views])]
        logits, features = (torch.stack(values).mean(0) for values in zip(*seen, strict=True))
    return Seen(logits.cpu().double().numpy(), features.cpu().numpy(), levels)


def knows_positions(model: Classifier) -> TypeGuard[ThreatClassifier]:
    """Whether a classifier has learnt from boxes where threats are."""
    return isinstance(model, ThreatClassifier) and model.position is not None


def evidence_maps(model: Classifier, levels: list[Tensor], columns: list[int] | None = None) -> Tensor:
    """Evidence for classes at each place, from the maps that a classifier gives for images.

    A classifier that has learnt positions gives their probabilities. For other classifiers the evidence is HiResCAM
    (Draelos, Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    2020) on each level l of the maps that are pooled, summed over the levels::

        M = Σ_l (h_l w_l / HW) · enlarged(max(0, Σ_k A_lk ⊙ ∂s/∂A_lk)),

    where s is the class's logit, A_lk is channel k of level l with h_l × w_l cells, and H × W are the cells of the
    finest level. A cell of a coarse level is enlarged to HW / h_l w_l cells, and its evidence is divided among them. So
    each level has the same part in the sum over M as in the logit, however coarse it is: exactly if H is a multiple of
    h_l and W of w_l, otherwise nearly. The paper of HiResCAM has one level.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    levels : list of float32 Tensor (n, channels, h, w)
        From `Classifier.levels`, outside of inference mode.
    columns : list of k int, optional
        Columns of the classes. Default: all.

    Returns
    -------
    float32 Tensor (n, k, h, w)
        0 or larger, at the resolution of the finest level.
    """
    if knows_positions(model):
        assert model.position is not None
        with torch.no_grad():
            maps = model.position.heat_map(levels[: len(model.heads)]).sigmoid()
        return maps if columns is None else maps[:, columns]
    chosen = [*range(model.spec["n_classes"])] if columns is None else columns
    with torch.enable_grad():
        inputs = [level.detach().requires_grad_(True) for level in levels]
        # Pooling takes each channel by itself, so one gradient of all sums says how much of each place it takes: there
        # is no need of a gradient of the maps for each class.
        pooled = model.pool(inputs)
        taken = torch.autograd.grad([values.sum() for values in pooled], inputs)
        pooled = [values.detach().requires_grad_(True) for values in pooled]
        logits = model.classify_pooled(pooled).logits
        # Images do not depend on one another, so the sum has the gradient of each. Maps without a part in the
        # prediction, such as the finer maps of CHR, get a gradient of zero.
        slopes = [
            torch.autograd.grad(logits[:, column].sum(), pooled, retain_graph=True, materialize_grads=True)
            for column in chosen
        ]
    total = torch.zeros((len(logits), len(chosen), *levels[0].shape[2:]), device=logits.device)
    for level, part, *of_classes in zip(levels, taken, *slopes, strict=True):
        # Gradient times activation, summed over channels: the part of each place in the logit, to first order.
        # PyTorch 2.6: a zero may ask for a gradient.
        slope = torch.stack([gradient.detach() for gradient in of_classes], 1)
        evidence = torch.einsum("nkc,nchw->nkhw", slope, part * level).relu()
        share = evidence[0, 0].numel() / total[0, 0].numel()  # interpolation repeats the value of a cell
        total += share * F.interpolate(evidence, size=total.shape[2:], mode="bilinear", align_corners=False)
    return total


def stage_evidence(model: Classifier, images: Pixels, columns: Sequence[int]) -> npt.NDArray[np.float64]:
    """Evidence of a network without a pyramid for one class an image: HiResCAM at its last two stages, L3 and L4.

    The last stage, which is classified, covers a threat, but is coarse: 3 by 3 cells for a region of 96 px, of which
    the highest often lies beside the threat. The stage before it points better (``studies/places.py``).

    Parameters
    ----------
    model : Classifier
        In evaluation mode; its only level is the last stage.
    images : uint8 array (n, size, size, 3)
        RGB.
    columns : sequence of n int
        Class of each image.

    Returns
    -------
    float64 array (n, h, w)
        Sum of both stages, each with the maximum 1 unless it is all zero; at the resolution of L3.
    """
    return together([*stage_maps(model, images, columns, ("L3", "L4")).values()])


def stage_maps(
    model: Classifier, images: Pixels, columns: Sequence[int], stages: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """HiResCAM at some stages, as in `stage_evidence`: float64 (n, h, w), 0 or larger, by the names of the stages."""
    device = next(model.parameters()).device
    with torch.enable_grad(), full_precision():
        pixels = eval_preset(images).to(device).requires_grad_(True)  # frozen weights alone ask for no gradient
        levels = model.backbone(model.normalise(pixels))
        logits = model.classify_levels([levels["L4"]]).logits
        chosen = {stage: levels[stage] for stage in stages}
        gradients = torch.autograd.grad(logits[range(len(columns)), [*columns]].sum(), [*chosen.values()])
    return {
        stage: np.asarray((gradient * level.detach()).sum(1).relu().cpu().double().numpy())
        for (stage, level), gradient in zip(chosen.items(), gradients, strict=True)
    }


def together(maps: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Maps of several stages (n, h, w), each with the maximum 1 unless it is all zero, summed at the first's size."""
    total = np.zeros_like(maps[0])
    for one in maps:
        enlarged = F.interpolate(torch.from_numpy(one)[:, None], size=total.shape[1:], mode="bilinear")[:, 0].numpy()
        total += enlarged / np.maximum(one.max((1, 2), keepdims=True), np.finfo(np.float32).tiny)
    return total


def evidence_peaks(model: Classifier, levels: list[Tensor], extent: float) -> npt.NDArray[np.float32]:
    """Place around which there is the most evidence for each class, within about a square.

    Parameters
    ----------
    model, levels
        As in `evidence_maps`.
    extent : float
        Side of the square as a share of the image's side, in (0, 1]. The middle counts most.

    Returns
    -------
    float32 array (n, C, 2)
        x and y as shares of the image's width and height, in (0, 1); the middle of a class without evidence is (½, ½).
    """
    count, classes = len(levels[0]), model.spec["n_classes"]
    found = np.empty((count, classes, 2), np.float32)
    for start in range(0, count, _TOGETHER):
        part = slice(start, start + _TOGETHER)
        with full_precision():
            maps = evidence_maps(model, [level[part] for level in levels])
        found[part] = _peaks(maps, extent).cpu().numpy()
    return found


def _peaks(maps: Tensor, extent: float) -> Tensor:
    """Centres of the windows with the largest sums: (n, C, h, w) -> (n, C, 2)."""
    if min(maps.shape[2:]) < _CELLS:  # a coarse map has its highest place between its cells
        maps = F.interpolate(maps, size=(_CELLS, _CELLS), mode="bilinear", align_corners=False)
    height, width = maps.shape[2:]
    # Twice half as wide: the sums then fall off from one place. A plain window that is wider than the evidence has the
    # same sum at many places, of which rounding would choose one.
    half = [max(1, round(extent * side / 2)) // 2 * 2 + 1 for side in (height, width)]  # odd: they have a middle
    down, right = half
    sums = maps
    for _ in range(2):  # the zeros beyond the border count: a window there would hold less of the image
        # One direction after the other: 2 · side additions for a place, not side².
        sums = F.avg_pool2d(sums, (down, 1), 1, (down // 2, 0))
        sums = F.avg_pool2d(sums, (1, right), 1, (0, right // 2))
    highest, place = sums.flatten(2).max(2)
    row, column = place // width, place % width
    centres = torch.stack([(column + 0.5) / width, (row + 0.5) / height], 2)
    return torch.where((highest > 0)[:, :, None], centres, torch.full_like(centres, 0.5))
