from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.features.bigan_networks import BiGAN, add_spectral_norm, remove_spectral_norm
from gbad.phase2_anomaly.features.bigan_training import (
    TrainingSettings,
    discriminator_step,
    encoder_generator_step,
    make_optimisers,
    train_bigan,
)
from gbad.phase2_anomaly.losses import encoder_generator_loss
from gbad.runtime.randomness import forked_rng

SETTINGS = TrainingSettings(
    n_rows=8,
    n_epochs=1,
    n_batches=1,
    learning_rate=1e-2,
    betas=(0.5, 0.999),
    reconstruction_weight=10.0,
    reconstruction_gradient="G",
    ema_decay=0.99,
    seed=0,
)


@pytest.fixture
def networks() -> BiGAN:
    with forked_rng(0):
        return BiGAN(6, latent_size=3, hidden_sizes=(8, 7), discriminator_sizes=(8, 4, 5), dropout=0.0)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    with forked_rng(1):
        return torch.randn(8, 6), torch.randn(8, 3)


def moved(before: nn.Module, after: nn.Module) -> set[str]:
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    return {name.split(".")[0] for (name, old), new in pairs if not torch.equal(old, new)}


def test_discriminator_step_moves_the_discriminator_only(networks: BiGAN, batch: tuple[Tensor, Tensor]) -> None:
    x, z = batch
    before = copy.deepcopy(networks)
    of_d, _ = make_optimisers(networks, SETTINGS)
    loss = discriminator_step(networks, of_d, x, networks.encoder(x), z, networks.generator(z))
    assert moved(before, networks) == {"discriminator"}
    assert all(p.grad is None for p in [*networks.encoder.parameters(), *networks.generator.parameters()])
    real, fake = before.discriminator(x, before.encoder(x)), before.discriminator(before.generator(z), z)
    expected = nn.BCEWithLogitsLoss()(real, torch.ones(8)) + nn.BCEWithLogitsLoss()(fake, torch.zeros(8))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_encoder_generator_step_moves_encoder_and_generator_only(networks: BiGAN, batch: tuple[Tensor, Tensor]) -> None:
    x, z = batch
    before = copy.deepcopy(networks)
    _, of_eg = make_optimisers(networks, SETTINGS)
    encoder_generator_step(networks, of_eg, x, networks.encoder(x), z, networks.generator(z), 10.0, "G")
    assert moved(before, networks) == {"encoder", "generator"}
    assert all(p.grad is None for p in networks.discriminator.parameters())


def test_encoder_and_generator_share_one_pair_of_forward_passes_with_the_discriminator_step(
    networks: BiGAN, batch: tuple[Tensor, Tensor]
) -> None:
    x, z = batch
    of_d, of_eg = make_optimisers(networks, SETTINGS)
    code, generated = networks.encoder(x), networks.generator(z)
    discriminator_step(networks, of_d, x, code, z, generated)
    d_after = copy.deepcopy(networks.discriminator)
    adversarial, reconstruction = encoder_generator_step(networks, of_eg, x, code, z, generated, 10.0, "G")
    expected = encoder_generator_loss(d_after(x, code), d_after(generated, z))
    assert adversarial.item() == pytest.approx(expected.item(), rel=1e-5)
    assert 0 < reconstruction.item() < 10


@pytest.mark.parametrize(("gradient", "reaches_encoder"), [("G", False), ("GE", True)])
def test_reconstruction_reaches_the_encoder_only_if_asked(
    networks: BiGAN, batch: tuple[Tensor, Tensor], gradient: str, reaches_encoder: bool
) -> None:
    x, z = batch

    def gradients(weight: float) -> tuple[Tensor, Tensor]:
        copied = copy.deepcopy(networks)
        _, of_eg = make_optimisers(copied, SETTINGS)
        encoder_generator_step(copied, of_eg, x, copied.encoder(x), z, copied.generator(z), weight, gradient)
        return copied.encoder[0].weight.grad, copied.generator[0].weight.grad  # type: ignore[return-value]

    of_encoder, of_generator = gradients(0.0)
    of_encoder_10, of_generator_10 = gradients(10.0)
    assert torch.allclose(of_encoder, of_encoder_10) != reaches_encoder
    assert not torch.allclose(of_generator, of_generator_10)


def test_without_reconstruction_the_generator_has_no_part_in_the_encoders_gradient(
    networks: BiGAN, batch: tuple[Tensor, Tensor]
) -> None:
    x, z = batch
    _, of_eg = make_optimisers(networks, SETTINGS)
    expected = torch.autograd.grad(
        nn.functional.softplus(networks.discriminator(x, networks.encoder(x))).mean(), networks.encoder[0].weight
    )[0]
    encoder_generator_step(networks, of_eg, x, networks.encoder(x), z, networks.generator(z), 0.0, "G")
    assert torch.allclose(networks.encoder[0].weight.grad, expected)  # type: ignore[arg-type]


def test_every_row_is_in_one_of_equal_batches(networks: BiGAN) -> None:
    seen: list[np.ndarray] = []

    def read(rows: np.ndarray) -> Tensor:
        seen.append(rows)
        return torch.randn(len(rows), 6)

    train_bigan(networks, read, replace(SETTINGS, n_rows=65, n_batches=3))
    assert sorted(len(rows) for rows in seen) == [21, 22, 22]
    assert sorted(np.concatenate(seen)) == list(range(65))


def test_spectral_norm_bounds_the_discriminator_and_folds_away(networks: BiGAN, batch: tuple[Tensor, Tensor]) -> None:
    names = set(networks.state_dict())
    with torch.no_grad():
        networks.discriminator.joint[0].weight.mul_(50)
    with forked_rng(0):
        add_spectral_norm(networks)
        for _ in range(50):  # each pass improves the estimate of the norm
            networks.discriminator(torch.randn(4, 6), torch.randn(4, 3))
    networks.eval()
    logits = networks.discriminator(*batch)
    remove_spectral_norm(networks)
    assert set(networks.state_dict()) == names
    assert torch.equal(networks.discriminator(*batch), logits)
    for layer in networks.discriminator.modules():
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, abs=1e-2)
