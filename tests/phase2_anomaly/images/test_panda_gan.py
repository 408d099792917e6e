from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from sklearn.base import clone
from torch import Tensor, nn

from gbad.errors import GbadError, RunError
from gbad.phase2_anomaly.images import panda_gan, panda_gan_perceptual
from gbad.phase2_anomaly.images.panda_gan import PANDAGANDetector, norm
from gbad.phase2_anomaly.images.panda_gan_augmentation import attended, cropped, dropped
from gbad.phase2_anomaly.images.panda_gan_networks import (
    DualGenerator,
    FineGrainedDiscriminator,
    ReEncoders,
    bilinear_attention_pooling,
    make_backbone,
)
from gbad.phase2_anomaly.images.panda_gan_perceptual import (
    PerceptualFeatures,
    imagenet_features,
    self_supervised_features,
)
from gbad.phase2_anomaly.images.rows import ImageRows
from gbad.phase2_anomaly.images.training import train_networks

pytestmark = pytest.mark.usefixtures("real_resnet18")

TINY: dict[str, Any] = {
    "width": 2,
    "low_channels": 3,
    "latent_size": 5,
    "backbone": "small",
    "parts": 3,
    "filters": 4,
    "perceptual_width": 2,
    "perceptual_epochs": 1,
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "discriminator_rate": 1e-3,
}


def seeded(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32), dtype=np.uint8)


# ---- networks -------------------------------------------------------------------------------------------------------


def test_the_high_level_weighs_the_low_level_before_decoding() -> None:
    generator = DualGenerator(1, 64, width=2, low_channels=3, latent_size=5).eval()
    x = seeded(0, 2, 1, 64, 64)
    made = generator(x)
    low = generator.encode_low(x)[:, :3]
    high = generator.encode_high(low)[:, :5]
    assert torch.equal(made.low, low)
    assert torch.equal(made.high, high)
    assert low.shape == made.decoded.shape == (2, 3, 16, 16)
    assert torch.equal(made.decoded, generator.decode_high(high))
    assert torch.equal(made.image, generator.decode_low(generator.decode_high(high) * low))


def test_codes_are_drawn_in_training_and_only_then() -> None:
    generator = DualGenerator(1, 32, width=2, low_channels=3, latent_size=5)
    x = seeded(1, 4, 1, 32, 32)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        first, second = generator(x), generator(x)
        assert torch.equal(first.low, second.low)  # means
        assert not torch.equal(first.image, second.image)
        mean, drawn = (
            torch.full((2000, 1), 3.0),
            generator._draw(torch.full((2000, 1), 3.0), torch.full((2000, 1), 1.4)),
        )
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.2)
    assert drawn.std().item() == pytest.approx(np.exp(0.7), rel=0.1)
    generator.eval()
    assert torch.equal(generator._draw(mean, mean), mean)
    assert torch.equal(generator(x).image, generator(x).image)


def test_re_encoders_read_what_the_decoder_of_their_level_made() -> None:
    sizes = {"channels": 1, "side": 32, "width": 2, "low_channels": 3, "latent_size": 5}
    generator, again = DualGenerator(**sizes).eval(), ReEncoders(**sizes).eval()
    made = generator(seeded(2, 2, 1, 32, 32))
    low, high = again(made)
    assert low.shape == made.low.shape
    assert high.shape == made.high.shape
    assert torch.equal(low, again.low(made.image))
    assert torch.equal(high, again.high(made.decoded))


def test_bilinear_attention_pooling_in_plain_loops() -> None:
    features, attention = seeded(3, 2, 4, 3, 5), seeded(4, 2, 6, 3, 5).abs()
    pooled = bilinear_attention_pooling(features, attention)
    assert pooled.shape == (2, 6, 4)
    for n, m, c in ((0, 0, 0), (1, 5, 3), (1, 2, 0)):
        total = sum(float(attention[n, m, y, x] * features[n, c, y, x]) for y in range(3) for x in range(5))
        assert float(pooled[n, m, c]) == pytest.approx(total / 15, abs=1e-6)


def test_the_part_that_answers_a_filter_most_decides() -> None:
    discriminator = FineGrainedDiscriminator(1, 32, "small", width=2, parts=3, filters=4).eval()
    features, attention = seeded(5, 2, 8, 4, 4), seeded(6, 2, 3, 4, 4).abs()

    class Fixed(nn.Module):
        def __init__(self, value: Tensor) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: Tensor) -> Tensor:
            return self.value

    discriminator.backbone, discriminator.attention = Fixed(features), Fixed(attention)  # type: ignore[assignment]
    pooled = bilinear_attention_pooling(features, attention)
    bias = discriminator.filters.bias
    assert bias is not None
    answers = pooled @ discriminator.filters.weight[:, :, 0].T + bias  # (2, 3 parts, 4 filters)
    logits = answers.max(1).values @ discriminator.logit.weight[0] + discriminator.logit.bias
    assert torch.allclose(discriminator(torch.empty(0)), logits, atol=1e-6)
    order = torch.tensor([2, 0, 1])
    discriminator.attention = Fixed(attention[:, order])  # type: ignore[assignment]
    assert torch.allclose(discriminator(torch.empty(0)), logits, atol=1e-6)  # parts have no order


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("resnet50", 32, (2048, 4, 4)),
        ("resnet18", 64, (512, 8, 8)),
        ("resnet34", 128, (512, 4, 4)),
        ("resnet18", 256, (512, 8, 8)),
        ("small", 32, (256, 4, 4)),
    ],
)
def test_backbones_leave_at_least_16_positions(name: str, side: int, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone, n_features = make_backbone(name, 1, side)
        assert backbone.eval()(torch.empty(1, 1, side, side)).shape == (1, *shape)
    assert n_features == shape[0]


def test_backbones_begin_with_the_weights_of_a_file(tmp_path: Path) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        resnet = torchvision.models.resnet18(weights=None)
        torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
        grey, _ = make_backbone("resnet18", 1, 128, weights=tmp_path / "resnet18.pth")
        colour, _ = make_backbone("resnet18", 3, 128, weights=tmp_path / "resnet18.pth")
        small, _ = make_backbone("resnet18", 3, 32, weights=tmp_path / "resnet18.pth")
    x = seeded(7, 2, 1, 128, 128)
    assert torch.allclose(grey.eval()(x), colour.eval()(x.expand(-1, 3, -1, -1)), atol=1e-4)
    for backbone in (colour, small):
        assert torch.equal(backbone.state_dict()["4.0.conv1.weight"], resnet.layer1[0].conv1.weight)
    with pytest.raises(GbadError, match=r"resnet18.pth: not the weights of this network .*torchvision's state_dict"):
        with torch.random.fork_rng([]):
            make_backbone("resnet34", 1, 128, weights=tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match="the small backbone has no weights to load"):
        make_backbone("small", 1, 32, weights=tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match="backbone must be one of resnet50.*got 'vgg'"):
        make_backbone("vgg", 1, 32)


# ---- perceptual loss ------------------------------------------------------------------------------------------------


def test_perceptual_features_are_the_first_14_layers_of_vgg19(tmp_path: Path) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = torchvision.models.vgg.make_layers([64, 64, "M", 128, 128, "M", 256, 256])  # as VGG-19 begins
        assert len(layers) == 14
        torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, tmp_path / "vgg19.pth")
        features = imagenet_features(tmp_path / "vgg19.pth")
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    normalised = torchvision.transforms.functional.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(features(2 * x - 1), layers(normalised), atol=1e-4)
    with pytest.raises(GbadError, match="absent.pth: not the weights of this network"):
        imagenet_features(tmp_path / "absent.pth")


def test_the_self_supervised_network_learns_how_far_images_were_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.tile(np.linspace(0, 255, 32), (32, 1))
    pixels = np.stack([ramp + noise for noise in np.linspace(-9, 9, 16)]).clip(0, 255).astype(np.uint8)
    histories = []

    def train(*arguments: Any, **keywords: Any) -> list[dict[str, float]]:
        histories.append(train_networks(*arguments, **keywords))
        return histories[-1]

    monkeypatch.setattr(panda_gan_perceptual, "train_networks", train)
    self_supervised_features(ImageRows(pixels, 32), 4, epochs=12, batch_size=4, seed=0, learning_rate=0.02)
    assert histories[0][0]["rotation"] > np.log(4)  # a guess among four
    assert histories[0][-1]["rotation"] < 0.3


def test_general_loss_needs_a_file_for_training_and_none_for_scoring(tmp_path: Path) -> None:
    images, checkpoint = make_images(4), tmp_path / "state"
    detector = PANDAGANDetector(**TINY | {"reconstruction": "general"})
    with pytest.raises(ValueError, match="nothing is downloaded: set perceptual_weights .*or choose 'pixel'"):
        detector.fit(images)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = PerceptualFeatures().state_dict()
    torch.save(state, tmp_path / "vgg19.pth")
    detector.set_params(perceptual_weights=tmp_path / "vgg19.pth").fit(images, checkpoint=checkpoint)
    assert np.array_equal(detector.weights_["perceptual.features.0.weight"], state["features.0.weight"].numpy())
    resumed = clone(detector).set_params(perceptual_weights=str(tmp_path / "vgg19.pth"))
    resumed.fit(images, checkpoint=checkpoint)
    assert all(np.array_equal(resumed.weights_[key], detector.weights_[key]) for key in detector.weights_)
    detector.save(tmp_path / "detector.joblib")
    (tmp_path / "vgg19.pth").unlink()
    loaded = PANDAGANDetector.load(tmp_path / "detector.joblib")
    assert np.array_equal(loaded.score_samples(images), resumed.score_samples(images))


@pytest.mark.parametrize(
    ("size", "channels", "message"), [(64, 1, "image size was 32 and is 64"), (32, 3, "channels was 1 and is 3")]
)
def test_perceptual_features_of_another_size_or_colour_are_not_resumed(
    size: int, channels: int, message: str, tmp_path: Path
) -> None:
    images, schedule = make_images(4), {"epochs": 1, "batch_size": 4, "seed": 0, "checkpoint": tmp_path / "state"}
    self_supervised_features(ImageRows(images, 32, 1), 2, **schedule)
    self_supervised_features(ImageRows(images, 32, 1), 2, **schedule)
    with pytest.raises(RunError, match=message):
        self_supervised_features(ImageRows(images, size, channels), 2, **schedule)


def test_problem_specific_loss_is_learnt_first_and_then_stays(tmp_path: Path) -> None:
    images = make_images(8)
    detector = PANDAGANDetector(**TINY | {"reconstruction": "problem"})
    unbroken = clone(detector).fit(images)
    features = self_supervised_features(
        ImageRows(images, 32), 2, epochs=1, batch_size=4, seed=unbroken.seed_
    ).state_dict()
    for name, values in features.items():
        assert np.array_equal(unbroken.weights_[f"perceptual.{name}"], values.numpy())
    assert not np.allclose(
        unbroken.score_parts(images), clone(detector).set_params(reconstruction="pixel").fit(images).score_parts(images)
    )
    path = tmp_path / "state"
    clone(detector).fit(images, checkpoint=path)
    assert Path(f"{path}.perceptual").exists()
    resumed = clone(detector).fit(images, checkpoint=path)
    assert all(np.array_equal(resumed.weights_[key], unbroken.weights_[key]) for key in unbroken.weights_)
    with pytest.raises(RunError, match="state.perceptual: belongs to another training: digest of X was"):
        clone(detector).fit(make_images(8, seed=1), checkpoint=path)


def test_training_begins_with_the_weights_of_the_backbone(tmp_path: Path) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    still = {"image_size": 128, "batch_size": 2, "discriminator_rate": 1e-9}  # one step of Adam moves a weight by 1e-9
    detector = PANDAGANDetector(**TINY | still, backbone_weights=tmp_path / "resnet18.pth")
    detector.set_params(backbone="resnet18").fit(make_images(2))
    found = detector.weights_["discriminator.backbone.7.1.conv2.weight"]
    assert np.allclose(found, resnet.layer4[1].conv2.weight.detach().numpy(), rtol=0, atol=1e-8)
    assert {name for name in vars(detector) if not name.endswith("_")} == detector.get_params().keys()


# ---- detector -------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_equations_1_and_2() -> None:
    detector = PANDAGANDetector(**TINY)
    detector.channels_ = 1
    x = seeded(8, 3, 1, 32, 32).clamp(-1, 1)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        networks = detector._networks().eval()  # means and stored statistics: the same numbers twice
        made = networks.generator(x)
        low, high = networks.re_encoders(made)
        real, fake = torch.sigmoid(networks.discriminator(x)), torch.sigmoid(networks.discriminator(made.image))
        losses = detector._step(networks, detector._optimisers(networks), x)

    def distance(a: Tensor, b: Tensor) -> float:
        return float(np.mean([np.sqrt(((p - q) ** 2).sum().item()) for p, q in zip(a, b, strict=True)]))

    latent = distance(low, made.low) + distance(high, made.high)
    assert losses["reconstruction"].item() == pytest.approx(distance(x, made.image), rel=1e-5)
    assert losses["latent"].item() == pytest.approx(latent, rel=1e-5)
    expected = distance(x, made.image) + latent - fake.log().mean().item()
    assert losses["generator"].item() == pytest.approx(expected, rel=1e-5)
    critic = -(real.log().mean() + (1 - fake).log().mean()).item()
    assert losses["discriminator"].item() == pytest.approx(critic, rel=1e-5)
    assert norm(torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])).tolist() == [5.0, 2.0]


def test_the_score_adds_reconstruction_and_both_critic_outputs() -> None:
    images = make_images(6)
    detector = PANDAGANDetector(**TINY).fit(images)
    networks = detector._fitted_networks()
    x = torch.from_numpy(images[:, None] / np.float32(127.5) - 1)
    with torch.no_grad():
        made = networks.generator(x).image
        real, fake = torch.sigmoid(networks.discriminator(x)), torch.sigmoid(networks.discriminator(made))
    rms = ((x - made) ** 2).mean((1, 2, 3)).sqrt()
    parts = detector.score_parts(images)
    assert np.allclose(parts, torch.stack([rms, 1 - real, 1 - fake], 1).numpy(), atol=1e-5)
    anomaly = parts.sum(1)
    low, high = anomaly.min(), anomaly.max()
    assert np.allclose(detector.score_samples(images), -(anomaly - low) / (high - low))


def test_re_encoders_have_no_part_in_scoring() -> None:
    images = make_images(4)
    detector = PANDAGANDetector(**TINY).fit(images)
    scores, maps = detector.score_samples(images), detector.anomaly_map(images)
    broken = {k: np.full_like(v, -1) if k.startswith("re_encoders") else v for k, v in detector.weights_.items()}
    assert sum(not np.array_equal(broken[key], detector.weights_[key]) for key in broken) > 10
    detector.weights_ = broken
    assert np.array_equal(detector.score_samples(images), scores)
    assert np.array_equal(detector.anomaly_map(images), maps)


def test_hyperparameters_are_those_of_the_paper() -> None:
    detector = PANDAGANDetector()
    assert (detector.learning_rate, detector.discriminator_rate, detector.batch_size) == (7e-6, 1e-5, 15)
    assert (detector.backbone, detector.reconstruction) == ("resnet50", "pixel")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backbone": "resnet"}, "backbone must be one of resnet50, .*got 'resnet'"),
        ({"reconstruction": "style"}, "reconstruction must be one of pixel, general, problem, got 'style'"),
        ({"parts": 0}, "parts == 0"),
        ({"discriminator_rate": 0.0}, "discriminator_rate == 0"),
        ({"kl_weight": -1.0}, "kl_weight == -1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PANDAGANDetector(**TINY | parameters).fit(make_images(2))


# ---- ablations and augmentation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "absent"),
    [
        ({"high_level": False}, ("generator.encode_high", "generator.decode_high", "re_encoders.high")),
        ({"re_encode_high": False}, ("re_encoders.high",)),
        ({"re_encode_low": False}, ("re_encoders.low",)),
        ({"re_encode_low": False, "re_encode_high": False}, ("re_encoders.",)),
        ({"high_level": False, "re_encode_low": False}, ("generator.encode_high", "re_encoders.")),
        ({"discriminator": "dcgan"}, ("discriminator.backbone", "discriminator.attention")),
    ],
)  # fmt: skip
def test_parts_of_table_3_can_be_left_out(switches: dict[str, Any], absent: tuple[str, ...]) -> None:
    whole = PANDAGANDetector(**TINY).fit(make_images(4))
    detector = PANDAGANDetector(**TINY | switches).fit(make_images(4))
    for name in absent:
        assert any(key.startswith(name) for key in whole.weights_)
        assert not any(key.startswith(name) for key in detector.weights_)
    assert np.isfinite(detector.score_samples(make_images(2))).all()
    if switches == {"re_encode_low": False, "re_encode_high": False}:
        assert detector.history_["latent"].tolist() == [0.0]


def test_without_the_high_level_the_low_code_alone_is_decoded() -> None:
    generator = DualGenerator(1, 32, width=2, low_channels=3, latent_size=5, high_level=False).eval()
    x = seeded(0, 2, 1, 32, 32)
    made = generator(x)
    assert torch.equal(made.image, generator.decode_low(generator.encode_low(x)[:, :3]))
    assert made.high is None


def test_attended_pixels_are_the_upper_half_of_one_map() -> None:
    ramp = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 3, 4, 4)
    looked = attended(ramp, 4)
    assert looked[0].any(1).tolist() == [False, False, True, True]
    assert not attended(torch.ones(2, 3, 4, 4), 8).any()  # a flat map looks nowhere
    two = torch.cat([ramp[:, :1], ramp[:, :1].flip(2)], dim=1)  # two maps that look at other places
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        drawn = attended(two.expand(64, -1, -1, -1), 4).any(2)
    assert {tuple(row) for row in drawn.tolist()} == {(False, False, True, True), (True, True, False, False)}


def test_crop_enlarges_the_box_and_drop_empties_what_is_attended() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    looked = torch.zeros(2, 8, 8, dtype=torch.bool)
    looked[0, 2:6, 4:8] = True
    crop = cropped(x, looked)
    expected = torch.nn.functional.interpolate(x[:1, :, 2:6, 4:8], (8, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(crop[:1, :, 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4)
    assert torch.allclose(crop[1], x[1], atol=1e-4)  # nothing attended: whole
    drop = dropped(x, looked)
    assert not drop[0, 0, 2:6, 4:8].any()
    assert torch.equal(drop[~looked[:, None]], x[~looked[:, None]])


def test_the_augmented_critic_learns_from_whole_cropped_and_dropped_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = PANDAGANDetector(**TINY, attention_augmentation=True)
    detector.channels_ = 1
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        critic = detector._networks().discriminator.eval()
    x, y = seeded(8, 3, 1, 32, 32).clamp(-1, 1), seeded(9, 3, 1, 32, 32).clamp(-1, 1)
    regions = [torch.zeros(3, 32, 32, dtype=torch.bool), torch.ones(3, 32, 32, dtype=torch.bool)]
    regions[0][:, 8:24, 8:24] = True
    remaining = iter(regions)
    monkeypatch.setattr(panda_gan, "attended", lambda attention, size: next(remaining))
    pairs = [(x, y), (cropped(x, regions[0]), cropped(y, regions[0])), (torch.zeros_like(x), torch.zeros_like(y))]
    softplus = torch.nn.functional.softplus
    expected = [softplus(-critic(real)).mean() + softplus(critic(fake)).mean() for real, fake in pairs]
    found = detector._critic_loss(critic, x, y, critic(y))
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_a_plain_discriminator_has_no_attention_to_guide_augmentation() -> None:
    with pytest.raises(ValueError, match="discriminator='dcgan' has neither attention nor a backbone"):
        PANDAGANDetector(**TINY, discriminator="dcgan", attention_augmentation=True).fit(make_images(2))
    with pytest.raises(ValueError, match="discriminator must be one of fine-grained, dcgan, got 'patch'"):
        PANDAGANDetector(**TINY, discriminator="patch").fit(make_images(2))


def test_training_begins_with_codes_close_to_their_means() -> None:
    detector = PANDAGANDetector(**TINY)
    detector.channels_ = 1
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        generator = detector._networks().generator
        log_variance = generator.encode_low(seeded(9, 4, 1, 32, 32))[:, 3:]
    assert log_variance.mean().item() == pytest.approx(-4.0, abs=0.5)
