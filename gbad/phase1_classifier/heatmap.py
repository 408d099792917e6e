"""Where in the image a class was seen: the positions that a classifier has learnt from boxes, else HiResCAM."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from gbad.data.transforms import eval_preset
from gbad.errors import GbadError
from gbad.phase1_classifier.architectures import Classifier
from gbad.phase1_classifier.features import full_precision
from gbad.phase1_classifier.model import ThreatClassifier


def class_heatmap(model: Classifier, image: np.ndarray, class_index: int) -> np.ndarray:
    """Evidence for a class at each place of an image.

    A classifier that has learnt positions gives their probabilities. For others it is HiResCAM (Draelos, Carin, "Use
    HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks", 2020) on each level l of
    the maps that are pooled, summed over the levels::

        M = Σ_l (h_l w_l / HW) · enlarged(max(0, Σ_k A_lk ⊙ ∂s/∂A_lk)),

    where s is the class's logit, A_lk channel k of level l, h_l × w_l its cells, and H × W those of the finest level. A
    cell of a coarse level is enlarged to HW / h_l w_l cells, among which its evidence is divided: each level counts in
    the sum over M as it does in the logit, however coarse it is (exactly, where H is a multiple of h_l and W of w_l;
    nearly, elsewhere). The paper has one level.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    image : uint8 array (size, size, 3)
        RGB, decoded as for prediction.
    class_index : int
        Column of the class.

    Returns
    -------
    float32 array (h, w)
        In [0, 1], at the resolution of the finest map; all zero if nothing in the image speaks for the class.
    """
    device = next(model.parameters()).device
    if isinstance(model, ThreatClassifier) and model.position is not None:
        return position_maps(model, image[None])[0, class_index]
    with torch.no_grad():
        levels = model.levels(eval_preset(image[None]).to(device))
    with torch.enable_grad():
        inputs = [level.detach().requires_grad_(True) for level in levels]
        logit = model.classify_levels(inputs).logits[0, class_index]
        # Maps that have no part in the prediction, as the finer ones of CHR, get a gradient of zero.
        gradients = torch.autograd.grad(logit, inputs, materialize_grads=True)
    size = levels[0].shape[2:]
    total = torch.zeros(size, device=device)
    for level, gradient in zip(levels, gradients, strict=True):
        # Gradient times activation, summed over channels: the share of each place in the logit, to first order.
        evidence = (gradient * level).sum(1, keepdim=True).relu()
        share = evidence[0, 0].numel() / total.numel()  # interpolation repeats a cell's value, which is to be divided
        total += share * F.interpolate(evidence, size=size, mode="bilinear", align_corners=False)[0, 0]
    peak = total.max()
    return (total / peak if peak > 0 else total).cpu().numpy()


def position_maps(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Probability that a place is in a threat of each class, as learnt from boxes.

    Parameters
    ----------
    model : Classifier
        In evaluation mode, trained with a position weight.
    images : uint8 array (n, size, size, 3)
        RGB, decoded as for prediction.

    Returns
    -------
    float32 array (n, C, h, w)
        In [0, 1], at the resolution of L1.

    Raises
    ------
    GbadError
        If the classifier has not learnt positions.
    """
    if not isinstance(model, ThreatClassifier):
        raise GbadError("only a classifier with a feature pyramid can learn positions: use the architecture fpn")
    device = next(model.parameters()).device
    with torch.inference_mode(), full_precision():
        return model.position_maps(eval_preset(images).to(device)).sigmoid().cpu().numpy()
