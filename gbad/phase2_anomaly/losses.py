"""Losses of a bidirectional GAN as pure functions of tensors, with the equations of the paper.

Equation numbers refer to Dumagpi, Jung and Jeong, "A New GAN-Based Anomaly Detection (GBAD) Approach for Multi-Threat
Object Classification on Large-Scale X-Ray Security Images", IEICE Trans. Inf. & Syst., 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Cross-entropy of the discriminator, Eq. (2): pairs (x, E(x)) are real, pairs (G(z), z) are fake.

    The paper prints ``1 - log D`` for the second term; its source (EGBAD) has ``log(1 - D)``, which is right.

    Parameters
    ----------
    real_logits, fake_logits : Tensor of shape (n,)
        The discriminator's logits; any real number.

    Returns
    -------
    Tensor
        Scalar, 0 or larger: mean of ``-log D(x, E(x))`` plus mean of ``-log(1 - D(G(z), z))``.

    Examples
    --------
    >>> float(discriminator_loss(torch.zeros(4), torch.zeros(4)))  # 2 log 2: cannot tell them apart
    1.3862943649291992
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def encoder_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Loss of encoder and generator: the discriminator's with the labels exchanged.

    This non-saturating form has the same fixed point as the minimum of Eq. (2), and keeps its gradient if the
    discriminator is sure. The first term moves E only and the second moves G only.

    Parameters
    ----------
    real_logits, fake_logits : Tensor of shape (n,)
        The discriminator's logits; any real number.

    Returns
    -------
    Tensor
        Scalar, 0 or larger: mean of ``-log(1 - D(x, E(x)))`` plus mean of ``-log D(G(z), z)``.
    """
    return softplus(real_logits).mean() + softplus(-fake_logits).mean()


def reconstruction_loss(x: Tensor, reconstructed: Tensor) -> Tensor:
    """L1 norm of each row's residual, Eq. (3).

    Parameters
    ----------
    x, reconstructed : Tensor of shape (n, D)
        Standardised features and G(E(x)).

    Returns
    -------
    Tensor
        Shape (n,), 0 or larger: sums over the D features.

    Examples
    --------
    >>> reconstruction_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([3.])
    """
    return (x - reconstructed).abs().sum(dim=1)


def feature_matching_loss(features: Tensor, reconstructed_features: Tensor) -> Tensor:
    """L2 norm of each row's difference in the discriminator's penultimate layer, Eq. (4).

    Parameters
    ----------
    features, reconstructed_features : Tensor of shape (n, F)
        f_D(x, E(x)) and f_D(G(E(x)), E(x)); both keep the code of x.

    Returns
    -------
    Tensor
        Shape (n,), 0 or larger.

    Examples
    --------
    >>> feature_matching_loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([5.])
    """
    norm: Tensor = torch.linalg.vector_norm(features - reconstructed_features, dim=1)
    return norm
