from __future__ import annotations

import pytest
import torch

from gbad.phase1_classifier import PlainClassifier, build_classifier
from gbad.phase1_classifier.classifier import multilabel_bce


def images(count: int = 2) -> torch.Tensor:
    return 255 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "width", "mean", "std"),
    [
        ("resnet18", 512, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_lite0", 320, (127 / 255,), (128 / 255,)),
    ],
)
def test_forward_is_one_layer_on_the_averaged_last_stage(
    backbone: str, width: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    model, _ = build_classifier(backbone, 3, architecture="plain", pretrained=False)
    assert isinstance(model.eval(), PlainClassifier)
    with torch.inference_mode():
        logits, features = model(images())
        normalised = (images() / 255 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
        pooled = model.backbone(normalised)["L4"].mean((2, 3))
        expected = pooled @ model.classify.weight.T + model.classify.bias
    assert features.shape == (2, width) == (2, model.n_features)
    torch.testing.assert_close(features, pooled, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_loss_is_equation_1() -> None:
    model, _ = build_classifier("resnet18", 2, architecture="plain", pretrained=False)
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    model.eval()
    torch.testing.assert_close(model.loss(images(), labels), multilabel_bce(model(images()).logits, labels))
