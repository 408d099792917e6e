"""Statistics of batch normalisation, computed anew with the final weights.

Running averages mix the statistics of the last dozens of steps, each with other weights. The weights of a GAN still
move at the end, so its networks in eval mode differ from the networks that were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def renew_batch_statistics(networks: nn.Module, forward: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Replace the running averages by the mean statistics of `batches`; leave `networks` in eval mode.

    All other layers are in eval mode meanwhile, as in scoring: no dropout, and codes are means instead of draws.

    Parameters
    ----------
    networks : Module
        Trained; weights stay as they are. Without batch normalisation, `batches` is not read.
    forward : callable
        ``forward(x)`` passes a batch through everything that scoring uses. Other layers keep their averages.
    batches : iterable of Tensor
        Training images, two or more in each: shape (b, C, S, S) in [-1, 1].
    """
    networks.eval()
    layers = [layer for layer in networks.modules() if isinstance(layer, _BatchNorm)]
    if not layers:
        return
    before = [(layer.momentum, deepcopy(layer.state_dict())) for layer in layers]
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average, in which each batch counts the same
    with torch.no_grad():
        for x in batches:
            forward(x)
    for layer, (momentum, state) in zip(layers, before, strict=True):
        layer.momentum = momentum
        layer.eval()
        if not layer.num_batches_tracked:
            layer.load_state_dict(state)
