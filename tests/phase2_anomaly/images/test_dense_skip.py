from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gbad.phase2_anomaly.images.dense_skip import (
    DenseSkipDetector,
    DenseSkipGAN,
    contextual_loss,
    from_patches,
    latent_loss,
    to_patches,
)
from gbad.phase2_anomaly.images.dense_skip_networks import (
    AttentionDiscriminator,
    AugmentedConvolution,
    DenseSkipGenerator,
    SelfAttention2d,
)

TINY: dict[str, Any] = {"widths": (4, 6), "features": 8, "latent_size": 5, "epochs": 1, "batch_size": 4}


def seeded(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_images(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), dtype=np.uint8)


def test_nodes_are_wired_as_in_equation_1() -> None:
    generator = DenseSkipGenerator(3, (4, 5, 6, 7)).eval()
    assert set(generator.nodes) == {f"{i},{j}" for i in range(4) for j in range(4 - i)}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name, node in generator.nodes.items():

        def record(module: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name) -> None:
            seen[name] = (inputs[0], output)

        node.register_forward_hook(record)
    x = seeded(0, 2, 3, 16, 16)
    image = generator(x)
    assert torch.equal(seen["0,0"][0], x)
    for name, (came, left) in seen.items():
        i, j = map(int, name.split(","))
        assert left.shape == (2, 4 + i, 16 // 2**i, 16 // 2**i)
        if j == 0 and i > 0:
            assert torch.equal(came, seen[f"{i - 1},0"][1])
        elif j > 0:
            level = [seen[f"{i},{k}"][1] for k in range(j)]
            below = nn.functional.interpolate(
                seen[f"{i + 1},{j - 1}"][1], scale_factor=2, mode="bilinear", align_corners=True
            )
            assert torch.equal(came, torch.cat([*level, below], 1))
    assert torch.equal(image, generator.image(seen["0,3"][1]))
    assert image.abs().max() <= 1


def test_attention_is_that_of_bello_in_plain_loops() -> None:
    attention = SelfAttention2d(3, size=2, heads=2, key_size=6, value_size=4)
    queries, keys = seeded(1, 1, 2, 3, 2, 2), seeded(2, 1, 2, 3, 2, 2)
    weights = attention.weights(queries, keys).detach()
    below, right = attention.below.detach(), attention.right.detach()
    for head in range(2):
        for row, (y, x) in enumerate((y, x) for y in range(2) for x in range(2)):
            q = queries[0, head, :, y, x]
            logits = [
                float(q @ (keys[0, head, :, v, u] + below[v - y + 1] + right[u - x + 1])) / math.sqrt(3)
                for v in range(2)
                for u in range(2)
            ]
            expected = np.exp(logits) / np.exp(logits).sum()
            assert np.allclose(weights[0, head, row].numpy(), expected, atol=1e-6)


def test_attention_rows_sum_to_one_and_weigh_values_of_their_own_head() -> None:
    attention = SelfAttention2d(5, size=4, heads=4, key_size=80, value_size=8).eval()
    x = seeded(3, 2, 5, 4, 4)
    queries, keys, values = (part.unflatten(1, (4, -1)) for part in attention.project(x).split(attention.sizes, dim=1))
    weights = attention.weights(queries, keys)
    assert weights.shape == (2, 4, 16, 16)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4, 16))
    attended = torch.cat(
        [(weights[:, h] @ values[:, h].flatten(2).mT).mT.unflatten(2, (4, 4)) for h in range(4)], dim=1
    )
    assert torch.allclose(attention(x), attention.mix(attended), atol=1e-6)


def test_augmented_convolution_has_both_side_by_side() -> None:
    layer = AugmentedConvolution(6, 64, size=4, heads=4).eval()
    assert layer.attention.sizes == (80, 80, 8)  # 20 for each of 4 heads; a tenth of 64, in fours
    x = seeded(4, 2, 6, 4, 4)
    assert torch.equal(layer(x)[:, :56], layer.convolution(x))
    assert torch.equal(layer(x)[:, 56:], layer.attention(x))


def test_the_discriminator_attends_before_its_last_convolution() -> None:
    discriminator = AttentionDiscriminator(3, 64, width=8, latent_size=7)
    kinds = [type(module) for module in discriminator.shrink.children()]
    assert kinds.index(AugmentedConvolution) == len(kinds) - 2  # and LeakyReLU
    features, logits = discriminator.eval()(seeded(5, 2, 3, 64, 64))
    assert features.shape == (2, 7)
    assert torch.equal(logits, discriminator.logit(features)[:, 0])


def test_every_layer_but_the_image_is_bounded_by_its_spectral_norm_and_none_sees_the_batch() -> None:
    detector = DenseSkipDetector(**TINY)
    detector.channels_ = 1
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        networks = detector._networks()
    image = networks.generator.image[0]
    layers = {m for m in networks.modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert {m for m in layers if parametrize.is_parametrized(m)} == layers - {image}
    assert not [m for m in networks.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for _ in range(100):  # power iterations
        networks.discriminator(networks.generator(torch.zeros(1, 1, 32, 32)))
    for layer in layers - {image}:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def test_the_bound_is_folded_into_the_weights_for_scoring() -> None:
    images = make_images(4, 32)
    detector = DenseSkipDetector(**TINY).fit(images)
    with torch.random.fork_rng([]):
        bounded = detector._networks()
    bounded.load_state_dict({name: torch.from_numpy(values) for name, values in detector.weights_.items()})
    bounded.eval()
    folded = detector._fitted_networks()
    assert not [m for m in folded.modules() if parametrize.is_parametrized(m)]
    x = seeded(7, 2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(folded.generator(x), bounded.generator(x), atol=1e-6)
        assert torch.allclose(folded.discriminator(x)[0], bounded.discriminator(x)[0], atol=1e-6)


def test_losses_are_mean_absolute_differences_of_each_row() -> None:
    x = torch.tensor([[[[1.0, -1.0]]], [[[0.0, 0.5]]]])
    assert contextual_loss(x, torch.zeros_like(x)).tolist() == [1.0, 0.25]
    assert latent_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])).tolist() == [2.0]


def test_patches_are_put_together_again() -> None:
    x = seeded(6, 2, 3, 12, 12)
    patches = to_patches(x, 4)
    assert patches.shape == (18, 3, 4, 4)
    assert torch.equal(patches[9 + 5], x[1, :, 4:8, 8:12])  # second image, second row, third column
    assert torch.equal(from_patches(patches, 3), x)


def test_an_image_is_as_abnormal_as_its_worst_patch() -> None:
    images = make_images(3, 96)
    detector = DenseSkipDetector(image_size=96, patch_size=32, **TINY).fit(images)
    of_patches = detector.patch_map(images)
    assert of_patches.shape == (3, 3, 3)
    assert np.array_equal(of_patches.min((1, 2)), detector.score_samples(images))
    assert detector.anomaly_map(images).shape == (3, 96, 96)

    # A detector of the same weights that sees one patch as its whole image judges it alike.
    params = detector.get_params() | {"image_size": 32, "patch_size": None}
    alone = DenseSkipDetector.from_arrays(params, detector.get_arrays())
    patch = images[2:3, 32:64, 64:96]
    assert np.allclose(alone.score_samples(patch), of_patches[2, 1, 2], atol=1e-4)
    assert np.allclose(alone.anomaly_map(patch)[0], detector.anomaly_map(images)[2, 32:64, 64:96], atol=1e-5)


def test_the_part_of_the_worst_patch_is_chosen_by_the_weighted_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = DenseSkipDetector(score_weight=0.9)
    parts = torch.tensor([[[[1.0, 0.0], [0.8, 3.0]]], [[[1.0, 0.0], [0.8, 1.0]]]])  # 0.9, 1.02 and 0.9, 0.82
    monkeypatch.setattr(detector, "_patch_parts", lambda networks, x: parts)
    chosen = detector._score_parts(DenseSkipGAN(1, 32, (4,), 8, 5, 4), torch.empty(0))
    assert chosen.tolist() == [[pytest.approx(0.8), 3.0], [1.0, 0.0]]
    assert np.allclose(detector._combine(chosen.double().numpy()), [1.02, 0.9])


class OnApple(Tensor):
    """Stands for a tensor on a GPU without double precision."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if not isinstance(result, Tensor):
            return result
        if func is Tensor.cpu:
            return result.as_subclass(Tensor)
        if result.dtype == torch.float64:
            raise TypeError("no float64 on this device")
        return result


def test_patches_are_judged_on_devices_without_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = DenseSkipDetector(score_weight=0.9)
    parts = torch.tensor([[[[1.0, 0.0], [0.8, 3.0]]], [[[1.0, 0.0], [0.8, 1.0]]]])
    monkeypatch.setattr(detector, "_patch_parts", lambda networks, x: parts.as_subclass(OnApple))
    chosen = detector._score_parts(DenseSkipGAN(1, 32, (4,), 8, 5, 4), torch.empty(0))
    assert chosen.cpu().tolist() == parts[[0, 1], 0, [1, 0]].tolist()


def test_hyperparameters_are_those_of_the_paper() -> None:
    detector = DenseSkipDetector()
    weights = (detector.adversarial_weight, detector.contextual_weight, detector.latent_weight)
    assert (weights, detector.heads, detector.learning_rate) == ((1.0, 40.0, 1.0), 4, 8e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_size": 48}, "patch_size .* must be 32, 64, 128 or 256, got 48"),
        ({"image_size": 16}, "must be 32, 64, 128 or 256, got 16"),
        ({"image_size": 80, "patch_size": 32}, "image_size must be a multiple of patch_size, got 80 and 32"),
        ({"image_size": 64, "patch_size": 32, "scale_parts": True}, "scale_parts=True needs patch_size=None"),
        ({"batch_size": 1}, "batch_size == 1"),
        ({"widths": ()}, r"widths must be 1 to 6 numbers of channels, got \(\)"),
        ({"heads": 0}, "heads == 0"),
        ({"heads": 20, "features": 2}, "features is too small for 20 heads"),
        ({"score_weight": 2.0}, "score_weight == 2.0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseSkipDetector(**TINY | parameters).fit(make_images(2, 32))


# ---- ablations ------------------------------------------------------------------------------------------------------


def test_without_dense_skips_the_generator_is_a_u_net() -> None:
    generator = DenseSkipGenerator(3, (4, 5, 6), dense=False).eval()
    assert set(generator.nodes) == {"0,0", "1,0", "2,0", "1,1", "0,2"}
    joined: dict[str, Tensor] = {}
    for name, node in generator.nodes.items():
        node.register_forward_hook(lambda module, came, left, name=name: joined.update({name: left}))
    x = seeded(0, 2, 3, 16, 16)
    image = generator(x)

    def enlarged(name: str) -> Tensor:
        return nn.functional.interpolate(joined[name], scale_factor=2, mode="bilinear", align_corners=True)

    found = dict(joined)
    middle = generator.nodes["1,1"](torch.cat([found["1,0"], enlarged("2,0")], dim=1))
    top = generator.nodes["0,2"](torch.cat([found["0,0"], enlarged("1,1")], dim=1))
    assert torch.allclose(middle, found["1,1"], atol=1e-6)
    assert torch.allclose(generator.image(top), image, atol=1e-6)


@pytest.mark.parametrize("switch", ["attention", "spectral_norm", "dense_skip"])
def test_parts_of_the_ablation_can_be_left_out(switch: str) -> None:
    images = make_images(4, 32)
    whole, without = DenseSkipDetector(**TINY), DenseSkipDetector(**TINY | {"widths": (4, 4, 4), switch: False})
    whole.channels_ = without.channels_ = 1
    names = {
        "attention": ("SelfAttention2d",), "spectral_norm": ("_SpectralNorm",), "dense_skip": (),
    }  # fmt: skip
    with torch.random.fork_rng([]):
        kinds = [{type(module).__name__ for module in one._networks().modules()} for one in (whole, without)]
    for name in names[switch]:
        assert name in kinds[0]
        assert name not in kinds[1]
    assert np.isfinite(without.fit(images).score_samples(images)).all()
