from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

from gbad.errors import GbadError
from gbad.phase1_classifier.pyramid import FeaturePyramid

CHANNELS = (3, 5, 7, 9)


def stages() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sides = ((17, 12), (9, 6), (4, 3), (2, 1))
    shapes = enumerate(zip(CHANNELS, sides, strict=True), start=1)
    return {f"L{number}": torch.randn(2, count, *side, generator=generator) for number, (count, side) in shapes}


def test_it_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    own = FeaturePyramid(CHANNELS, 8)
    torch.manual_seed(0)
    known = FeaturePyramidNetwork(list(CHANNELS), 8)
    assert own.state_dict().keys() == known.state_dict().keys()
    for name, value in known.state_dict().items():
        assert torch.equal(own.state_dict()[name], value)
    expected = known(OrderedDict(stages()))
    found = own(stages())
    assert list(found) == ["L1", "L2", "L3", "L4"]
    for name, level in expected.items():
        torch.testing.assert_close(found[name], level, rtol=0, atol=1e-6)


def test_levels_by_hand() -> None:
    pyramid = FeaturePyramid((1, 1), 1)
    with torch.no_grad():
        for block in pyramid.inner_blocks:
            block[0].weight.fill_(1.0)
        for block in pyramid.layer_blocks:
            block[0].weight.fill_(0.0)
            block[0].weight[0, 0, 1, 1] = 2.0
        levels = pyramid({"fine": torch.ones(1, 1, 4, 4), "coarse": torch.full((1, 1, 2, 2), 3.0)})
    assert levels["coarse"].tolist() == [[[[6.0, 6.0], [6.0, 6.0]]]]
    assert levels["fine"].unique().tolist() == [2 * (1 + 3.0)]


def test_light_levels_by_hand() -> None:
    pyramid = FeaturePyramid((1, 1), 1, "light")
    with torch.no_grad():
        for block in pyramid.inner_blocks:
            block[0].weight.fill_(1.0)
        for block in pyramid.layer_blocks:
            block[0].weight.fill_(0.0)
            block[0].weight[0, 0, 1, 1] = 2.0
            block[1].weight.fill_(5.0)
            block[1].bias.fill_(0.5)
        fine = torch.arange(9.0).reshape(1, 1, 3, 3)
        levels = pyramid({"fine": fine, "coarse": torch.zeros(1, 1, 2, 2)})
    assert levels["coarse"].unique().tolist() == [0.5]
    maxima = torch.tensor([[4.0, 5.0], [7.0, 8.0]])  # of 2×2 places; the last row and column stand alone
    assert torch.equal(levels["fine"][0, 0], 5 * 2 * maxima + 0.5)


def test_a_light_level_is_a_full_one_with_the_kernel_of_both_convolutions() -> None:
    light, full = FeaturePyramid(CHANNELS, 8, "light"), FeaturePyramid(CHANNELS, 8)
    full.inner_blocks.load_state_dict(light.inner_blocks.state_dict())
    with torch.no_grad():
        for one, both in zip(full.layer_blocks, light.layer_blocks, strict=True):
            one[0].weight.copy_(both[1].weight * both[0].weight[:, 0])
            one[0].bias.copy_(both[1].bias + both[1].weight[:, :, 0, 0] @ both[0].bias)
        found, expected = light(stages()), full(stages())
    assert found["L1"].shape == (2, 8, 9, 6)
    for name in ("L2", "L3", "L4"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-5)


def test_another_form_is_refused() -> None:
    with pytest.raises(GbadError, match="unknown fpn_form 'x'; choose one of full, light"):
        FeaturePyramid(CHANNELS, 8, "x")


@pytest.mark.parametrize("module", ["torchvision", "matplotlib"])
def test_scoring_with_efficientnet_lite_does_not_wait_for(module: str) -> None:
    code = (
        "import sys, gbad.workflows.predict\n"
        "from gbad.phase1_classifier import ARCHITECTURES\n"
        "ARCHITECTURES['fpn']('efficientnet_lite0', 2, fpn_width=8, head_width=8, pooling='max', fusion='context', "
        "position_weight=1.0)\n"
        f"assert {module!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
