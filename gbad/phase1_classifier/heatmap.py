"""Where in the image a class was seen: the positions that a classifier has learnt from boxes, else HiResCAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from gbad.data.arrays import Pixels
from gbad.data.transforms import eval_preset
from gbad.errors import GbadError
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.prediction import full_precision


def class_heatmap(model: Classifier, image: Pixels, class_index: int) -> npt.NDArray[np.float32]:
    """Evidence for a class at each place of an image.

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
    image : uint8 array (size, size, 3)
        RGB, decoded as for prediction.
    class_index : int
        Column of the class.

    Returns
    -------
    float32 array (h, w)
        In [0, 1], at the resolution of the finest map; all zero if there is no evidence for the class.
    """
    device = next(model.parameters()).device
    if isinstance(model, ThreatClassifier) and model.position is not None:
        return np.asarray(position_maps(model, image[None])[0, class_index])
    with torch.no_grad():
        levels = model.levels(eval_preset(image[None]).to(device))
    with torch.enable_grad():
        inputs = [level.detach().requires_grad_(True) for level in levels]
        logit = model.classify_levels(inputs).logits[0, class_index]
        # Maps without a part in the prediction, such as the finer maps of CHR, get a gradient of zero.
        gradients = torch.autograd.grad(logit, inputs, materialize_grads=True)
    size = levels[0].shape[2:]
    total = torch.zeros(size, device=device)
    for level, gradient in zip(levels, gradients, strict=True):
        # Gradient times activation, summed over channels: the part of each place in the logit, to first order.
        evidence = (gradient.detach() * level).sum(1, keepdim=True).relu()  # PyTorch 2.6: a zero may ask for a gradient
        share = evidence[0, 0].numel() / total.numel()  # interpolation repeats the value of a cell
        total += share * F.interpolate(evidence, size=size, mode="bilinear", align_corners=False)[0, 0]
    peak = total.max()
    return np.asarray((total / peak if peak > 0 else total).cpu().numpy())


def position_maps(model: Classifier, images: Pixels) -> npt.NDArray[np.float32]:
    """Probability of each class at each place, as learnt from boxes.

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
