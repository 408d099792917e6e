from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torchvision

from gbad.phase1_classifier.classifier import Normalise, multilabel_bce
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.runtime.randomness import forked_rng

pytestmark = pytest.mark.usefixtures("real_resnet18")


def images(count: int = 2) -> torch.Tensor:
    return 255 * torch.rand(count, 3, 80, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "width", "mean", "std"),
    [
        ("resnet18", 512, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_lite0", 320, (127 / 255,), (128 / 255,)),
        ("inception_v3", 2048, (0.5,), (0.5,)),
    ],
)
def test_forward_is_one_layer_on_the_averaged_last_stage(
    backbone: str, width: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with forked_rng(0):
        model = PlainClassifier(backbone, 3).double().eval()  # random weights of Inception enlarge rounding errors
    x = images().double()
    with torch.inference_mode():
        logits, features = model(x)
        normalised = (x / 255 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
        pooled = model.backbone(normalised)["L4"].mean((2, 3))
        expected = pooled @ model.classify.weight.T + model.classify.bias
    assert features.shape == (2, width) == (2, model.n_features)
    torch.testing.assert_close(features, pooled.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected.float(), rtol=1e-4, atol=1e-5)


def test_inception_sees_what_torchvision_shows_its_weights() -> None:
    """Its weights come with ImageNet's normalisation and a layer that turns that into another one."""
    by_imagenet = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.transforms()
    x = torchvision.transforms.functional.normalize(images() / 255, by_imagenet.mean, by_imagenet.std)
    expected = torchvision.models.Inception3._transform_input(SimpleNamespace(transform_input=True), x)
    torch.testing.assert_close(Normalise("inception_v3")(images()), expected, rtol=1e-4, atol=1e-5)


def test_loss_is_equation_1() -> None:
    model = PlainClassifier("resnet18", 2)
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    model.eval()
    torch.testing.assert_close(model.loss(images(), labels), multilabel_bce(model(images()).logits, labels))
