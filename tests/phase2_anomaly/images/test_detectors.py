"""The contract of image-level detectors, tested for each of them. A new detector joins by a line in `DETECTORS`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from gbad.errors import DataError, DivergedError, GbadError, ImageError, PipelineFileError, RunError
from gbad.phase2_anomaly import (
    AnoGANDetector,
    DenseSkipDetector,
    EGBADDetector,
    FAnoGANDetector,
    GANomalyDetector,
    ImageAnomalyDetector,
    PANDAGANDetector,
    SAGANDetector,
    SkipGANomalyDetector,
    VAEDetector,
    epochs,
)

Detector = ImageAnomalyDetector[Any]

SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "channels": 1}
TINY: dict[str, Any] = SHORT | {"features": 2, "latent_size": 4}
TINY_SAGAN = TINY | {"widths": (4, 6)}
TINY_DENSE_SKIP = TINY | {"widths": (4, 6), "features": 4}
TINY_PANDA = SHORT | {"width": 4, "low_channels": 4, "latent_size": 4, "backbone": "small", "parts": 4, "filters": 4}

DETECTORS: dict[str, Detector] = {
    "ganomaly": GANomalyDetector(**TINY),
    "skip_ganomaly": SkipGANomalyDetector(**TINY),
    "egbad": EGBADDetector(**TINY),
    "anogan": AnoGANDetector(**TINY, search_steps=4, calibration_images=8),
    "f_anogan": FAnoGANDetector(**TINY, gan_epochs=2, critic_steps=1),
    "vae": VAEDetector(**TINY),
    "sagan": SAGANDetector(**TINY_SAGAN),
    "dense_skip": DenseSkipDetector(**TINY_DENSE_SKIP),
    "panda_gan": PANDAGANDetector(**TINY_PANDA),
}
"""One unfitted detector of each system, small enough to train in a moment."""

LEARNERS: dict[str, Detector] = {
    "ganomaly": GANomalyDetector(**TINY | {"features": 4, "epochs": 8}),
    "skip_ganomaly": SkipGANomalyDetector(**TINY | {"features": 8, "epochs": 8}),
    "egbad": EGBADDetector(**TINY | {"features": 4, "epochs": 6}),
    "anogan": AnoGANDetector(**TINY | {"features": 4, "epochs": 6}, search_steps=30, calibration_images=8),
    "f_anogan": FAnoGANDetector(
        **TINY | {"features": 4, "epochs": 8, "learning_rate": 2e-3}, gan_epochs=12, gan_rate=5e-3, critic_steps=1
    ),
    "vae": VAEDetector(**TINY | {"features": 4, "epochs": 4}),
    # At the paper's weights a generator of this size learns with some seeds only.
    "sagan": SAGANDetector(
        **TINY_SAGAN | {"widths": (8, 16, 16), "epochs": 15, "learning_rate": 5e-3},
        adversarial_weight=0.1,
        score_weight=1.0,
    ),
    "dense_skip": DenseSkipDetector(**TINY_DENSE_SKIP | {"epochs": 4}),
    "panda_gan": PANDAGANDetector(**TINY_PANDA | {"epochs": 8}),
}
"""The same with the size and the time to learn `make_images`."""


def make_images(n: int, seed: int, size: int = 32) -> np.ndarray:
    """One bright disc on dark ground, at different places: uint8 (n, size, size)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centres = random.uniform(0.35 * size, 0.65 * size, (n, 2, 1, 1))
    distance = np.hypot(y - centres[:, 0], x - centres[:, 1])
    return (230 / (1 + np.exp(distance - 0.25 * size)) + random.uniform(0, 20, (n, size, size))).astype(np.uint8)


def make_odd_images(n: int, seed: int) -> np.ndarray:
    """Normal images turned into their negatives."""
    return 255 - make_images(n, seed)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return make_images(20, seed=0)


@pytest.fixture(scope="module", params=DETECTORS)
def fitted(request: pytest.FixtureRequest, images: np.ndarray) -> Detector:
    return clone(DETECTORS[request.param]).fit(images)


# ---- scores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
def test_what_differs_from_the_training_images_scores_lower(name: str) -> None:
    detector = clone(LEARNERS[name]).fit(make_images(48, seed=0))
    normal, odd = make_images(12, seed=1), make_odd_images(12, seed=2)
    scores = detector.score_samples(np.concatenate([normal, odd]))
    assert roc_auc_score(np.repeat([1, 0], 12), scores) > 0.95


def test_a_score_depends_on_its_own_image_alone(fitted: Detector) -> None:
    mixed = np.concatenate([make_images(30, seed=3), make_odd_images(10, seed=4)])  # more than a chunk
    scores = fitted.score_samples(mixed)
    order = np.random.default_rng(0).permutation(len(mixed))
    assert np.allclose(fitted.score_samples(mixed[order]), scores[order], rtol=1e-6, atol=1e-6)
    for row in (0, 31, 39):
        assert np.allclose(fitted.score_samples(mixed[row : row + 1]), scores[row], rtol=1e-6, atol=1e-6)


def test_a_prepared_scorer_gives_the_same_scores(fitted: Detector, images: np.ndarray) -> None:
    scores = fitted.score_samples(images[:9])
    for batch_size, some in ((1, 2), (7, 9), (7, 3)):
        # Other batches may take other kernels: float32 rounds what scores are made of, before it is brought to [-1, 0].
        again = fitted.prepared_scorer(batch_size)(images[:some])
        anomaly, anomaly_again = (fitted.score_min_ - fitted.score_range_ * x for x in (scores[:some], again))
        np.testing.assert_allclose(anomaly_again, anomaly, rtol=1e-6, atol=1e-8)
    with pytest.raises(NotFittedError):
        clone(fitted).prepared_scorer(1)


def test_sign_range_and_threshold(fitted: Detector, images: np.ndarray) -> None:
    scores = fitted.score_samples(images)
    assert scores.dtype == np.float64
    assert scores.shape == (20,)
    assert np.array_equal(fitted.anomaly_score(images), -scores)
    if fitted.calibration_images >= 20:
        assert (scores.min(), scores.max()) == (-1.0, 0.0)
        assert (fitted.predict(images) == -1).sum() == 2  # contamination 0.1
    assert np.array_equal(fitted.predict(images) == 1, scores >= fitted.offset_)
    parts = fitted.score_parts(images)
    assert parts.shape == (20, len(fitted.part_names))
    for column in range(parts.shape[1]):  # each part counts towards "abnormal"
        higher = parts.copy()
        higher[:, column] += 1.0
        assert (fitted._combine(higher) >= fitted._combine(parts)).all()


def test_parts_are_divided_by_their_medians_if_asked(fitted: Detector, images: np.ndarray) -> None:
    parts = fitted.score_parts(images)
    if fitted.calibration_images >= 20:
        expected = np.abs(np.median(parts, axis=0)) if fitted.scale_parts else np.ones(parts.shape[1])
        assert np.allclose(fitted.part_scale_, expected)
    anomaly = fitted._combine(parts / fitted.part_scale_)
    assert np.allclose(fitted.score_samples(images), (fitted.score_min_ - anomaly) / fitted.score_range_)


def test_maps_are_residuals_of_each_pixel_where_a_system_has_them(fitted: Detector, images: np.ndarray) -> None:
    if not hasattr(fitted, "_maps"):
        assert not hasattr(fitted, "anomaly_map")
        return
    maps = fitted.anomaly_map(images)
    assert maps.dtype == np.float32
    assert maps.shape == (20, 32, 32)
    assert (maps >= 0).all()
    assert np.allclose(fitted.anomaly_map(images[3:4])[0], maps[3], rtol=1e-5, atol=1e-6)


def test_paper_scores_depend_on_the_batch_where_the_published_code_did(fitted: Detector, images: np.ndarray) -> None:
    odd = make_odd_images(20, seed=5)
    alone, mixed = fitted.paper_scores(images), fitted.paper_scores(np.concatenate([images, odd]), batch_size=40)
    assert (alone.min(), alone.max()) == (0.0, 1.0)
    assert (mixed.min(), mixed.max()) == (0.0, 1.0)
    assert np.array_equal(fitted.paper_scores(images), alone)  # the same question has the same answer
    # The range alone would leave a straight line from one to the other.
    likeness = np.corrcoef(alone, mixed[:20])[0, 1]
    assert likeness < 1 - 1e-4 if "batch statistics" in fitted.published_leaks else likeness > 1 - 1e-6
    assert fitted.paper_scores(images[:3], batch_size=2).shape == (3,)  # no batch of one
    with pytest.raises(ValueError, match="at least two images"):
        fitted.paper_scores(images[:1])


@pytest.mark.parametrize("name", ["skip_ganomaly", "egbad", "vae"])
def test_paper_scores_weigh_parts_and_take_statistics_as_clean_scores_do(name: str, images: np.ndarray) -> None:
    """What is left between the two is what a test set gives away."""
    mixed, tested = np.concatenate([images, make_odd_images(20, seed=5)]), {}
    detector = clone(DETECTORS[name])
    detector.fit(images, each_epoch=lambda epoch, paper_scores: tested.update({epoch: paper_scores(mixed)}))
    assert np.allclose(tested[2], detector.paper_scores(mixed), rtol=1e-4, atol=1e-5)
    detector.published_leaks = ()
    paper, clean = detector.paper_scores(mixed), detector.anomaly_score(mixed)
    assert np.corrcoef(paper, clean)[0, 1] > 1 - 1e-6


def test_scores_are_finite_without_a_range_and_far_from_the_training_images(images: np.ndarray) -> None:
    detector = VAEDetector(**TINY | {"epochs": 1, "calibration_images": 1}).fit(images)
    assert np.isfinite(detector.score_samples(make_odd_images(4, seed=0))).all()
    assert detector.score_range_ == 1.0
    same = SkipGANomalyDetector(**TINY | {"epochs": 1}).fit(np.repeat(images[:1], 4, axis=0))
    assert np.isfinite(same.score_samples(make_odd_images(4, seed=0))).all()
    far = torch.full((1, 1, 32, 32), 1e6)
    networks = detector._fitted_networks()
    with torch.no_grad():
        assert networks.encode(far)[1].exp().isfinite().all()


# ---- training -------------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_detectors_and_the_process_keeps_its_random_numbers(
    fitted: Detector, images: np.ndarray
) -> None:
    scores = fitted.score_samples(images)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        again = clone(fitted).fit(images)
        assert np.array_equal(again.score_samples(images), scores)
        again.paper_scores(images)
        assert torch.equal(torch.get_rng_state(), of_torch)
        assert np.array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002
    other = clone(fitted).set_params(random_state=1, epochs=1).fit(images)
    assert other.seed_ != fitted.seed_
    assert not np.array_equal(other.score_samples(images), scores)


class Killed(Exception):
    pass


def test_killed_training_resumes_bit_for_bit(
    fitted: Detector, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "CHECKPOINT_SECONDS", 0.0)
    detector, unbroken = clone(fitted), fitted
    path = tmp_path / "checkpoint.pt"
    seen: list[tuple[int, int]] = []

    def kill(epoch: int, n_epochs: int, losses: dict[str, float]) -> None:
        assert all(np.isfinite(list(losses.values())))
        seen.append((epoch, n_epochs))
        if len(seen) == 1:
            raise Killed

    with pytest.raises(Killed):
        clone(detector).fit(images, checkpoint=path, callback=kill)
    resumed = clone(detector).fit(images, checkpoint=path, callback=kill)
    assert seen == [(1, 2), (2, 2)]
    assert resumed.weights_.keys() == unbroken.weights_.keys()
    assert all(np.array_equal(resumed.weights_[key], unbroken.weights_[key]) for key in unbroken.weights_)
    assert all(np.array_equal(resumed.history_[key], unbroken.history_[key]) for key in unbroken.history_)
    assert np.array_equal(resumed.score_samples(images), unbroken.score_samples(images))
    with pytest.raises(RunError, match="digest of X was"):
        clone(detector).fit(images[::-1], checkpoint=path)
    with pytest.raises(RunError, match="learning_rate was 0.001 and is 0.002"):
        clone(detector).set_params(learning_rate=2e-3).fit(images, checkpoint=path)


@pytest.mark.parametrize("name", DETECTORS)
def test_each_weight_has_one_optimiser_and_one_step_moves_all_of_them(name: str, images: np.ndarray) -> None:
    detector = clone(DETECTORS[name])
    detector.channels_ = 1
    torch_images = torch.from_numpy(images[:8, None].copy()).float() / 127.5 - 1
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        networks = detector._networks()
        optimisers = detector._optimisers(networks)
        before = {key: value.clone() for key, value in networks.named_parameters()}
        losses = detector._step(networks, optimisers, torch_images)
    owned = [p for of in optimisers.values() for group in of.param_groups for p in group["params"]]
    assert len({id(p) for p in owned}) == len(owned)
    trained = {id(p) for p in networks.parameters() if p.requires_grad}
    assert {id(p) for p in owned if p.requires_grad} == trained
    still = {key for key, value in networks.named_parameters() if value.requires_grad and value.equal(before[key])}
    assert not still
    assert all(value.ndim == 0 and not value.requires_grad for value in losses.values())


# ---- files ----------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_scores_are_equal(fitted: Detector, images: np.ndarray, tmp_path: Path) -> None:
    scores = fitted.score_samples(images)
    fitted.save(tmp_path / "detector.joblib")
    loaded = type(fitted).load(tmp_path / "detector.joblib")
    assert np.array_equal(loaded.score_samples(images), scores)
    assert np.array_equal(loaded.paper_scores(images), fitted.paper_scores(images))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.offset_ == fitted.offset_
    assert loaded.history_.keys() == fitted.history_.keys()
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).score_samples(images), scores)
    other = VAEDetector if type(fitted) is not VAEDetector else GANomalyDetector
    with pytest.raises(PipelineFileError, match=f"holds {type(fitted).__name__}, not a {other.__name__}"):
        other.load(tmp_path / "detector.joblib")


def test_files_score_as_arrays_do_and_colour_is_converted(tmp_path: Path, images: np.ndarray) -> None:
    colour = np.repeat(images[..., None], 3, axis=3)
    colour[..., 0] //= 2
    paths = [tmp_path / f"{i:02}.png" for i in range(len(images))]
    for path, pixels in zip(paths, colour, strict=True):
        Image.fromarray(pixels).save(path)
    detector = VAEDetector(**TINY | {"channels": None}).fit(colour)
    assert detector.channels_ == 3
    assert np.array_equal(detector.score_samples(paths), detector.score_samples(colour))
    from_files = VAEDetector(**TINY | {"channels": None}).fit([str(path) for path in paths])
    assert np.array_equal(from_files.score_samples(paths), detector.score_samples(colour))
    grey = clone(DETECTORS["vae"]).fit(images)
    assert np.array_equal(grey.score_samples(np.repeat(images[..., None], 3, axis=3)), grey.score_samples(images))
    assert detector.score_samples(images).shape == (20,)  # grey to colour
    with pytest.raises(ImageError, match="absent.png: no such file"):
        detector.score_samples([paths[0], tmp_path / "absent.png"])


def test_images_of_another_size_are_warped() -> None:
    detector = VAEDetector(**TINY | {"image_size": 64}).fit(make_images(10, seed=0, size=50))
    assert detector.score_samples(make_images(2, seed=0, size=100)).shape == (2,)
    assert detector.anomaly_map(make_images(2, seed=0, size=32)).shape == (2, 64, 64)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((4, 32, 32), np.float32), "float32 have no agreed range.*scale the pixels to 0...255"),
        (np.full((4, 32, 32), np.nan), "float64 have no agreed range"),
        (np.zeros((4, 32), np.uint8), r"shape \(4, 32\) does not hold images"),
        (np.zeros((4, 32, 32, 4), np.uint8), r"shape \(4, 32, 32, 4\) does not hold images"),
        (np.zeros((4, 0, 32), np.uint8), r"shape \(4, 0, 32\) does not hold images"),
        (np.zeros((0, 32, 32), np.uint8), "There are no images"),
        ([], "There are no images"),
        ("image.png", "one path instead of a list"),
        ([1, 2], "from a list of int"),
        (7, "from a int"),
    ],
)
def test_what_is_no_image_is_refused(wrong: Any, message: str, images: np.ndarray) -> None:
    with pytest.raises(DataError, match=message):
        clone(DETECTORS["vae"]).fit(wrong)
    detector = VAEDetector(**TINY | {"epochs": 1}).fit(images)
    with pytest.raises(DataError, match=message):
        detector.score_samples(wrong)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("vae", {"image_size": 48}, "image_size must be 32, 64, 128 or 256, got 48"),
        ("vae", {"image_size": 512}, "image_size must be"),
        ("vae", {"channels": 2}, "channels must be 1, 3 or None"),
        ("vae", {"batch_size": 1}, "batch_size == 1, must be >= 2"),
        ("vae", {"epochs": 0}, "epochs == 0, must be >= 1"),
        ("vae", {"learning_rate": 0.0}, "learning_rate == 0"),
        ("vae", {"contamination": 0.6}, "contamination == 0.6"),
        ("vae", {"divergence_weight": -1.0}, "divergence_weight == -1"),
        ("skip_ganomaly", {"score_weight": 1.5}, "score_weight == 1.5"),
        ("egbad", {"ema_decay": 1.0}, "ema_decay == 1"),
        ("anogan", {"search_steps": 0}, "search_steps == 0"),
    ],
)
def test_parameters_out_of_range_are_refused(
    name: str, parameters: dict[str, Any], message: str, images: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=message):
        clone(DETECTORS[name]).set_params(**parameters).fit(images)


@pytest.mark.parametrize("name", DETECTORS)
def test_before_fit_there_is_nothing_to_score_with(name: str, images: np.ndarray, tmp_path: Path) -> None:
    detector = clone(DETECTORS[name])
    for use in (detector.score_samples, detector.score_parts, detector.paper_scores, detector.predict):
        with pytest.raises(NotFittedError):
            use(images)
    with pytest.raises(NotFittedError):
        detector.save(tmp_path / "detector.joblib")
    with pytest.raises(ValueError, match="at least two normal images, got 1"):
        detector.fit(images[:1])


def test_weights_that_the_last_step_spoils_are_found_and_leave_no_checkpoint(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = clone(DETECTORS["vae"])
    honest = detector._step

    def spoilt(networks: Any, *arguments: Any) -> dict[str, torch.Tensor]:
        losses = honest(networks, *arguments)
        with torch.no_grad():
            networks.decoder[0].weight.fill_(float("inf"))
        return {key: torch.ones(()) for key in losses}

    monkeypatch.setattr(detector, "_step", spoilt)
    with pytest.raises(DivergedError, match=r"its own images are not finite\. Lower learning_rate \(now 0.001\)"):
        detector.fit(images, checkpoint=tmp_path / "checkpoint.pt")
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_training_that_goes_wrong_says_what_to_change(
    name: str, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = clone(DETECTORS[name])
    honest = detector._step

    def spoilt(*arguments: Any) -> dict[str, torch.Tensor]:
        return {key: value * float("nan") for key, value in honest(*arguments).items()}

    monkeypatch.setattr(detector, "_step", spoilt)
    detector.offset_ = 0.0  # of a training before
    with pytest.raises(GbadError, match=r"diverged in epoch 1 of 2 .*Lower learning_rate \(now at most 0.001\)"):
        detector.fit(images)
    with pytest.raises(NotFittedError):
        detector.score_samples(images)
