"""Classify images with a trained classifier, in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gbad.data.arrays import Pixels, Rows
from gbad.data.source import ImageSource, stream
from gbad.data.transforms import eval_preset
from gbad.errors import ImageError
from gbad.phase1_classifier.classifier import Classifier, Prediction

VIEWS = (1, 2, 4)
"""How many views of an image can be classified. 1: the image; 2: its left-right mirror image too; 4: both upside down
too."""

FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""Axes of a batch (n, 3, H, W) that each view turns round."""


def predict_batch(
    model: Classifier, images: Pixels, views: int = 1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Classify decoded images in float32, whatever precision the model was trained in.

    A bag may lie on the belt in any orientation. The mean over mirrored views is therefore less noisy; the cost grows
    with the number of views.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    images : uint8 array (n, size, size, 3)
        RGB.
    views : {1, 2, 4}
        See `VIEWS`.

    Returns
    -------
    logits : float64 array (n, C)
        Mean over the views.
    features : float32 array (n, D)
        Mean over the views.
    """
    device = next(model.parameters()).device
    # TensorFloat-32 would make a GPU's scores differ from a CPU's in the third digit.
    with torch.inference_mode(), full_precision():
        pixels = eval_preset(images).to(device)
        seen = [predicted(model, pixels.flip(flip) if flip else pixels) for flip in FLIPS[:views]]
        logits, features = (torch.stack(values).mean(0) for values in zip(*seen, strict=True))
    return logits.cpu().double().numpy(), features.cpu().numpy()


def predicted(model: Classifier, pixels: Tensor) -> Prediction:
    """Classify images as `Classifier.forward` does, by the model's graph if it has one."""
    prediction: Prediction = model(pixels) if model.graph is None else model.graph(pixels)[0]
    return prediction


def full_precision() -> AbstractContextManager[None]:
    """Switch TensorFloat-32 off inside the block, and leave all other settings of cuDNN as they are."""
    cudnn = torch.backends.cudnn
    # Called with allow_tf32 alone, flags would switch cuDNN itself off.
    return cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)


def predict_stream(
    model: Classifier, source: ImageSource, rows: Sequence[int] | Rows, batch_size: int = 32, views: int = 1
) -> Iterator[tuple[Rows, npt.NDArray[np.float64], npt.NDArray[np.float32], dict[int, ImageError]]]:
    """Classify images in the order of `rows`: ``(rows, logits, features, errors)`` per batch, without bad rows."""
    for done, images, errors in stream(source, rows, batch_size):
        yield done, *predict_batch(model, images, views), errors
