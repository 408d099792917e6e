from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gbad.errors import GbadError, RunError
from gbad.phase2_anomaly import BiGANDetector, epochs

SMALL: dict[str, Any] = {
    "latent_size": 3,
    "hidden_sizes": (16, 8),
    "discriminator_sizes": (16, 8, 8),
    "learning_rate": 1e-3,
    "spectral_norm": False,
    "batch_size": 32,
    "epochs": 2,
    "min_steps": 40,
}


@parametrize_with_checks(
    [
        BiGANDetector(**SMALL | {"spectral_norm": True, "hidden_sizes": (8,), "min_steps": 6}),
        BiGANDetector(**SMALL | {"spectral_norm": True, "hidden_sizes": (8,), "min_steps": 6, "early_stopping": True}),
    ]
)
def test_scikit_learns_contract(estimator: BiGANDetector, check: Callable[[BiGANDetector], None]) -> None:
    check(estimator)


def make_rows(n: int, seed: int, n_features: int = 12) -> np.ndarray:
    """Rows near a curved surface of three dimensions."""
    random = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(3, n_features))
    rows = np.tanh(random.normal(size=(n, 3)) @ weights) * 3 + 0.1 * random.normal(size=(n, n_features)) + 5
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return make_rows(150, seed=0)


@pytest.fixture(scope="module")
def detector(rows: np.ndarray) -> BiGANDetector:
    return BiGANDetector(**SMALL).fit(rows)


def test_losses_follow_equations_3_and_4_in_plain_numpy(detector: BiGANDetector, rows: np.ndarray) -> None:
    w = {name: values.astype(np.float64) for name, values in detector.weights_.items()}

    def leaky(v: np.ndarray) -> np.ndarray:
        return np.where(v > 0, v, 0.1 * v)

    def chain(name: str, v: np.ndarray) -> np.ndarray:
        for i in (0, 2):
            v = leaky(v @ w[f"{name}.{i}.weight"].T + w[f"{name}.{i}.bias"])
        return v @ w[f"{name}.4.weight"].T + w[f"{name}.4.bias"]

    def layer(name: str, v: np.ndarray) -> np.ndarray:
        return leaky(v @ w[f"discriminator.{name}.0.weight"].T + w[f"discriminator.{name}.0.bias"])

    def f_d(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return layer("joint", np.hstack([layer("x_branch", x), layer("z_branch", z)]))

    x = (rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)) / rows.std(axis=0, dtype=np.float64)
    z = chain("encoder", x)
    g = chain("generator", z)
    expected = np.column_stack([np.abs(x - g).sum(axis=1), np.linalg.norm(f_d(x, z) - f_d(g, z), axis=1)])
    losses = detector.losses(rows)
    assert losses.dtype == np.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_score_adds_both_losses_in_units_of_a_typical_training_row(detector: BiGANDetector, rows: np.ndarray) -> None:
    losses = detector.losses(rows)
    relative = losses / np.median(losses, axis=0)
    np.testing.assert_allclose(detector.score_samples(rows), -(0.9 * relative[:, 0] + 0.1 * relative[:, 1]))
    assert clone(detector).set_params(feature_matching_weight=1.0).fit(rows).score_samples(rows) == pytest.approx(
        -relative[:, 1]
    )


def test_low_scores_are_abnormal_and_the_sign_is_turned_once(detector: BiGANDetector, rows: np.ndarray) -> None:
    outliers = rows + 20
    assert detector.score_samples(outliers).max() < detector.score_samples(rows).min()
    assert (detector.predict(outliers) == -1).all()
    np.testing.assert_array_equal(detector.anomaly_score(rows), -detector.score_samples(rows))
    np.testing.assert_array_equal(detector.decision_function(rows), detector.score_samples(rows) - detector.offset_)


def test_contamination_is_the_share_of_training_rows_called_abnormal(rows: np.ndarray) -> None:
    detector = BiGANDetector(**SMALL, contamination=0.2).fit(rows)
    assert (detector.predict(rows) == -1).mean() == pytest.approx(0.2, abs=1 / len(rows))


def test_a_rows_losses_depend_on_nothing_but_the_row(detector: BiGANDetector, rows: np.ndarray) -> None:
    losses = detector.losses(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(detector.losses(rows[order]), losses[order], rtol=1e-9)
    np.testing.assert_allclose(np.vstack([detector.losses(row[None]) for row in rows[:20]]), losses[:20], rtol=1e-9)
    in_small_chunks = copy.copy(detector)
    in_small_chunks.chunk_rows = 7  # type: ignore[misc]
    np.testing.assert_allclose(in_small_chunks.losses(rows), losses, rtol=1e-9)
    np.testing.assert_array_equal(detector.losses(rows), losses)


def test_equal_seeds_give_equal_detectors_and_the_process_is_left_alone(
    detector: BiGANDetector, rows: np.ndarray
) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = BiGANDetector(**SMALL).fit(rows)
    other = BiGANDetector(**SMALL, random_state=1).fit(rows)
    np.testing.assert_array_equal(again.losses(rows), detector.losses(rows))
    assert not np.allclose(other.losses(rows), detector.losses(rows))
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_both_losses_find_outliers_and_the_training_is_healthy() -> None:
    train, test = make_rows(1500, seed=1, n_features=60), make_rows(400, seed=2, n_features=60)
    random = np.random.default_rng(3)
    outliers = np.column_stack([random.permutation(column) for column in test.T])  # same columns, no common surface
    networks = {"latent_size": 16, "hidden_sizes": (64, 32), "discriminator_sizes": (64, 16, 32)}
    detector = BiGANDetector(**networks, min_steps=600).fit(train)
    losses, labels = detector.losses(np.vstack([test, outliers])), np.repeat([0, 1], 400)
    assert roc_auc_score(labels, losses[:, 0]) > 0.95
    assert roc_auc_score(labels, losses[:, 1]) > 0.9
    history = detector.history_
    assert history["reconstruction"][-1] < 0.6 * history["reconstruction"][0]
    assert 0.5 < history["discriminator"][-1] < 1.6  # 2 log 2 = 1.39: cannot tell; 0: has won
    assert len(history["discriminator"]) == detector.n_epochs_ == 100
    assert detector.n_steps_ == 600


@pytest.mark.parametrize(
    ("n", "epochs", "min_steps", "expected_epochs", "expected_steps"),
    [(100, 3, 0, 3, 12), (100, 3, 20, 5, 20), (100, 3, 21, 6, 24), (5, 2, 10, 10, 10), (33, 1, 0, 1, 2)],
)
def test_length_of_training(n: int, epochs: int, min_steps: int, expected_epochs: int, expected_steps: int) -> None:
    detector = BiGANDetector(**SMALL | {"epochs": epochs, "min_steps": min_steps}).fit(make_rows(n, seed=0))
    assert (detector.n_epochs_, detector.n_steps_) == (expected_epochs, expected_steps)


def test_constant_columns_and_enormous_values_give_finite_losses(rows: np.ndarray) -> None:
    with_constant = np.column_stack([rows, np.full(len(rows), 3.3, dtype=np.float32)])
    detector = BiGANDetector(**SMALL).fit(with_constant)
    extreme = np.vstack([with_constant[:1] * 0 + 1e30, with_constant[:1] * 0 - 1e30])
    losses = detector.losses(extreme)
    assert np.isfinite(losses).all()
    assert losses[:, 0].min() > detector.losses(with_constant)[:, 0].max()


def test_nan_is_refused_with_its_cause(detector: BiGANDetector, rows: np.ndarray) -> None:
    bad = rows.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        detector.losses(bad)
    with pytest.raises(ValueError, match="NaN"):
        BiGANDetector(**SMALL).fit(bad)


def test_diverging_training_is_an_error_that_names_the_remedy(rows: np.ndarray) -> None:
    detector = BiGANDetector(**SMALL | {"learning_rate": 1e6})
    with pytest.raises(GbadError, match=r"diverged in epoch \d+ of .* Lower learning_rate \(now 1000000.0\)"):
        detector.fit(rows)
    with pytest.raises(NotFittedError):
        detector.losses(rows)


@pytest.mark.parametrize(
    "params",
    [
        {"latent_size": 0},
        {"batch_size": 0},
        {"epochs": 0},
        {"min_steps": -1},
        {"patience": 0},
        {"tolerance": 1.0},
        {"monitored_fraction": 0.6},
        {"learning_rate": 0.0},
        {"clip": -1.0},
        {"dropout": 1.0},
        {"ema_decay": 1.0},
        {"contamination": 0.6},
        {"contamination": 0.0},
        {"feature_matching_weight": 1.5},
        {"reconstruction_gradient": "E"},
        {"hidden_sizes": ()},
        {"discriminator_sizes": (8, 8)},
    ],
)
def test_parameters_out_of_range_are_named(rows: np.ndarray, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        BiGANDetector(**SMALL | params).fit(rows)


def test_pickle_holds_plain_arrays_and_scores_alike(detector: BiGANDetector, rows: np.ndarray, tmp_path: Path) -> None:
    detector = clone(detector).set_params(device=torch.device("cpu")).fit(rows)
    joblib.dump(detector, tmp_path / "detector.joblib")
    assert b"torch" not in pickle.dumps(detector)
    assert b"torch" not in (tmp_path / "detector.joblib").read_bytes()
    loaded = joblib.load(tmp_path / "detector.joblib")
    np.testing.assert_array_equal(loaded.losses(rows), detector.losses(rows))
    np.testing.assert_array_equal(loaded.decision_function(rows), detector.decision_function(rows))


def test_arrays_rebuild_the_detector(detector: BiGANDetector, rows: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", **detector.get_arrays())
    with np.load(tmp_path / "arrays.npz") as arrays:
        rebuilt = BiGANDetector.from_arrays(detector.get_params(), dict(arrays))
    np.testing.assert_array_equal(rebuilt.decision_function(rows), detector.decision_function(rows))
    assert vars(rebuilt).keys() == vars(detector).keys()
    assert type(rebuilt.offset_) is float
    assert type(rebuilt.n_epochs_) is int
    with pytest.raises(ValueError, match="12 features"):
        rebuilt.losses(rows[:, :5])


def test_memory_mapped_rows_are_never_copied_whole(tmp_path: Path) -> None:
    shape = (20_000, 200)
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=shape)
    rows[:] = np.random.default_rng(0).normal(size=shape)
    rows.flush()
    rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    detector = BiGANDetector(**SMALL | {"batch_size": 500, "epochs": 1, "min_steps": 0})
    tracemalloc.start()
    detector.fit(rows, checkpoint=tmp_path / "checkpoint.pt")
    detector.losses(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes  # 16 MB; a copy in float64 alone would take 32 MB


class Killed(Exception):
    pass


def test_killed_training_resumes_bit_for_bit(
    detector: BiGANDetector, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "CHECKPOINT_SECONDS", 0.0)
    calls: list[tuple[int, int]] = []

    def kill(epoch: int, n_epochs: int, losses: dict[str, float]) -> None:
        calls.append((epoch, n_epochs))
        if epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        BiGANDetector(**SMALL).fit(rows, checkpoint=tmp_path / "checkpoint.pt", callback=kill)
    assert calls == [(1, 8), (2, 8), (3, 8)]
    resumed = BiGANDetector(**SMALL)
    later: list[int] = []
    resumed.fit(rows, checkpoint=tmp_path / "checkpoint.pt", callback=lambda epoch, *_: later.append(epoch))
    assert later == [4, 5, 6, 7, 8]
    np.testing.assert_array_equal(resumed.losses(rows), detector.losses(rows))
    for name, values in detector.history_.items():
        np.testing.assert_array_equal(resumed.history_[name], values)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_resume_works_with_spectral_norm(rows: np.ndarray, tmp_path: Path) -> None:
    settings = SMALL | {"spectral_norm": True, "hidden_sizes": (8,)}
    first = BiGANDetector(**settings).fit(rows, checkpoint=tmp_path / "checkpoint.pt")
    again = BiGANDetector(**settings).fit(rows, checkpoint=tmp_path / "checkpoint.pt")
    np.testing.assert_array_equal(first.losses(rows), again.losses(rows))
    np.testing.assert_array_equal(first.losses(rows), BiGANDetector(**settings).fit(rows).losses(rows))


def test_checkpoint_of_another_training_is_refused(rows: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    BiGANDetector(**SMALL).fit(rows, checkpoint=path)
    with pytest.raises(RunError, match=r"checkpoint.pt: belongs to another training: ema_decay was 0.999 and is 0.5"):
        BiGANDetector(**SMALL, ema_decay=0.5).fit(rows, checkpoint=path)
    with pytest.raises(RunError, match="seed was"):
        BiGANDetector(**SMALL, random_state=1).fit(rows, checkpoint=path)
    with pytest.raises(RunError, match="digest of X was"):
        BiGANDetector(**SMALL).fit(rows[::-1], checkpoint=path)
    BiGANDetector(**SMALL, contamination=0.3).fit(rows, checkpoint=path)  # plays no part in the training


def test_damaged_checkpoint_is_refused(rows: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    BiGANDetector(**SMALL).fit(rows, checkpoint=path)
    whole = path.read_bytes()
    half = len(whole) // 2
    for damaged in (b"half a file", whole[:half] + bytes(64) + whole[half + 64 :]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint.pt: not a readable checkpoint .* Delete it"):
            BiGANDetector(**SMALL).fit(rows, checkpoint=path)
