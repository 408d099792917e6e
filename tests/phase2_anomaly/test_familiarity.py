from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_sample_images

from gbad.data.original import warp
from gbad.phase2_anomaly.familiarity import Familiarity, appearance, fit_familiarity


def bags(count: int, seed: int, size: int = 64) -> np.ndarray:
    """White pictures with orange and blue blocks."""
    rng = np.random.default_rng(seed)
    images = np.full((count, size, size, 3), 255, np.uint8)
    for image in images:
        for _ in range(6):
            x, y = rng.integers(0, size - 8, 2)
            image[y : y + 24, x : x + 24] = (220 - rng.integers(40), 150, 60) if rng.random() < 0.5 else (70, 110, 200)
        image -= rng.integers(0, 6, image.shape, dtype=np.uint8)
    return images


@pytest.fixture(scope="module")
def known() -> Familiarity:
    return fit_familiarity(appearance(bags(200, 0)), appearance(bags(60, 1)))


def test_appearance_by_hand() -> None:
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[:, :, 2:] = (255, 255, 255)
    (found,) = appearance(image)
    # Of every second pixel, half are black, the first of 216 colours, and half are white, the last.
    assert found[:216][[0, 215]] ** 2 == pytest.approx([0.5, 0.5])
    # One row: differences 0, 255, 0; one column of black pixels: 0, 0, 0.
    assert found[216:224] ** 2 == pytest.approx([2 / 3, 0, 0, 0, 0, 0, 0, 1 / 3])
    assert found[224:] ** 2 == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0])


def test_no_image_has_no_appearance() -> None:
    assert appearance(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, 232)


def test_distance_is_that_of_mahalanobis(known: Familiarity) -> None:
    fitted = LedoitWolf().fit(appearance(bags(200, 0)))
    images = bags(5, 2)
    assert known.distance(images) == pytest.approx(np.sqrt(fitted.mahalanobis(appearance(images))), rel=1e-3)


def test_threshold_is_the_farthest_held_out_image(known: Familiarity) -> None:
    assert known.threshold == known.distance(bags(60, 1)).max()
    assert known.held_out == 60


def test_other_bags_lie_above_the_threshold_as_rarely_as_promised() -> None:
    training, others = appearance(bags(200, 0)), appearance(bags(240, 1))
    rng, rates = np.random.default_rng(0), []
    for _ in range(20):
        order = rng.permutation(240)
        known = fit_familiarity(training, others[order[:40]])
        away = (others[order[40:]] - known.mean) @ known.whitening
        rates.append((np.linalg.norm(away, axis=1) > known.threshold).mean())
    assert 0.005 < np.mean(rates) < 1 / 41 + 0.01


def test_photographs_are_not_familiar(known: Familiarity) -> None:
    photographs = np.stack([warp(image, 64) for image in load_sample_images().images])
    assert (known.distance(photographs) > known.threshold).all()
    grey = np.repeat(photographs.mean(3, keepdims=True).astype(np.uint8), 3, axis=3)
    assert (known.distance(grey) > known.threshold).all()


def test_a_distance_depends_on_the_image_alone(known: Familiarity) -> None:
    images = bags(6, 4)
    together = known.distance(images)
    assert [float(known.distance(images[row : row + 1])[0]) for row in range(6)] == pytest.approx(together, rel=1e-6)


def test_fewer_images_than_numbers(known: Familiarity) -> None:
    few = fit_familiarity(appearance(bags(3, 0)), appearance(bags(1, 1)))
    assert np.isfinite(few.distance(bags(4, 2))).all()
    alike = np.repeat(appearance(bags(1, 0)), 2, axis=0)
    assert np.isfinite(fit_familiarity(alike, alike).threshold)


def test_plain_data_and_back(known: Familiarity) -> None:
    again = Familiarity.from_plain(known.to_plain())
    assert again.distance(bags(2, 5)).tolist() == known.distance(bags(2, 5)).tolist()
