"""How weights move in training: the optimiser, its learning rate, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gbad.phase1_classifier.classifier import Classifier

_Tensors = list[Tensor] | tuple[Tensor, ...]


def build_optimiser(
    name: str, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 for ``"sgd"``, AdamW for ``"adamw"``; parameters that are not trained are left out."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    # Fused, it passes over each weight once. On a CPU, plain AdamW takes a fifth of a step of a small network.
    if name == "sgd":
        return torch.optim.SGD(trained, learning_rate, momentum=0.9, weight_decay=weight_decay, fused=True)
    return torch.optim.AdamW(trained, learning_rate, weight_decay=weight_decay, fused=True)


def relative_rate(done: float, warm_up: float = 0.05) -> float:
    """Learning rate as a share of its peak: a linear rise, then half a cosine.

    Parameters
    ----------
    done : float
        Share of all steps that are done, in [0, 1].
    warm_up : float
        Share of all steps in which the rate rises.
    """
    if done < warm_up:
        return (done + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


class WeightAverage(AveragedModel):
    """Exponential moving average of a classifier's weights and buffers.

    Parameters
    ----------
    model : Classifier
    decay : float
        Of the average, per step. It is shorter at the start, so that the initial weights are forgotten.
    """

    module: Classifier

    def __init__(self, model: Classifier, decay: float) -> None:
        def update(averaged: _Tensors, current: _Tensors, count: Tensor | int) -> None:
            steps = int(count)
            if averaged[0].is_floating_point():
                torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + steps) / (10 + steps)))
            else:  # the step counters of batch normalisation
                torch._foreach_copy_(averaged, current)

        super().__init__(model, multi_avg_fn=update, use_buffers=True)
