from __future__ import annotations

import numpy as np
import torch

from gbad.data.transforms import eval_preset, train_preset
from gbad.randomness import torch_generator


def test_eval_preset_changes_no_value() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    tensor = eval_preset(images)
    assert tensor.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), images)


def test_train_preset_without_freedom_only_flips() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 3), dtype=np.uint8)
    moved = train_preset(images, torch_generator(0), scale=(1, 1), shift=0, rotation=0, contrast=0)
    original = eval_preset(images)
    flips = [original, original.flip(3), original.flip(2), original.flip(2, 3)]
    found = {next(i for i, flip in enumerate(flips) if torch.allclose(flip[n], moved[n], atol=1e-3)) for n in range(16)}
    assert found == {0, 1, 2, 3}


def test_what_comes_in_from_outside_is_white() -> None:
    black = np.zeros((4, 32, 32, 3), np.uint8)
    moved = train_preset(black, torch_generator(0), scale=(0.5, 0.5), shift=0, rotation=0, contrast=0)
    assert (moved[:, :, 0, 0] == 255).all()
    assert (moved[:, :, 16, 16] == 0).all()


def test_train_preset_depends_on_its_generator_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    one, two, other = (train_preset(images, torch_generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255
