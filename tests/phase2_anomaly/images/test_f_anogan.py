from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

from gbad.errors import RunError
from gbad.phase2_anomaly import FAnoGANDetector
from gbad.phase2_anomaly.images.f_anogan import WassersteinGAN, gradient_penalty
from gbad.phase2_anomaly.images.f_anogan_networks import Critic, Encoder, Generator
from gbad.runtime.randomness import forked_rng

TINY: dict[str, Any] = {"features": 2, "latent_size": 4, "batch_size": 4, "gan_epochs": 1, "epochs": 1}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)


def made() -> tuple[WassersteinGAN, Tensor]:
    with forked_rng(0):
        return WassersteinGAN(1, 2, 32, 4), torch.rand(6, 1, 32, 32) * 2 - 1


def test_penalty_of_a_linear_critic_by_hand() -> None:
    class Linear(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return 3 * x[:, 0, 0, 0] + 4 * x[:, 0, 1, 1], x

    with forked_rng(0):
        penalty = gradient_penalty(Linear(), torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2))
    assert penalty.item() == pytest.approx((5 - 1) ** 2)  # a slope of 5 everywhere


def test_the_critic_moves_in_each_batch_and_the_generator_once_in_so_many() -> None:
    detector = FAnoGANDetector(**TINY, critic_steps=2)
    gan, x = made()
    optimisers: dict[str, torch.optim.Optimizer] = {
        name: torch.optim.SGD(gan.get_submodule(name).parameters(), lr=1e-2) for name in ("generator", "critic")
    }
    moved = []
    for _ in range(4):
        before = [parameter.detach().clone() for parameter in gan.parameters()]
        with forked_rng(1):
            detector._gan_step(gan, optimisers, x)
        changed = [not new.equal(old) for new, old in zip(gan.parameters(), before, strict=True)]
        n_generator = len(list(gan.generator.parameters()))
        moved.append((any(changed[:n_generator]), any(changed[n_generator:])))
    assert moved == [(False, True), (True, True), (False, True), (True, True)]


def test_the_critics_loss_is_that_of_a_wasserstein_gan_with_a_gradient_penalty() -> None:
    detector = FAnoGANDetector(**TINY, critic_steps=9)
    gan, x = made()
    with forked_rng(1):
        fake = gan.generator(torch.randn(6, 4)).detach()
        penalty = gradient_penalty(gan.critic, x, fake)
    expected = gan.critic(fake)[0].mean() - gan.critic(x)[0].mean() + 10 * penalty
    optimisers: dict[str, torch.optim.Optimizer] = {"critic": torch.optim.SGD(gan.critic.parameters(), lr=0.0)}
    with forked_rng(1):
        loss = detector._gan_step(gan, optimisers, x)["critic"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_encoder_learns_and_scores_by_pixels_and_kappa_times_the_critics_features() -> None:
    detector = FAnoGANDetector(**TINY, feature_weight=0.5)
    detector.channels_ = 1
    with forked_rng(0):
        networks, x = detector._networks().eval(), torch.rand(6, 1, 32, 32) * 2 - 1
    y = networks.gan.generator(networks.encoder(x))
    residual = ((x - y) ** 2).mean(dim=(1, 2, 3))
    matching = ((networks.gan.critic(x)[1] - networks.gan.critic(y)[1]) ** 2).mean(dim=1)
    assert torch.allclose(detector._score_parts(networks, x), torch.stack([residual, matching], 1), rtol=1e-4)
    losses = detector._step(networks, detector._optimisers(networks), x)
    assert losses["encoder"].item() == pytest.approx((residual + 0.5 * matching).mean().item(), rel=1e-4)
    assert detector._part_weights() == (1.0, 0.5)


def test_the_gan_is_trained_first_and_then_stays(images: np.ndarray, tmp_path: Path) -> None:
    detector = FAnoGANDetector(**TINY)
    short, long = clone(detector).fit(images), clone(detector).set_params(epochs=2).fit(images)
    of_gan = [name for name in short.weights_ if name.startswith("gan.")]
    assert all(np.array_equal(short.weights_[name], long.weights_[name]) for name in of_gan)
    assert any(not np.array_equal(short.weights_[name], long.weights_[name]) for name in short.weights_)
    trained = clone(detector).set_params(gan_epochs=2).fit(images)
    assert any(not np.array_equal(short.weights_[name], trained.weights_[name]) for name in of_gan)
    path = tmp_path / "state"
    clone(detector).fit(images, checkpoint=path)
    assert Path(f"{path}.gan").exists()
    path.unlink()  # killed between the two trainings
    resumed = clone(detector).fit(images, checkpoint=path)
    assert all(np.array_equal(resumed.weights_[name], short.weights_[name]) for name in short.weights_)
    with pytest.raises(RunError, match=r"state\.gan: belongs to another training: .*gan_rate was 0.0001 and is 0.001"):
        clone(detector).set_params(gan_rate=1e-3).fit(images, checkpoint=path)
    detector.channels_ = 1
    assert short.n_parameters_ == sum(parameter.numel() for parameter in detector._networks().parameters())


@pytest.mark.parametrize(("size", "n_blocks"), [(32, 3), (64, 4), (256, 6)])
def test_networks_fit_every_size(size: int, n_blocks: int) -> None:
    with torch.device("meta"):
        image = torch.zeros(2, 3, size, size)
        generator, critic = Generator(3, 2, size, 5), Critic(3, 2, size)
        assert generator(torch.zeros(2, 5)).shape == image.shape
        assert critic(image)[0].shape == (2,)
        assert critic(image)[1].shape == (2, 16 * 2 * min(8, 2**n_blocks))
        assert Encoder(3, 2, size, 5)(image).shape == (2, 5)
        assert len(generator.blocks) == n_blocks


def test_no_image_of_a_batch_touches_anothers_judgement() -> None:
    """As the gradient penalty needs."""
    with forked_rng(0):
        critic, x = Critic(1, 2, 32), torch.randn(3, 1, 32, 32)
    assert torch.allclose(critic(x)[0][:1], critic(x[:1])[0], atol=1e-5)
