"""A training that is stopped early is the beginning of the full one, and stops by its monitored rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gbad.phase2_anomaly import BiGANDetector, epochs
from gbad.phase2_anomaly.features.bigan_networks import BiGAN
from gbad.phase2_anomaly.features.bigan_training import TrainingSettings, monitored_loss, train_bigan
from gbad.phase2_anomaly.features.early_stopping import Stopping, monitored_number, parts_of
from gbad.runtime.randomness import forked_rng

STOPPED: dict[str, Any] = {
    "latent_size": 3, "hidden_sizes": (16, 8), "discriminator_sizes": (16, 8, 8), "learning_rate": 3e-3,
    "batch_size": 32, "min_steps": 2000, "early_stopping": True, "patience": 60, "tolerance": 0.02,
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """150 rows near a curved surface of three dimensions."""
    random = np.random.default_rng(0)
    surface = np.tanh(random.normal(size=(150, 3)) @ random.normal(size=(3, 12)))
    return np.asarray(3 * surface + 0.1 * random.normal(size=(150, 12)) + 5, np.float32)


@pytest.fixture(scope="module")
def stopped(rows: np.ndarray) -> BiGANDetector:
    return BiGANDetector(**STOPPED).fit(rows)


def test_it_stops_at_the_first_epoch_without_a_gain(stopped: BiGANDetector) -> None:
    monitored = stopped.history_["monitored"].tolist()
    rule = Stopping(monitored=15, patience=12, tolerance=0.02)  # 60 steps are 12 epochs of five batches
    assert stopped.n_epochs_ == len(monitored) < stopped.max_epochs_ == 400
    assert stopped.n_steps_ == 5 * stopped.n_epochs_
    assert [rule.is_enough(monitored[:n]) for n in range(1, len(monitored) + 1)] == [False] * (len(monitored) - 1) + [
        True
    ]
    assert min(monitored) < 0.9 * monitored[0]


def test_it_is_the_beginning_of_the_full_training(stopped: BiGANDetector, rows: np.ndarray) -> None:
    impatient = BiGANDetector(**STOPPED | {"min_steps": 0, "epochs": stopped.n_epochs_, "patience": 10**6}).fit(rows)
    assert impatient.n_epochs_ == impatient.max_epochs_ == stopped.n_epochs_
    np.testing.assert_array_equal(impatient.losses(rows), stopped.losses(rows))


def test_rows_are_learnt_from_or_monitored() -> None:
    seen: list[np.ndarray] = []

    def read(rows: np.ndarray) -> torch.Tensor:
        seen.append(rows)
        return torch.from_numpy(np.random.default_rng(0).normal(size=(65, 6)).astype(np.float32)[rows])

    settings = TrainingSettings(
        n_rows=65, n_epochs=2, n_batches=3, learning_rate=1e-2, betas=(0.5, 0.999), reconstruction_weight=10.0,
        reconstruction_gradient="G", ema_decay=0.99, seed=4, stopping=Stopping(11, 9, 0.0),
    )  # fmt: skip
    networks = BiGAN(6, latent_size=3, hidden_sizes=(8, 7), discriminator_sizes=(8, 4, 5))
    train_bigan(networks, read, settings)
    learnt, monitored = parts_of(65, 11, seed=4)
    assert sorted([*learnt, *monitored]) == list(range(65))
    assert len(seen) == 2 * (3 + 1)
    for epoch in (seen[:4], seen[4:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch[:3])), learnt)
        np.testing.assert_array_equal(epoch[3], monitored)
    assert set(learnt) != set(parts_of(65, 11, seed=5).learnt)


def test_monitored_loss_is_the_share_that_is_not_reproduced() -> None:
    with forked_rng(0):
        networks = BiGAN(4, latent_size=2, hidden_sizes=(5,), discriminator_sizes=(4, 4, 4))
        x = torch.randn(7, 4)
    networks.requires_grad_(False)
    expected = (x - networks.generator(networks.encoder(x))).abs().sum() / x.abs().sum()
    assert monitored_loss(networks, x) == pytest.approx(float(expected), rel=1e-6)
    for layer in networks.generator:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.zero_()
    assert monitored_loss(networks, x) == pytest.approx(1.0)  # the mean row, whatever comes in


def test_too_few_rows_are_trained_on_to_the_end(rows: np.ndarray) -> None:
    few = BiGANDetector(**STOPPED | {"min_steps": 90}).fit(rows[:19])
    assert few.n_epochs_ == few.max_epochs_ == 90
    assert "monitored" not in few.history_
    plain = BiGANDetector(**STOPPED | {"min_steps": 90, "early_stopping": False}).fit(rows[:19])
    np.testing.assert_array_equal(few.losses(rows), plain.losses(rows))


@pytest.mark.parametrize(("n", "fraction", "expected"), [(20, 0.5, 10), (100, 0.3, 30), (10**6, 0.1, 2000)])
def test_number_of_monitored_rows(n: int, fraction: float, expected: int) -> None:
    assert monitored_number(n, fraction) == expected


class Killed(Exception):
    pass


@pytest.mark.parametrize("where", ["before", "at the end"])
def test_a_killed_training_stops_where_an_undisturbed_one_does(
    where: str, stopped: BiGANDetector, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "CHECKPOINT_SECONDS", 0.0)
    path, end = tmp_path / "checkpoint.pt", stopped.n_epochs_
    last = end if where == "at the end" else end - 5

    def kill(epoch: int, n_epochs: int, losses: dict[str, float]) -> None:
        assert n_epochs == (end if epoch == end else stopped.max_epochs_)
        if epoch == last:
            raise Killed

    with pytest.raises(Killed):
        BiGANDetector(**STOPPED).fit(rows, checkpoint=path, callback=kill)
    later: list[int] = []
    resumed = BiGANDetector(**STOPPED).fit(rows, checkpoint=path, callback=lambda epoch, *_: later.append(epoch))
    assert later == list(range(last + 1, end + 1))
    for name, values in stopped.get_arrays().items():
        np.testing.assert_array_equal(resumed.get_arrays()[name], values, err_msg=name)
