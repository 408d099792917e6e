"""Where in the image a class was seen: the positions that a classifier has learnt from boxes, else HiResCAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gbad.data.arrays import Pixels
from gbad.data.transforms import eval_preset
from gbad.errors import GbadError
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.evidence import evidence_maps, knows_positions
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.prediction import full_precision


def class_heatmaps(model: Classifier, images: Pixels, columns: list[int] | None = None) -> npt.NDArray[np.float32]:
    """Evidence for classes at each place of images, for any architecture.

    It is what `gbad.phase1_classifier.evidence.evidence_maps` gives: positions learnt from boxes, or HiResCAM.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    images : uint8 array (n, size, size, 3)
        RGB, decoded as for prediction.
    columns : list of k int, optional
        Columns of the classes. Default: all.

    Returns
    -------
    float32 array (n, k, h, w)
        In [0, 1], at the resolution of the finest map. HiResCAM is scaled to a maximum of 1 for each image and class;
        all zero if there is no evidence.
    """
    device = next(model.parameters()).device
    with torch.no_grad(), full_precision():
        levels = model.levels(eval_preset(images).to(device))
        maps = evidence_maps(model, levels, columns)
    if not knows_positions(model):  # these are probabilities
        peaks = maps.amax((2, 3), keepdim=True)
        maps = torch.where(peaks > 0, maps / peaks, maps)
    return np.asarray(maps.cpu().numpy())


def class_heatmap(model: Classifier, image: Pixels, class_index: int) -> npt.NDArray[np.float32]:
    """Evidence for one class in one image, (size, size, 3): float32 (h, w), see `class_heatmaps`."""
    return np.asarray(class_heatmaps(model, image[None], [class_index])[0, 0])


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
