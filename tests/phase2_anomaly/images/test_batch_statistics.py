from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbad.phase2_anomaly import AnoGANDetector, EGBADDetector, ImageAnomalyDetector, SAGANDetector
from gbad.phase2_anomaly.images.batch_statistics import renew_batch_statistics

SHORT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "features": 4, "latent_size": 8, "learning_rate": 2e-3}


class Two(nn.Module):
    """A layer that is used, one that is not, and dropout, which must stay off."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.BatchNorm1d(2, momentum=0.3), nn.BatchNorm1d(2)
        self.dropout = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(self.dropout(x))


def test_statistics_are_the_means_of_the_batches_and_all_else_stays() -> None:
    networks = Two()
    networks.used.running_mean.fill_(9.0)  # type: ignore[union-attr]
    networks.unused.running_mean.fill_(7.0)  # type: ignore[union-attr]
    batches = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    renew_batch_statistics(networks, networks, batches)
    assert torch.allclose(networks.used.running_mean, batches.mean((0, 1)))  # type: ignore[arg-type]
    assert torch.allclose(networks.used.running_var, batches.var(1).mean(0))  # type: ignore[arg-type]
    assert networks.unused.running_mean.tolist() == [7.0, 7.0]  # type: ignore[union-attr]
    assert (networks.used.momentum, networks.unused.momentum) == (0.3, 0.1)
    assert not any(module.training for module in networks.modules())


def test_networks_without_batch_normalisation_read_nothing() -> None:
    network = nn.Linear(2, 2)
    renew_batch_statistics(network, network, (pytest.fail("a batch was read") for _ in range(1)))
    assert not network.training


def make_images(n: int) -> np.ndarray:
    """A bright square on dark ground, at different places: uint8 (n, 32, 32)."""
    random = np.random.default_rng(0)
    images = random.integers(0, 20, (n, 32, 32), dtype=np.uint8)
    for image, (row, column) in zip(images, random.integers(4, 16, (n, 2)), strict=True):
        image[row : row + 12, column : column + 12] += 200
    return images


@pytest.mark.parametrize(
    "detector",
    [SAGANDetector(**SHORT | {"epochs": 3, "learning_rate": 1e-2}, widths=(4, 8)), EGBADDetector(**SHORT)],
    ids=lambda detector: type(detector).__name__,
)
def test_residuals_of_the_training_images_are_those_with_batch_statistics(detector: ImageAnomalyDetector[Any]) -> None:
    images = make_images(64)
    detector.fit(images)
    networks = deepcopy(detector._fitted_networks())
    for layer in networks.modules():
        layer.train(isinstance(layer, _BatchNorm))
    x = torch.from_numpy(images[:, None] / np.float32(127.5) - 1)
    with torch.no_grad():
        expected = np.concatenate([detector._score_parts(networks, batch).numpy() for batch in x.split(16)])
    residual = detector.score_parts(images)[:, 0]
    # The running averages of training are off by 42 % (SAGAN) and 13 % (EGBAD) here.
    assert np.median(residual) == pytest.approx(np.median(expected[:, 0]), rel=0.05)


def test_anogan_does_not_search_for_its_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = AnoGANDetector(**SHORT | {"epochs": 1}, search_steps=1, calibration_images=4)
    honest, searched = detector._search, []

    def search(networks: Any, x: Tensor) -> Any:
        searched.append(len(x))
        return honest(networks, x)

    monkeypatch.setattr(detector, "_search", search)
    detector.fit(make_images(8))
    assert searched == [32]  # one chunk, of the calibration images
    state = detector._fitted_networks().state_dict()
    counts = {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    assert counts == {1, 2}  # the generator's layers, and the discriminator's, which sees both kinds of images
