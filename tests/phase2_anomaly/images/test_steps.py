"""Each system's losses and steps against the same equations written down by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from gbad.phase2_anomaly import (
    AnoGANDetector,
    EGBADDetector,
    GANomalyDetector,
    ImageAnomalyDetector,
    SkipGANomalyDetector,
    VAEDetector,
    preset,
)
from gbad.phase2_anomaly.images import ganomaly, skip_ganomaly, vae
from gbad.phase2_anomaly.images.anogan import search_rate
from gbad.phase2_anomaly.images.blocks import Discriminator, decoder, encoder, initialise
from gbad.phase2_anomaly.images.losses import l1_norm
from gbad.phase2_anomaly.images.skip_ganomaly import UNet
from gbad.runtime.randomness import forked_rng

TINY: dict[str, Any] = {"features": 2, "latent_size": 4}
RATE = 1e-3  # of plain gradient descent, so that a weight moves by RATE times its gradient


def real(logits: Tensor) -> Tensor:
    return cross_entropy(logits, torch.ones_like(logits))


def fake(logits: Tensor) -> Tensor:
    return cross_entropy(logits, torch.zeros_like(logits))


def of_ganomaly(networks: Any, x: Tensor) -> dict[str, Tensor]:
    y, z, z_again = networks.generator(x)
    (of_x, features), (of_y, features_of_y) = networks.discriminator(x), networks.discriminator(y)
    adversarial = nn.MSELoss()(features.detach(), features_of_y)
    return {
        "generator": adversarial + 50 * nn.L1Loss()(x, y) + nn.MSELoss()(z, z_again),
        "discriminator": 0.5 * (real(of_x) + fake(of_y)),
    }


def of_skip_ganomaly(networks: Any, x: Tensor) -> dict[str, Tensor]:
    y = networks.generator(x)
    (of_x, code), (of_y, code_of_y) = networks.discriminator(x), networks.discriminator(y)
    return {
        "generator": real(of_y) + 40 * nn.L1Loss()(x, y) + nn.MSELoss()(code.detach(), code_of_y),
        "discriminator": real(of_x) + fake(of_y),
    }


def of_released_skip_ganomaly(networks: Any, x: Tensor) -> dict[str, Tensor]:
    y = networks.generator(x)
    (of_x, code), (of_y, code_of_y) = networks.discriminator(x), networks.discriminator(y)
    latent = nn.MSELoss()(code, code_of_y)
    return {
        "generator": real(of_y) + 50 * nn.L1Loss()(x, y) + nn.MSELoss()(code.detach(), code_of_y),
        "discriminator": real(of_x) + fake(of_y) + latent,
    }


def of_egbad(networks: Any, x: Tensor) -> dict[str, Tensor]:
    z = torch.randn(len(x), 4)
    bigan = networks.current
    of_x, of_z = bigan.discriminator(x, bigan.encoder(x))[0], bigan.discriminator(bigan.generator(z), z)[0]
    return {"encoder_generator": fake(of_x) + real(of_z), "discriminator": real(of_x) + fake(of_z)}


def of_anogan(networks: Any, x: Tensor) -> dict[str, Tensor]:
    z = torch.randn(len(x), 4, 1, 1)
    of_x, of_z = networks.discriminator(x)[0], networks.discriminator(networks.generator(z))[0]
    return {"generator": real(of_z), "discriminator": real(of_x) + fake(of_z)}


def of_vae(networks: Any, x: Tensor) -> dict[str, Tensor]:
    mean, log_variance = networks.encode(x)
    normal = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    y = networks.decoder(mean + torch.randn_like(mean) * normal.scale)
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    return {"vae": (0.5 * (x - y) ** 2).sum() / len(x) + kl.sum() / len(x)}


BY_HAND: dict[str, tuple[ImageAnomalyDetector[Any], Callable[[Any, Tensor], dict[str, Tensor]]]] = {
    "ganomaly": (GANomalyDetector(**TINY), of_ganomaly),
    "skip_ganomaly": (SkipGANomalyDetector(**TINY), of_skip_ganomaly),
    "released skip_ganomaly": (
        SkipGANomalyDetector(**dict(preset("skip_ganomaly", "released")) | TINY),
        of_released_skip_ganomaly,
    ),
    "egbad": (EGBADDetector(**TINY), of_egbad),
    "anogan": (AnoGANDetector(**TINY), of_anogan),
    "vae": (VAEDetector(**TINY), of_vae),
}


@pytest.fixture
def x() -> Tensor:
    with forked_rng(7):
        return torch.rand(6, 1, 32, 32) * 2 - 1


@pytest.mark.parametrize("name", BY_HAND)
def test_each_step_follows_the_gradient_of_its_own_loss_and_no_other(name: str, x: Tensor) -> None:
    detector, by_hand = BY_HAND[name]
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks()
        for parameter in networks.parameters():
            parameter.data.mul_(2)  # away from the start, where many gradients nearly vanish
    before = copy.deepcopy(networks)
    optimisers = {
        key: torch.optim.SGD([p for group in of.param_groups for p in group["params"]], lr=RATE)
        for key, of in detector._optimisers(networks).items()
    }
    with forked_rng(1):
        found = detector._step(networks, optimisers, x)  # type: ignore[arg-type]
    with forked_rng(1):
        expected = by_hand(before, x)
    assert optimisers.keys() == expected.keys()
    total = sum(value.item() for value in expected.values())
    assert sum(value.item() for value in found.values()) == pytest.approx(total, rel=1e-5)
    twins = dict(zip(networks.parameters(), before.parameters(), strict=True))
    for key, optimiser in optimisers.items():
        moved = optimiser.param_groups[0]["params"]
        gradients = torch.autograd.grad(expected[key], [twins[p] for p in moved], retain_graph=True)
        for parameter, gradient in zip(moved, gradients, strict=True):
            scale = float(gradient.abs().max())
            assert torch.allclose(twins[parameter] - RATE * gradient, parameter, atol=1e-7 + 1e-3 * RATE * scale)


# ---- GANomaly -------------------------------------------------------------------------------------------------------


def test_a_discriminator_that_has_won_starts_anew(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = GANomalyDetector(**TINY)
    detector.channels_ = 1
    deviations = []
    for threshold in (0.0, 1e9):
        monkeypatch.setattr(ganomaly, "COLLAPSED", threshold)
        with forked_rng(0):
            networks = detector._networks()
            for parameter in networks.discriminator.parameters():
                parameter.data.mul_(10)
            detector._step(networks, detector._optimisers(networks), x)
        deviations.append(float(networks.discriminator.logit.weight.detach().std()))
    assert deviations == pytest.approx([0.2, 0.02], rel=0.3)


def test_ganomalys_score_is_the_mean_squared_difference_of_the_codes(x: Tensor) -> None:
    detector = GANomalyDetector(**TINY)
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks().eval()
    _, z, z_again = networks.generator(x)
    expected = ((z - z_again) ** 2).sum(dim=(1, 2, 3)) / 4
    assert torch.allclose(detector._score_parts(networks, x)[:, 0], expected)


# ---- Skip-GANomaly --------------------------------------------------------------------------------------------------


def test_skip_ganomalys_score_is_equation_5(x: Tensor) -> None:
    detector = SkipGANomalyDetector(**TINY, score_weight=0.7)
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks().eval()
        networks.generator.up[0][1].weight.data.mul_(50)  # residuals that differ
    y = networks.generator(x)
    code, code_of_y = networks.discriminator.code(x), networks.discriminator.code(y)
    residual, latent = ((x - y) ** 2).mean(dim=(1, 2, 3)), ((code - code_of_y) ** 2).mean(dim=(1, 2, 3))
    parts = detector._score_parts(networks, x)
    assert torch.allclose(parts, torch.stack([residual, latent], dim=1))
    expected = 0.7 * residual + 0.3 * latent
    assert np.allclose(detector._combine(parts.double().detach().numpy()), expected.detach().numpy(), rtol=1e-5)
    assert torch.allclose(detector._maps(networks, x).mean(dim=(1, 2)), residual)


def test_skip_ganomalys_score_as_published_has_the_norms_of_its_losses(x: Tensor) -> None:
    detector = SkipGANomalyDetector(**dict(preset("skip_ganomaly", "published")) | TINY)
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks().eval()
    y = networks.generator(x)
    code, code_of_y = networks.discriminator.code(x), networks.discriminator.code(y)
    expected = torch.stack([(x - y).abs().sum(dim=(1, 2, 3)), (code - code_of_y).square().sum(dim=(1, 2, 3)).sqrt()], 1)
    assert torch.allclose(detector._score_parts(networks, x), expected, rtol=1e-4)
    assert detector._part_weights() == (0.9, pytest.approx(0.1))


def test_skip_ganomalys_rate_falls_as_published_and_stays_as_released() -> None:
    rates = {
        name: [
            SkipGANomalyDetector(**dict(preset("skip_ganomaly", name)) | {"epochs": 4})._rate_factor(e)
            for e in range(4)
        ]
        for name in ("published", "released")
    }
    assert rates == {"published": [1.0, 1.0, 1.0, 0.5], "released": [1.0] * 4}


def test_a_released_discriminator_that_has_won_starts_anew(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = SkipGANomalyDetector(**dict(preset("skip_ganomaly", "released")) | TINY)
    detector.channels_ = 1
    deviations = []
    for threshold in (0.0, 1e9):
        monkeypatch.setattr(skip_ganomaly, "COLLAPSED", threshold)
        with forked_rng(0):
            networks = detector._networks()
            for parameter in networks.discriminator.parameters():
                parameter.data.mul_(10)
            detector._step(networks, detector._optimisers(networks), x)
        deviations.append(float(networks.discriminator.logit.weight.detach().std()))  # type: ignore[union-attr]
    assert deviations[1] < 0.3 * deviations[0]


def test_every_level_of_the_u_net_is_joined_to_its_mirror() -> None:
    with forked_rng(0):
        network = UNet(1, 2, 32).eval()
        image = torch.randn(1, 1, 32, 32)
    x, joins = image, []
    for down in network.down:
        x = down(x)
        joins.append(tuple(x.shape[1:]))
    assert joins == [(2, 16, 16), (4, 8, 8), (8, 4, 4), (16, 2, 2), (16, 1, 1)]
    assert [up[1].in_channels for up in network.up] == [4, 8, 16, 32, 16]
    network(image).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


# ---- EGBAD ----------------------------------------------------------------------------------------------------------


def test_egbads_score_keeps_the_code_of_the_image_and_uses_the_averaged_networks(x: Tensor) -> None:
    detector = EGBADDetector(**TINY)
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks().eval()
        for parameter in networks.current.parameters():
            parameter.data.fill_(9.0)  # must not count
    bigan = networks.average
    z = bigan.encoder(x)
    y = bigan.generator(z)
    matching = torch.linalg.vector_norm(bigan.discriminator(x, z)[1] - bigan.discriminator(y, z)[1], ord=1, dim=1)
    residual = torch.linalg.vector_norm((x - y).flatten(1), ord=1, dim=1)
    assert torch.allclose(detector._score_parts(networks, x), torch.stack([residual, matching], dim=1), rtol=1e-4)


def test_egbads_average_follows_the_networks(x: Tensor) -> None:
    detector = EGBADDetector(**TINY, ema_decay=0.0)
    detector.channels_ = 1
    with forked_rng(0):
        networks = detector._networks()
        detector._step(networks, detector._optimisers(networks), x)
    assert int(networks.steps) == 1
    pairs = zip(networks.average.state_dict().values(), networks.current.state_dict().values(), strict=True)
    assert all(torch.allclose(averaged, current) for averaged, current in pairs)


# ---- AnoGAN ---------------------------------------------------------------------------------------------------------


def test_anogans_search_comes_nearer_to_an_image_that_the_generator_can_make() -> None:
    detector = AnoGANDetector(**TINY, search_steps=150, search_learning_rate=0.05)
    detector.channels_, detector.seed_ = 1, 0
    with forked_rng(0):
        networks = detector._networks().eval().requires_grad_(False)
        for parameter in networks.generator.parameters():
            parameter.mul_(5)
        x = networks.generator(torch.randn(3, 4, 1, 1))
    distances = []
    for steps in (1, 150):
        detector.search_steps = steps
        generated, parts = detector._search(networks, x)
        assert torch.allclose(parts[:, 0], l1_norm(x, generated))
        distances.append(parts @ torch.tensor([0.9, 0.1]))
    assert (distances[1] < 0.5 * distances[0]).all()


def test_rate_of_the_search() -> None:
    rates = [search_rate(step, 500, 0.01) for step in (0, 199, 200, 299, 300, 499)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0005, 0.0005])


# ---- blocks and VAE -------------------------------------------------------------------------------------------------


def test_divergence_and_reconstruction_of_the_vae_by_hand() -> None:
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, float(np.log(4.0))]])
    assert vae.divergence(mean, log_variance).item() == pytest.approx(0.5 + 0.5 * (4 - 1 - np.log(4)))
    assert vae.reconstruction_loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 2.0


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_blocks_fit_every_size(size: int) -> None:
    with torch.device("meta"):
        image = torch.zeros(2, 3, size, size)
        assert encoder(3, 2, size, 5)(image).shape == (2, 5, 1, 1)
        assert decoder(5, 2, size, 3)(torch.zeros(2, 5, 1, 1)).shape == image.shape
        assert UNet(3, 2, size)(image).shape == image.shape
        bigan = EGBADDetector(**TINY, image_size=size)
        bigan.channels_ = 3
        networks = bigan._networks().current
        code = networks.encoder(image)
        assert code.shape == (2, 4)
        assert networks.generator(code).shape == image.shape
        assert networks.discriminator(image, code)[0].shape == (2,)


def test_egbads_discriminator_drops_half_after_each_stage_of_the_published_one() -> None:
    detector = EGBADDetector(**TINY)
    detector.channels_ = 1
    with torch.device("meta"):
        discriminator = detector._networks().current.discriminator
    for branch, n in ((discriminator.x_branch, 2), (discriminator.z_branch, 1), (discriminator.joint, 1)):
        layers = [layer for layer in branch if not isinstance(layer, nn.Flatten)]
        dropped = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)]
        assert len(dropped) == n
        assert all(layers[i].p == 0.5 and isinstance(layers[i - 1], nn.LeakyReLU) for i in dropped)


def test_discriminator_has_the_parameters_of_the_published_one() -> None:
    with torch.device("meta"):
        network = Discriminator(3, 64, 32, 100)
    assert sum(p.numel() for p in network.parameters()) == 1_069_700


def test_first_weights() -> None:
    with forked_rng(0):
        network = nn.Sequential(nn.Conv2d(8, 64, 4), nn.BatchNorm2d(64))
        initialise(network)
    assert float(network[0].weight.detach().std()) == pytest.approx(0.02, rel=0.1)  # type: ignore[union-attr, operator]
    assert float(network[1].weight.detach().mean()) == pytest.approx(1.0, abs=0.02)  # type: ignore[union-attr, operator]
    assert not network[0].bias.any()  # type: ignore[union-attr, operator]
    assert not network[1].bias.any()  # type: ignore[union-attr, operator]
