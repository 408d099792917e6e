from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gbad.data.transforms import AUGMENTATIONS, Views, apply_views, draw_views, eval_preset, middle
from gbad.runtime.randomness import torch_generator


def random_views(images: np.ndarray, generator: torch.Generator, **freedom: Any) -> torch.Tensor:
    return apply_views(images, draw_views(len(images), generator, **freedom))


def test_eval_preset_changes_no_value() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    tensor = eval_preset(images)
    assert tensor.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), images)


def test_random_views_without_freedom_only_flips() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 3), dtype=np.uint8)
    moved = random_views(images, torch_generator(0), scale=(1, 1), shift=0, rotation=0, contrast=0)
    original = eval_preset(images)
    flips = [original, original.flip(3), original.flip(2), original.flip(2, 3)]
    found = {next(i for i, flip in enumerate(flips) if torch.allclose(flip[n], moved[n], atol=1e-3)) for n in range(16)}
    assert found == {0, 1, 2, 3}


def test_what_comes_in_from_outside_is_white() -> None:
    black = np.zeros((4, 32, 32, 3), np.uint8)
    moved = random_views(black, torch_generator(0), scale=(0.5, 0.5), shift=0, rotation=0, contrast=0)
    assert (moved[:, :, 0, 0] == 255).all()
    assert (moved[:, :, 16, 16] == 0).all()


def test_random_views_depend_on_their_generator_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    one, two, other = (random_views(images, torch_generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255


def still(count: int, **colours: torch.Tensor) -> Views:
    """Views that move nothing."""
    return Views(torch.eye(2, 3).expand(count, 2, 3), torch.ones(count), **colours)


def test_colours_are_mixed_and_raised_on_the_distance_from_white() -> None:
    pixel = np.array([255 - 51, 255 - 102, 255], np.uint8)  # darkness .2, .4, 0
    mixing = torch.tensor([[[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 3.0, 0.0]]])
    seen = apply_views(np.tile(pixel, (1, 4, 4, 1)), still(1, colour=mixing, gamma=torch.tensor([2.0])))
    darkness = np.array([0.4, 0.3, 1.0]) ** 2  # 1.2 is darker than black
    np.testing.assert_allclose(seen[0, :, 1, 1], 255 * (1 - darkness), atol=1e-3)


def test_strong_views_leave_the_empty_belt_white_and_turn_any_way() -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3), dtype=np.uint8)
    white = np.full_like(images, 255)
    assert (random_views(white, torch_generator(0), **AUGMENTATIONS["strong"]) == 255).all()
    seen = random_views(images, torch_generator(0), **AUGMENTATIONS["strong"])
    assert seen.min() >= 0
    assert seen.max() <= 255
    turns = draw_views(200, torch_generator(1), **AUGMENTATIONS["strong"]).theta
    assert (turns[:, 0, 0].abs() < turns[:, 1, 0].abs()).float().mean() == pytest.approx(0.5, abs=0.1)


def test_full_grey_shows_no_colour() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    grey = torch.full((1, 3, 3), 1 / 3)
    seen = apply_views(images, still(1, colour=grey))
    np.testing.assert_allclose(seen[0], np.repeat(images[0].mean(2)[None], 3, axis=0), atol=1e-3)


def test_what_is_not_drawn_changes_no_other_draw() -> None:
    plain, coloured = draw_views(5, torch_generator(3)), draw_views(5, torch_generator(3), colour=0.2, gamma=0.5)
    assert torch.equal(plain.theta, coloured.theta)
    assert torch.equal(plain.contrast, coloured.contrast)
    assert plain.colour is None
    assert coloured.colour is not None
    assert coloured.colour.shape == (5, 3, 3)


def test_views_of_the_middle_shift_within_the_image() -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    still = Views(torch.eye(2, 3).repeat(2, 1, 1), torch.ones(2))
    np.testing.assert_allclose(apply_views(images, still, 16), eval_preset(middle(images, 16)), atol=1e-3)
    still.theta[:, 0, 2] = 2 * 4 / 16  # a quarter of the middle's side to the right
    np.testing.assert_allclose(apply_views(images, still, 16), eval_preset(images[:, 4:20, 8:24]), atol=1e-3)


def test_quarter_turns_are_all_drawn() -> None:
    theta = draw_views(200, torch_generator(0), rotation=0.0, scale=(1, 1), shift=0.0, quarter_turns=True).theta
    turned = {tuple(map(tuple, one.abs().round().int().tolist())) for one in theta}
    assert turned == {((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (1, 0, 0))}
