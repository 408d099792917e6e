from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gbad.data.bad_images import BadImages
from gbad.data.boxes import Boxes
from gbad.data.cache import DecodedCache
from gbad.data.source import source_from_array
from gbad.data.transforms import Views, apply_views, draw_views
from gbad.errors import GbadError
from gbad.phase1_classifier import (
    class_heatmap,
    classifier_from_state,
    classifier_state,
    position_maps,
    predict_batch,
)
from gbad.phase1_classifier.classifier import multilabel_bce
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.positions import PositionHead, box_targets
from gbad.runtime.randomness import torch_generator

AS_IT_IS = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def targets_of(boxes: list[list[float]], side: int, theta: torch.Tensor = AS_IT_IS) -> torch.Tensor:
    return box_targets(torch.tensor([boxes]), theta, 2, side, side)[0]


def test_cells_whose_centre_is_in_a_box_are_positive() -> None:
    # Centres of a grid of 4: .125, .375, .625, .875.
    found = targets_of([[0, 0.1, 0.3, 0.7, 0.9], [1, 0.0, 0.0, 0.2, 0.2], [1, 0.8, 0.8, 1.0, 1.0]], 4)
    assert found[0].tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    assert found[1].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_box_between_the_centres_gets_the_cell_of_its_own_centre() -> None:
    found = targets_of([[0, 0.40, 0.15, 0.45, 0.20], [-1, 0.0, 0.0, 1.0, 1.0]], 4)
    assert found[0].nonzero().tolist() == [[0, 1]]
    assert not found[1].any()


def test_a_box_outside_the_view_is_nowhere() -> None:
    half = torch.tensor([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5]]])  # the left upper quarter, twice as large
    assert not targets_of([[0, 0.6, 0.6, 0.9, 0.9], [1, 0.77, 0.77, 0.78, 0.78]], 4, half).any()
    found = targets_of([[0, 0.0, 0.25, 0.25, 0.5]], 4, half)[0]
    assert found.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize(("flip_x", "flip_y"), [(-1, 1), (1, -1), (-1, -1)])
def test_flips_move_maps_as_they_move_images(flip_x: int, flip_y: int) -> None:
    image = np.full((1, 8, 8, 3), 255, np.uint8)
    image[0, 1:3, 4:8] = 0
    theta = torch.tensor([[[flip_x, 0, 0], [0, flip_y, 0]]], dtype=torch.float32)
    moved = apply_views(image, Views(theta, torch.ones(1)))
    found = targets_of([[0, 0.5, 0.125, 1.0, 0.375]], 8, theta)[0]
    torch.testing.assert_close(found, 1 - moved[0, 0] / 255)
    straight = targets_of([[0, 0.5, 0.125, 1.0, 0.375]], 8)[0]
    flipped = straight.flip([axis for axis, sign in ((1, flip_x), (0, flip_y)) if sign < 0])
    torch.testing.assert_close(found, flipped)


def test_any_view_moves_maps_as_it_moves_images() -> None:
    """Rotation, scale, shift and flips: a dark box in the image stays under its map."""
    images = np.full((24, 32, 32, 3), 255, np.uint8)
    images[:, 10:18, 6:22] = 0
    views = draw_views(24, torch_generator(1), contrast=0.0)
    dark = 1 - apply_views(images, views)[:, 0] / 255
    boxes = torch.tensor([0, 6 / 32, 10 / 32, 22 / 32, 18 / 32]).expand(24, 1, 5)
    found = box_targets(boxes, views.theta, 1, 32, 32)[:, 0]
    clear = (dark < 0.01) | (dark > 0.99)  # elsewhere the border of the box runs through the pixel
    assert clear.float().mean() > 0.9
    assert torch.equal(found[clear], dark[clear].round())
    # Through the cells of a coarse grid runs no box's centre but one.
    small = torch.tensor([0, 0.5, 0.5, 0.501, 0.501]).expand(24, 1, 5)
    coarse = box_targets(small, views.theta, 1, 3, 3)
    assert (coarse.sum((1, 2, 3)) == 1).all()


def test_loss_is_the_focal_loss_over_places_in_boxes() -> None:
    head = PositionHead(2, 3, 1)
    torch.nn.init.zeros_(head.maps[0].weight)
    head.maps[0].bias = torch.nn.Parameter(torch.tensor([0.0, 1.0, 2.0]))
    levels = [torch.zeros(1, 2, 2, 2)]
    labels = torch.tensor([[1.0, 1.0, 0.0]])  # with a box, without a box, absent
    boxes = torch.tensor([[[0, 0.0, 0.0, 0.5, 1.0]]])
    p = [torch.sigmoid(torch.tensor(value)).item() for value in (0.0, 2.0)]
    in_box, beside = -0.25 * (1 - p[0]) ** 2 * np.log(p[0]), -0.75 * p[0] ** 2 * np.log(1 - p[0])
    absent = -0.75 * p[1] ** 2 * np.log(1 - p[1])
    expected = (2 * in_box + 2 * beside + 4 * absent) / 2  # two cells in the box
    assert head.loss(levels, labels, boxes, AS_IT_IS).item() == pytest.approx(expected, rel=1e-5)
    nothing = head.loss(levels, labels[:, [1, 1, 2]], boxes - 1, AS_IT_IS)  # positives without boxes are left out
    assert nothing.item() == pytest.approx(4 * absent, rel=1e-5)


def test_an_image_is_read_from_the_maxima_of_its_heat_map() -> None:
    head = PositionHead(1, 2, 2)
    for convolution in head.maps:
        torch.nn.init.ones_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    head.scale = torch.nn.Parameter(torch.tensor([1.0, 0.5]))
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), 2.0)
    fine[0, 0, 1, 2] = 4.0
    fine[0, 0, 3, 3] = -9.0  # below the ReLU
    maps = head.heat_map([fine, coarse])
    assert maps.shape == (1, 2, 4, 4)
    assert maps[0, 0].max() == maps[0, 0, 1, 2] == 3.0
    assert maps[0, 0].min() == 1.0
    torch.testing.assert_close(head.logits([fine, coarse]), torch.tensor([[3.0, 0.5 * 3.0]]))


@pytest.fixture
def small(build: Callable[..., ThreatClassifier]) -> Callable[..., ThreatClassifier]:
    def make(weight: float = 1.0, fusion: str = "hidden") -> ThreatClassifier:
        return build("fpn", seed=1, fusion=fusion, fpn_width=16, head_width=8, position_weight=weight)

    return make


Small = Callable[..., ThreatClassifier]


@pytest.mark.parametrize("fusion", ["hidden", "context"])
def test_both_readings_have_a_loss_to_which_the_weighted_loss_of_positions_is_added(small: Small, fusion: str) -> None:
    labels, boxes = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0, 0.0, 0.0, 0.5, 0.5]]])
    images = 255 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = small(0.7, fusion=fusion).eval()
    assert model.position is not None
    *levels, last = model.levels(images) if fusion == "context" else [*model.levels(images), None]
    where = model.position.logits(levels)
    pooled = [head(level.amax((2, 3)).relu()).relu() for head, level in zip(model.heads, levels, strict=True)]
    others = model.classify[0](torch.stack(pooled).mean(0))
    if model.context is not None:
        others = (others + model.context(last.mean((2, 3)))) / 2
    torch.testing.assert_close(model(images).logits, (others + where) / 2)
    expected = (multilabel_bce(others, labels) + multilabel_bce(where, labels)) / 2  # each learns by itself
    torch.testing.assert_close(model.loss(images, labels), expected)
    expected = expected + 0.7 * model.position.loss(levels, labels, boxes, AS_IT_IS)
    torch.testing.assert_close(model.loss(images, labels, boxes, AS_IT_IS), expected)


def test_state_and_maps(small: Small, build: Callable[..., Any]) -> None:
    model = small().to(memory_format=torch.channels_last).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    copy = classifier_from_state(classifier_state(model))
    maps = position_maps(copy, images)
    assert maps.shape == (2, 2, 8, 8)
    assert 0 < maps.min() < maps.max() < 1
    np.testing.assert_array_equal(maps, position_maps(model, images))
    np.testing.assert_array_equal(predict_batch(copy, images)[0], predict_batch(model, images)[0])
    np.testing.assert_allclose(class_heatmap(copy, images[1], 1), maps[1, 1], atol=1e-6)
    with pytest.raises(GbadError, match="knows no positions: train it with boxes"):
        position_maps(small(0.0).eval(), images)
    with pytest.raises(GbadError, match="use the architecture fpn"):
        position_maps(build("plain").eval(), images)


def toy_set() -> tuple[np.ndarray, np.ndarray, Boxes]:
    """Noise; class 0 is a dark square, class 1 a red one, at random places of three quarters of the images."""
    random = np.random.default_rng(0)
    images = random.integers(200, 256, (64, 32, 32, 3), dtype=np.uint8)
    labels, boxes = np.zeros((64, 2), np.uint8), {}
    for row in range(48):
        x, y = random.integers(0, 24, 2)
        column = row % 2
        images[row, y : y + 8, x : x + 8, column:] = 10
        labels[row, column] = 1
        boxes[row] = np.array([[column, x / 32, y / 32, (x + 8) / 32, (y + 8) / 32]], np.float32)
    return images, labels, boxes


def test_training_with_boxes_finds_threats(small: Small, train: Callable[..., Any], tmp_path: Path) -> None:
    images, labels, boxes = toy_set()
    rows, shown = np.concatenate([np.arange(32), np.arange(48, 64)]), np.arange(32, 48)
    with closing(DecodedCache(source_from_array(images, 32), tmp_path / "cache", BadImages(64))) as cache:
        data = cache, labels, rows, shown, ("Dark", "Red")
        model, history = train(
            small(), *data, tmp_path / "run", boxes=boxes, epochs=25, optimiser="adamw", learning_rate=1e-2,
            ema_decay=0.9,
        )  # fmt: skip
        with pytest.raises(GbadError, match="need each other"):
            train(small(), *data, tmp_path / "other")
        with pytest.raises(GbadError, match="need each other"):
            train(small(0.0), *data, tmp_path / "other", boxes=boxes)
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    maps = position_maps(model, images[shown])
    hits = 0
    for map_, row in zip(maps, shown, strict=True):
        column, left, top, right, bottom = boxes[row][0]
        y, x = np.divmod(map_[int(column)].argmax(), 8)
        hits += left <= (x + 0.5) / 8 <= right and top <= (y + 0.5) / 8 <= bottom
    assert hits >= 13  # of 16 that it was not trained on; chance: 1 of 16
