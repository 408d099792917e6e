from __future__ import annotations

import numpy as np
import pytest
import torch

from gbad.errors import GbadError
from gbad.phase1_classifier import classifier_from_state, classifier_state
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.runtime.randomness import forked_rng

pytestmark = pytest.mark.usefixtures("real_resnet18")


def small(**options: object) -> ThreatClassifier:
    settings = {"fpn_width": 8, "head_width": 6, "pooling": "average", "fusion": "hidden", "position_weight": 0.0}
    with forked_rng(0):
        return ThreatClassifier("resnet18", 3, **settings | options).eval()  # type: ignore[arg-type]


def batch(count: int = 4, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, size, size)).astype(np.float32))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_forward_follows_figure_2(pooling: str) -> None:
    """Pooled levels, FC1 to FC4, Σ as their mean, FC5: computed step by step."""
    model, images = small(pooling=pooling), batch()
    with torch.inference_mode():
        logits, features = model(images)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        levels = model.fpn(model.backbone((images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)))
        hidden = []
        for level, head in zip(levels.values(), model.heads, strict=True):
            pooled = level.mean((2, 3)) if pooling == "average" else level.relu().amax((2, 3))
            hidden.append((pooled @ head.weight.T + head.bias).relu())
        fc5 = model.classify[0]
        expected = sum(hidden) / 4 @ fc5.weight.T + fc5.bias
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, torch.cat(hidden, 1), rtol=1e-4, atol=1e-5)
    assert features.shape == (4, 24)


def test_fusion_of_logits_has_a_classifier_per_level() -> None:
    model = small(fusion="logits")
    assert len(model.classify) == 4
    with torch.inference_mode():
        logits, features = model(batch())
        expected = sum(fc(features[:, 6 * i : 6 * i + 6]) for i, fc in enumerate(model.classify)) / 4
    torch.testing.assert_close(logits, expected)


def test_context_averages_the_pyramids_logits_and_a_plain_networks() -> None:
    model, pyramid = small(fusion="context", pooling="max"), small(pooling="max")
    assert model.n_features == pyramid.n_features + 512
    pyramid.load_state_dict({key: value for key, value in model.state_dict().items() if "context" not in key})
    assert model.context is not None
    with torch.inference_mode():
        logits, features = model(batch())
        *_, last = model.levels(batch())
        of_pyramid = pyramid(batch())
        expected = (of_pyramid.logits + model.context(last.mean((2, 3)))) / 2
    torch.testing.assert_close(features[:, -512:], last.mean((2, 3)))
    torch.testing.assert_close(features[:, :-512], of_pyramid.features)
    torch.testing.assert_close(logits, expected)


def test_context_learns_positions_on_the_pyramids_levels_only() -> None:
    model = small(fusion="context", pooling="max", position_weight=1.0)
    boxes = torch.tensor([[[0.0, 0.1, 0.1, 0.6, 0.6]]]).repeat(4, 1, 1)
    labels = torch.tensor([[1.0, 0.0, 0.0]]).repeat(4, 1)
    theta = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]).repeat(4, 1, 1)
    model.loss(batch(), labels, boxes, theta).backward()
    assert model.position_maps(batch()).shape[:2] == labels.shape


def test_unknown_options_are_refused() -> None:
    with pytest.raises(GbadError, match="pooling 'sum'.*average, max"):
        small(pooling="sum")
    with pytest.raises(GbadError, match="fusion 'x'"):
        small(fusion="x")


def test_state_holds_plain_arrays_only() -> None:
    state = classifier_state(small())
    assert {type(value) for value in state["arrays"].values()} == {np.ndarray}


def test_building_from_a_state_leaves_the_global_generator_alone() -> None:
    state = classifier_state(small())
    before = torch.get_rng_state()
    classifier_from_state(state)
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_of_an_image_do_not_depend_on_the_batch() -> None:
    model = small().to(memory_format=torch.channels_last)
    images = batch(9)
    with torch.inference_mode():
        together = model(images).logits
        alone = torch.cat([model(image[None]).logits for image in images])
        reversed_ = model(images.flip(0)).logits.flip(0)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(reversed_, together, rtol=0, atol=1e-5)
