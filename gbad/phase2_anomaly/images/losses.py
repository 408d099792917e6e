"""Losses that several image-level systems share, as pure functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Loss of a generator, non-saturating: mean of ``-log D(G(.))``; scalar."""
    return softplus(-fake_logits).mean()


def mean_absolute(x: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of two batches; scalar."""
    return (x - other).abs().mean()


def mean_square(x: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of two batches; scalar."""
    return (x - other).square().mean()


def l1_norm(x: Tensor, other: Tensor) -> Tensor:
    """Sum of the absolute differences for each image: (b, ...) -> (b,)."""
    return (x - other).abs().flatten(1).sum(dim=1)


def per_image(values: Tensor) -> Tensor:
    """Mean over all but the first dimension: (b, ...) -> (b,)."""
    return values.flatten(1).mean(dim=1)


def residual_map(x: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference over the channels of each pixel: (b, C, S, S) -> (b, S, S)."""
    return (x - other).abs().mean(dim=1)
