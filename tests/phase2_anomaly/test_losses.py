from __future__ import annotations

import math

import pytest
import torch

from gbad.phase2_anomaly.losses import (
    discriminator_loss,
    encoder_generator_loss,
    feature_matching_loss,
    reconstruction_loss,
)


def test_discriminator_loss_is_the_corrected_equation_2() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    expected = 0.0
    for logit in (2.0, -1.0):
        expected -= math.log(1 / (1 + math.exp(-logit))) / 2  # log D(x, E(x))
    for logit in (0.5, -3.0):
        expected -= math.log(1 - 1 / (1 + math.exp(-logit))) / 2  # log(1 - D(G(z), z)), not 1 - log D
    assert discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)


def test_encoder_and_generator_have_the_labels_exchanged() -> None:
    real, fake = torch.randn(5), torch.randn(5)
    assert torch.equal(encoder_generator_loss(real, fake), discriminator_loss(fake, real))


def test_adversarial_losses_stay_finite_and_keep_their_gradient_for_a_sure_discriminator() -> None:
    real, fake = torch.full((3,), 1000.0), torch.full((3,), -1000.0)
    real.requires_grad_()
    fake.requires_grad_()
    loss = encoder_generator_loss(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(2000.0)
    assert torch.allclose(real.grad, torch.full((3,), 1 / 3))  # type: ignore[arg-type]
    assert torch.allclose(fake.grad, torch.full((3,), -1 / 3))  # type: ignore[arg-type]
    assert discriminator_loss(real, fake).item() == 0.0


def test_reconstruction_is_the_full_l1_norm_of_each_row() -> None:
    x = torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]])
    assert reconstruction_loss(x, torch.tensor([[0.0, 2.0, 3.5], [0.0, 0.0, 0.0]])).tolist() == [5.5, 0.0]


def test_feature_matching_is_the_l2_norm_of_each_row() -> None:
    assert feature_matching_loss(torch.tensor([[1.0, 2.0, 2.0]]), torch.zeros(1, 3)).tolist() == [3.0]
