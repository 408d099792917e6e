from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gbad.phase2_anomaly.images.sagan import SAGAN, SAGANDetector
from gbad.phase2_anomaly.images.sagan_networks import (
    CBAM,
    AttentionUNet,
    ChannelAttention,
    SpatialAttention,
    convolution,
)

TINY: dict[str, Any] = {"widths": (4, 6, 8), "features": 4, "latent_size": 5, "epochs": 1, "batch_size": 8}


def seeded(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("separable", "printed"), [(True, 5_181_089), (False, 18_498_481)])
def test_parameters_are_those_of_table_1_within_2_percent(separable: bool, printed: int) -> None:
    detector = SAGANDetector(separable=separable)
    detector.channels_ = 3
    with torch.device("meta"):
        networks = detector._networks()
    assert n_parameters(networks) == pytest.approx(printed, rel=0.02)
    assert n_parameters(networks) == (5_102_035 if separable else 18_415_575)


def test_hyperparameters_are_those_of_the_paper() -> None:
    detector = SAGANDetector()
    weights = (detector.adversarial_weight, detector.contextual_weight, detector.latent_weight)
    assert (weights, detector.score_weight) == ((1.0, 40.0, 1.0), 0.2)
    assert (detector.learning_rate, detector.beta1) == (2e-3, 0.5)


def test_channel_attention_judges_mean_and_maximum_with_the_same_network() -> None:
    attention = ChannelAttention(2, reduction=2, least=1)  # one hidden unit
    first, second = attention.judge[0], attention.judge[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0]]))
        first.bias.copy_(torch.tensor([0.5]))
        second.weight.copy_(torch.tensor([[1.0], [2.0]]))
        second.bias.zero_()
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])  # means 2 and 2, maxima 3 and 4
    # Hidden: relu(2 - 2 + 0.5) = 0.5 for the means, relu(3 - 4 + 0.5) = 0 for the maxima.
    expected = torch.sigmoid(torch.tensor([1.0 * 0.5 + 0.0, 2.0 * 0.5 + 0.0]))
    assert torch.allclose(attention(x).flatten(), expected)


def test_spatial_attention_judges_mean_and_maximum_over_the_channels() -> None:
    attention = SpatialAttention(kernel_size=1).eval()
    of_maps = attention.judge[0]
    assert isinstance(of_maps, nn.Conv2d)
    with torch.no_grad():
        of_maps.weight.copy_(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 5.0]]]])  # means 0.5 and 4, maxima 1 and 5
    assert torch.allclose(attention(x).flatten(), torch.sigmoid(torch.tensor([0.0, 3.0])), atol=1e-5)


def test_cbam_weighs_channels_first_and_then_positions() -> None:
    cbam = CBAM(8, reduction=2).eval()
    x = seeded(0, 2, 8, 5, 5)
    by_channel = x * cbam.channels(x)
    assert torch.equal(cbam(x), by_channel * cbam.positions(by_channel))
    assert (cbam(x).abs() < x.abs()).all()  # weights lie in (0, 1)


def test_separable_convolution_filters_each_channel_by_itself() -> None:
    depthwise, pointwise = convolution(3, 5, separable=True)[:2]
    x, changed = seeded(1, 1, 3, 6, 6), seeded(1, 1, 3, 6, 6)
    changed[:, 1] += 1.0
    different = (depthwise(x) != depthwise(changed)).flatten(2).any(2)[0]
    assert different.tolist() == [False, False, True, True, False, False]  # two kernels a channel
    assert pointwise.kernel_size == (1, 1)
    assert n_parameters(convolution(64, 64, separable=True)) < n_parameters(convolution(64, 64, separable=False)) / 3


@pytest.mark.parametrize(("channels", "side", "widths"), [(1, 32, (4, 8)), (3, 64, (4, 6, 8, 8, 8)), (3, 32, (4,))])
def test_the_generator_keeps_the_shape(channels: int, side: int, widths: tuple[int, ...]) -> None:
    assert AttentionUNet(channels, widths)(torch.zeros(2, channels, side, side)).shape == (2, channels, side, side)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_all_that_leaves_a_level_has_passed_its_attention() -> None:
    generator = AttentionUNet(1, (16, 16, 32)).eval()  # fewer channels are all dead with one start in ten
    a, b = seeded(2, 1, 1, 16, 16), seeded(3, 1, 1, 16, 16)
    assert not torch.equal(generator(a), generator(b))
    for level, blind in ((2, False), (0, True)):  # skips lead around the bottom, and nothing around the top
        stage = generator.down[level]
        assert isinstance(stage, nn.Sequential)
        assert isinstance(stage[2], CBAM)
        stage[2] = Nothing()
        assert torch.equal(generator(a), generator(b)) is blind


def test_learning_rate_falls_in_the_second_half(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = SAGANDetector(**TINY | {"epochs": 4})
    rates = []
    honest = detector._step

    def step(networks: SAGAN, optimisers: dict[str, torch.optim.Optimizer], x: Tensor) -> dict[str, Tensor]:
        rates.append([of.param_groups[0]["lr"] for of in optimisers.values()])
        return honest(networks, optimisers, x)

    monkeypatch.setattr(detector, "_step", step)
    detector.fit(np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8))
    assert rates == [[rate, rate] for rate in (2e-3, 2e-3, 2e-3, 1e-3)]


def test_the_score_weighs_an_l1_norm_of_pixels_and_an_l2_norm_of_codes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    detector = SAGANDetector(**TINY).fit(images)
    networks = detector._fitted_networks()
    x = torch.from_numpy(images[:, None] / np.float32(127.5) - 1)
    with torch.no_grad():
        reconstructed = networks.generator(x)
        codes = [networks.discriminator(image)[1].flatten(1).numpy() for image in (x, reconstructed)]
    residual = np.abs(x.numpy() - reconstructed.numpy()).reshape(6, -1).sum(1)
    distance = np.sqrt(((codes[0] - codes[1]) ** 2).sum(1))
    assert np.allclose(detector.score_parts(images), np.stack([residual, distance], 1), rtol=1e-4)
    assert np.allclose(detector._combine(np.array([[10.0, 1.0]])), [0.2 * 10 + 0.8 * 1])


def test_wrong_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"widths must be 1 to 6 numbers of channels, got \(\)"):
        SAGANDetector(widths=()).fit(np.zeros((2, 32, 32), np.uint8))
