from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gbad.errors import PipelineFileError
from gbad.phase2_anomaly import VAEDetector
from gbad.storage.plain_data import load_plain, save_plain

TINY: dict[str, Any] = {"epochs": 2, "batch_size": 8, "features": 2, "latent_size": 4}


@pytest.fixture(scope="module")
def file(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fitted") / "detector.joblib"
    VAEDetector(**TINY | {"epochs": 1}).fit(images).save(path)
    return path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32), dtype=np.uint8)


def test_a_detector_from_a_gpu_scores_on_this_machine(images: np.ndarray, tmp_path: Path) -> None:
    detector = VAEDetector(**TINY).fit(images)
    scores = detector.score_samples(images)
    absent = "cuda:99"
    detector.set_params(device=absent).save(tmp_path / "detector.joblib")
    loaded = VAEDetector.load(tmp_path / "detector.joblib")
    assert loaded.device == "cpu"
    assert np.array_equal(loaded.score_samples(images), scores)


@pytest.mark.parametrize(
    "change",
    [
        {"format": None},
        {"params": None},
        {"params": {"colour": 3}},
        {"params": {"image_size": 48}},
        {"params": {"features": 3}},
        {"arrays": {}},
        {"arrays": {"score_samples": np.ones(1)}},
        {"arrays": {"__class__": np.ones(1)}},
        {"arrays": {"part_scale_": np.ones(7)}},
        {"arrays": {"offset_": np.array(np.nan)}},
        {"arrays": {"weights_.decoder.0.weight": {"dtype": "<f4", "shape": [3], "data": "x"}}},
    ],
)
def test_a_malformed_file_is_refused(change: dict[str, Any], file: Path, tmp_path: Path) -> None:
    path = tmp_path / "detector.joblib"
    content = load_plain(file)
    ((key, value),) = change.items()
    content[key] = content[key] | value if value else value
    save_plain(content, path)
    with pytest.raises(PipelineFileError, match=r"detector\.joblib: "):
        VAEDetector.load(path)


def test_a_generator_as_random_state_is_saved_as_the_seed_that_it_gave(images: np.ndarray, tmp_path: Path) -> None:
    detector = VAEDetector(**TINY | {"random_state": np.random.RandomState(3)}).fit(images)  # noqa: NPY002
    detector.save(tmp_path / "detector.joblib")
    loaded = VAEDetector.load(tmp_path / "detector.joblib")
    assert loaded.random_state == detector.seed_
    assert np.array_equal(loaded.score_samples(images), detector.score_samples(images))
