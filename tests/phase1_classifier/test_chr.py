from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from gbad.errors import GbadError
from gbad.phase1_classifier.chr import CHRClassifier, chr_loss
from gbad.runtime.randomness import forked_rng

pytestmark = pytest.mark.usefixtures("real_resnet18")

SIDES = {"resnet18": (8, 4, 2), "efficientnet_lite0": (8, 4, 2)}
WIDTHS = {"resnet18": (128, 256, 512), "efficientnet_lite0": (40, 112, 320)}


def small(backbone: str = "resnet18", **options: Any) -> CHRClassifier:
    settings = {"mask": "hierarchical", "threshold": None, "prediction": "deepest"} | options
    with forked_rng(0):
        return CHRClassifier(backbone, 3, **settings).eval()


def images(count: int = 2) -> torch.Tensor:
    return 255 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_heads_have_the_widths_and_places_of_the_last_three_stages(backbone: str) -> None:
    model = small(backbone)
    with torch.inference_mode():
        levels = model.levels(images())
        pooled = model.pool(levels)
        heads = model.heads(pooled)
    shapes = [(2, width, side, side) for width, side in zip(WIDTHS[backbone], SIDES[backbone], strict=True)]
    assert [tuple(level.shape) for level in levels] == shapes
    assert [tuple(values.shape) for values in pooled] == [(2, width) for width in WIDTHS[backbone]]
    assert [tuple(head.shape) for head in heads] == [(2, 3)] * 3
    assert model(images()).features.shape == (2, model.n_features)


def test_refinement_follows_the_description() -> None:
    """o1 from the last stage; o2 beside the last stage as it is; o3 beside the middle head's map."""
    model = small()

    def conv(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, layer.weight, layer.bias).relu()

    def twice(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    with torch.inference_mode():
        l2, l3, l4 = (model.backbone(model.normalise(images()))[name] for name in ("L2", "L3", "L4"))
        r4 = conv(model.stages[0], l4)
        r3 = conv(model.merge[0], torch.cat([conv(model.stages[1], l3), twice(l4)], 1))
        r2 = conv(model.merge[1], torch.cat([conv(model.stages[2], l2), twice(r3)], 1))
        expected = [fc(r.mean((2, 3))) for fc, r in zip(model.classify, (r4, r3, r2), strict=True)]
        heads = model.heads(model.pool(model.levels(images())))
        prediction = model(images())
        average = small(prediction="average")(images()).logits
    for head, logits in zip(heads, expected, strict=True):
        torch.testing.assert_close(head, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prediction.logits, heads[0])
    torch.testing.assert_close(average, sum(heads) / 3)
    torch.testing.assert_close(prediction.features, torch.cat([r.mean((2, 3)) for r in (r4, r3, r2)], 1))


def bce(logit: float, label: int) -> float:
    return math.log1p(math.exp(-logit if label else logit))


HEADS = [[-5.0, -5.0, 1.0], [-4.0, -21.0, -25.0], [2.0, -22.0, 0.5]]  # one image, classes: absent, present, absent
LABELS = [0, 1, 0]


@pytest.mark.parametrize(
    ("mask", "threshold", "left_out"),
    [
        ("none", None, set()),
        ("released", None, {(1, 2)}),  # its own logit is below -20 and the class is absent
        ("released", -4.5, {(0, 0), (1, 2)}),
        ("hierarchical", None, {(1, 0), (2, 0), (2, 2)}),  # the next coarser head's logit is below -3
        ("hierarchical", -4.5, {(1, 0), (2, 2)}),
    ],
)
def test_masks_leave_out_what_they_say(mask: str, threshold: float | None, left_out: set[tuple[int, int]]) -> None:
    expected = sum(sum(bce(HEADS[h][c], LABELS[c]) for c in range(3) if (h, c) not in left_out) / 3 for h in range(3))
    heads = [torch.tensor([logits]) for logits in HEADS]
    loss = chr_loss(heads, torch.tensor([LABELS]).float(), mask, threshold)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_what_is_left_out_has_no_gradient_and_the_judge_gets_none_from_it() -> None:
    heads = [torch.tensor([logits], requires_grad=True) for logits in HEADS]
    chr_loss(heads, torch.tensor([LABELS]).float(), "hierarchical", None).backward()
    zero = [(h, c) for h, head in enumerate(heads) for c in range(3) if head.grad is not None and head.grad[0, c] == 0]
    assert zero == [(1, 0), (2, 0), (2, 2)]
    p = 1 / (1 + math.exp(5.0))
    torch.testing.assert_close(heads[0].grad[0, 0], torch.tensor(p / 3))  # type: ignore[index]


def test_the_models_loss_uses_its_mask() -> None:
    labels = torch.zeros(2, 3)
    for mask, threshold in (("none", None), ("hierarchical", 100.0)):
        model = small(mask=mask, threshold=threshold)
        heads = model.heads(model.pool(model.levels(images())))
        torch.testing.assert_close(model.loss(images(), labels), chr_loss(heads, labels, mask, threshold))
    torch.testing.assert_close(model.loss(images(), labels), F.softplus(heads[0]).mean())  # only the coarsest is left


def test_unknown_options_are_refused() -> None:
    with pytest.raises(GbadError, match="mask 'some'.*none, released, hierarchical"):
        small(mask="some")
    with pytest.raises(GbadError, match="prediction 'finest'.*deepest, average"):
        small(prediction="finest")
