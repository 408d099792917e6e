from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data import original
from gbad.data.images import read_image
from gbad.data.original import ArrayImage, FileImage, cut_region
from gbad.errors import ImageError

BAG = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray = BAG, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", ["bag.png", "bag.jpg"])
@pytest.mark.parametrize("size", [16, 64])
def test_a_file_gives_what_read_image_gives(tmp_path: Path, name: str, size: int) -> None:
    path = save(tmp_path / name)
    found = FileImage(path)
    assert found.size == (120, 90)
    np.testing.assert_array_equal(found.warped(size), read_image(path, size))
    np.testing.assert_array_equal(found.pixels(), read_image(path))
    np.testing.assert_array_equal(FileImage(path).pixels(), read_image(path))  # without a first look


def test_grey_files_become_rgb(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", BAG[..., 0])
    found = FileImage(path)
    assert found.warped(32).shape == (32, 32, 3)
    np.testing.assert_array_equal(found.pixels(), read_image(path))


def test_what_was_decoded_whole_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    decoded = original.decoded
    monkeypatch.setattr(
        original, "decoded", lambda *arguments, **more: calls.append(arguments[2]) or decoded(*arguments, **more)
    )
    large = save(tmp_path / "large.jpg", np.tile(BAG, (8, 8, 1)))  # decoded at a reduced scale for the first look
    for path, size, expected in ((tmp_path / "bag.png", 32, [32]), (large, 32, [32, None])):
        found = FileImage(path if path.exists() else save(path))
        found.warped(size)
        found.pixels()
        assert calls == expected
        calls.clear()


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    path = save(tmp_path / "bag.jpg")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImageError, match="ends too early"):
        FileImage(path).warped(32)
    with pytest.raises(ImageError, match="no such file"):
        FileImage(tmp_path / "no.jpg")
    with pytest.raises(ImageError, match="more than the limit"):
        _ = FileImage(save(tmp_path / "large.png"), 10_000).size


def test_arrays() -> None:
    found = ArrayImage(BAG)
    assert found.size == (120, 90)
    assert found.warped(48).shape == (48, 48, 3)
    np.testing.assert_array_equal(found.pixels(), BAG)


def test_a_region_inside_an_image_has_its_pixels() -> None:
    np.testing.assert_array_equal(cut_region(BAG, (0.5, 0.5), 20, 20), BAG[35:55, 50:70])
    np.testing.assert_array_equal(cut_region(BAG, (0.25, 0.5), 19.7, 20), BAG[35:55, 20:40])


def test_beyond_the_image_it_is_white() -> None:
    region = cut_region(BAG, (1.0, 0.0), 10, 10)
    np.testing.assert_array_equal(region[5:, :5], BAG[:5, 115:])
    assert (region[:5] == 255).all()
    assert (region[:, 5:] == 255).all()
    assert (cut_region(BAG, (9.0, 9.0), 10, 10) == 255).all()  # a hostile box does no harm


def test_regions_of_large_files_are_scaled_down() -> None:
    chequered = np.kron(np.arange(36).reshape(6, 6), np.ones((4, 4))).astype(np.uint8)[..., None].repeat(3, 2)
    region = cut_region(chequered, (0.5, 0.5), 16, 4)
    np.testing.assert_allclose(region[..., 0], np.arange(36).reshape(6, 6)[1:5, 1:5], atol=4)
