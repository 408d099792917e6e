"""Optimisers of networks that train against each other, and weights that are averaged over the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def adam(modules: Iterable[nn.Module], learning_rate: float, beta1: float, beta2: float = 0.999) -> torch.optim.Adam:
    """Make one Adam for all parameters of one or several networks.

    Parameters
    ----------
    modules : iterable of Module
        All on one device.
    learning_rate : float
    beta1, beta2 : float
        Decay rates for the mean and the mean square of the gradient.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, beta2), fused=fused)


def move(optimiser: torch.optim.Optimizer, loss: Tensor, *, keep_graph: bool = False) -> None:
    """Step down the gradient of `loss` in the optimiser's own parameters only; no other gradient is touched.

    With `keep_graph`, another loss from the same forward pass can be used afterwards, as long as its gradient passes
    through no weight that has moved.
    """
    optimiser.zero_grad()
    moved = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    torch.autograd.backward(loss, inputs=moved, retain_graph=keep_graph)
    optimiser.step()


def move_all(optimisers: Mapping[str, torch.optim.Optimizer], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move each optimiser by the loss of its name, in the order of `losses`; return the losses, detached.

    All losses come from one forward pass, see `move`.
    """
    last = len(losses) - 1
    for i, (name, loss) in enumerate(losses.items()):
        move(optimisers[name], loss, keep_graph=i < last)
    return {name: loss.detach() for name, loss in losses.items()}


@torch.no_grad()
def update_average(average: nn.Module, networks: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the current ones; early steps forget fast, so the start leaves no trace."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    for averaged, current in zip(average.parameters(), networks.parameters(), strict=True):
        averaged.lerp_(current, weight)
    for held, state in zip(average.buffers(), networks.buffers(), strict=True):
        held.copy_(state)
