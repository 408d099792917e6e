from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gbad.phase2_anomaly.images.rows import ImageRows
from gbad.phase2_anomaly.images.training import Schedule, train_networks
from gbad.phase2_anomaly.optimisers import adam


def batches_of(n_rows: int, batch_size: int) -> list[list[int]]:
    """Rows of each batch of one epoch."""
    network = nn.Linear(1, 1)
    seen: list[list[int]] = []

    def read(rows: np.ndarray) -> Tensor:
        seen.append(rows.tolist())
        return torch.zeros(len(rows), 1)

    def step(x: Tensor) -> dict[str, Tensor]:
        return {"loss": torch.tensor(0.0)}

    train_networks(network, {"all": adam([network], 0.1, 0.5)}, step, read, Schedule(n_rows, 1, batch_size, 0))
    return seen


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "sizes"), [(10, 4, [4, 3, 3]), (9, 8, [5, 4]), (3, 2, [3]), (2, 64, [2]), (5, 2, [3, 2])]
)
def test_batches_are_equal_leave_no_row_out_and_hold_two_rows_at_least(
    n_rows: int, batch_size: int, sizes: list[int]
) -> None:
    batches = batches_of(n_rows, batch_size)
    assert [len(rows) for rows in batches] == sizes
    assert sorted(sum(batches, [])) == list(range(n_rows))
    assert sum(batches, []) != list(range(n_rows)) or n_rows < 9


def test_the_learning_rate_follows_its_factor_and_losses_are_means() -> None:
    network = nn.Linear(1, 1)
    optimisers = {"slow": adam([network], 0.1, 0.5), "fast": adam([network], 0.4, 0.5)}
    rates: list[tuple[float, float]] = []

    def step(x: Tensor) -> dict[str, Tensor]:
        rates.append((optimisers["slow"].param_groups[0]["lr"], optimisers["fast"].param_groups[0]["lr"]))
        return {"loss": x.sum()}

    history = train_networks(
        network,
        dict(optimisers),
        step,
        lambda rows: torch.from_numpy(rows).float()[:, None],
        Schedule(4, 3, 2, 0),
        rate_factor=lambda epoch: 0.5**epoch,
    )
    assert rates[::2] == rates[1::2]
    assert np.allclose(rates[::2], [(0.1, 0.4), (0.05, 0.2), (0.025, 0.1)])
    assert history == [{"loss": 3.0}] * 3  # (0 + 1 + 2 + 3) in two batches


def test_rows_are_scaled_warped_and_brought_to_one_colour(tmp_path: Path) -> None:
    black_and_white = np.zeros((2, 32, 32), np.uint8)
    black_and_white[1] = 255
    read = ImageRows(black_and_white, 32).read([1, 0, 1])
    assert read.shape == (3, 1, 32, 32)
    assert read.dtype == torch.float32
    assert read[:, 0, 0, 0].tolist() == [1.0, -1.0, 1.0]
    assert ImageRows(black_and_white, 64, channels=3).read([1]).shape == (1, 3, 64, 64)
    red = np.zeros((1, 40, 40, 3), np.uint8)
    red[..., 0] = 255
    grey = (ImageRows(red, 32, channels=1).read([0]) + 1) * 127.5
    assert torch.allclose(grey, torch.full((1, 1, 32, 32), 76.0), atol=0.01)  # 0.299 x 255
    Image.fromarray(red[0]).save(tmp_path / "red.png")
    files = ImageRows([tmp_path / "red.png"], 32)
    assert files.channels == 3
    assert torch.equal(files.read([0]), ImageRows(red, 32).read([0]))


def test_the_digest_changes_with_the_images(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 32), np.uint8)
    path = tmp_path / "image.png"
    digests = [ImageRows(pixels, 32).digest(), ImageRows(pixels.copy(), 32).digest()]
    assert digests[0] == digests[1]
    pixels[1, 3, 3] = 1
    assert ImageRows(pixels, 32).digest() != digests[0]
    Image.fromarray(pixels[0]).save(path)
    first = ImageRows([path], 32).digest()
    assert ImageRows([str(path)], 32).digest() == first
    Image.fromarray(np.repeat(pixels[1], 2, axis=0)).save(path)
    assert ImageRows([path], 32).digest() != first
