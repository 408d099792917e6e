from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data.images import find_images, find_name_collisions, read_image
from gbad.data.pictures import open_picture, read_picture
from gbad.data.simulate import simulate_image
from gbad.data.simulate.looks import WHITE
from gbad.data.simulate.physics import as_shown
from gbad.errors import ImageError


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """Two raw channels on disk, and their values."""
    raw = simulate_image(3, 0, ("Gun",), 96).raw
    paths = tmp_path / "bag_low.png", tmp_path / "bag_high.png"
    for path, channel in zip(paths, raw, strict=True):
        Image.fromarray(channel).save(path)
    return *paths, raw


def refused(path: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_picture(path, 32)
    with pytest.raises(ImageError):
        open_picture(path).pixels()
    return caught.value


@pytest.mark.parametrize("named", [0, 1])
def test_two_raw_channels_are_shown_as_the_simulator_shows_them(
    pair: tuple[Path, Path, np.ndarray], named: int
) -> None:
    rendered = as_shown(pair[2], WHITE)
    np.testing.assert_array_equal(read_picture(pair[named]), rendered)
    original = open_picture(pair[named])
    assert original.size == (rendered.shape[1], rendered.shape[0])
    np.testing.assert_array_equal(original.pixels(), rendered)
    png = pair[0].with_name("shown.png")
    Image.fromarray(rendered).save(png)
    np.testing.assert_array_equal(read_picture(pair[named], 32), read_image(png, 32))
    np.testing.assert_array_equal(original.warped(32), read_image(png, 32))


def test_raw_channels_in_tiff_files(pair: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    for energy, channel in zip(("low", "high"), pair[2], strict=True):
        Image.fromarray(channel).save(tmp_path / f"other_{energy}.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "other_low.tif"), read_picture(pair[0]))


def test_one_energy_alone_is_refused(pair: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    pair[1].unlink()
    error = refused(pair[0])
    assert error.status == "unsupported"
    assert "one energy of a raw scan" in error.reason
    assert "bag_high.png beside it" in error.reason
    Image.fromarray(pair[2][0]).save(tmp_path / "plain.png")
    assert "NAME_low.png and NAME_high.png" in refused(tmp_path / "plain.png").reason
    assert read_image(tmp_path / "plain.png").dtype == np.uint8  # masks and other data sets may be 16-bit


def test_channels_that_do_not_fit_are_refused(pair: tuple[Path, Path, np.ndarray]) -> None:
    Image.fromarray(pair[2][1][:50]).save(pair[1])
    assert "but bag_high.png has" in refused(pair[0]).reason
    Image.fromarray(pair[2][1].astype(np.uint8)).save(pair[1])
    assert "not 16-bit grey" in refused(pair[0]).reason
    pair[1].write_bytes(b"")
    error = refused(pair[0])
    assert (error.path, error.status) == (pair[0], "unreadable")  # the image that was asked for
    assert error.reason.startswith("bag_high.png: the file is empty")


def test_other_files_may_have_such_names(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    for name, image in zip(("tray_low.png", "tray_high.png"), colours, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    np.testing.assert_array_equal(read_picture(tmp_path / "tray_low.png"), colours[0])
    np.testing.assert_array_equal(read_picture(tmp_path / "tray_high.png"), colours[1])
    assert set(find_images(tmp_path)) == {"tray_low", "tray_high"}


def test_a_pair_is_one_image_of_a_data_set(pair: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    assert find_images(tmp_path) == {"bag": pair[0]}
    shown = tmp_path / "sub" / "bag.jpg"
    shown.parent.mkdir()
    Image.new("RGB", (4, 4)).save(shown)
    assert find_images(tmp_path) == {"bag": shown}  # what the console showed comes first
    assert find_name_collisions(tmp_path) == {}
