"""Where in the image a class was seen: Grad-CAM (Selvaraju et al., ICCV 2017) on the maps that are pooled."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from gbad.data.transforms import eval_preset
from gbad.phase1_classifier.architectures import Classifier


def class_heatmap(model: Classifier, image: np.ndarray, class_index: int) -> np.ndarray:
    """Evidence for a class at each place of an image.

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
        total += F.interpolate(evidence, size=size, mode="bilinear", align_corners=False)[0, 0]
    peak = total.max()
    return (total / peak if peak > 0 else total).cpu().numpy()
