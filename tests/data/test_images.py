from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data.images import find_images, find_name_collisions, image_paths, read_image, walk_images
from gbad.errors import DataError, ImageError

SIXRAY_MINI = Path(__file__).parents[3] / "shared" / "data" / "sixray-mini"
LOSSLESS = ("png", "bmp", "tif", "tiff", "webp")


def smooth_picture(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    channels = [np.sin(7 * rows + 3 * columns), np.cos(5 * columns), np.sin(4 * rows * columns)]
    return (127.5 + 127.5 * np.stack(channels, axis=2)).astype(np.uint8)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def make_png(width: int, height: int, depth: int = 8, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(path: Path, **options: int) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert str(path) in str(caught.value)
    assert caught.value.path == path
    return caught.value


# --- what is read


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("upper", [False, True])
def test_lossless_formats_give_the_pixels(tmp_path: Path, suffix: str, upper: bool) -> None:
    pixels = smooth_picture(20, 30)
    path = tmp_path / f"a.{suffix.upper() if upper else suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, pixels)


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(Image.fromarray(smooth_picture(9, 8)), "PNG"))
    np.testing.assert_array_equal(read_image(path), smooth_picture(9, 8))


def test_result_can_be_written_to(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").flags.writeable


def test_grey_palette_and_two_level_images_become_rgb(tmp_path: Path) -> None:
    grey = smooth_picture(12, 10)[:, :, 0]
    for mode in ("L", "P"):
        Image.fromarray(grey).convert(mode).save(tmp_path / f"{mode}.png")
        np.testing.assert_array_equal(read_image(tmp_path / f"{mode}.png"), np.repeat(grey[:, :, None], 3, axis=2))
    Image.fromarray(grey > 127).save(tmp_path / "1.png")
    assert set(np.unique(read_image(tmp_path / "1.png"))) == {0, 255}
    Image.fromarray(grey).save(tmp_path / "one.gif")
    assert read_image(tmp_path / "one.gif").shape == (12, 10, 3)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = 255, 0, 51  # opaque, transparent, one fifth
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    assert read_image(tmp_path / "rgba.png")[0].tolist() == [[200, 0, 0], [255, 255, 255], [244, 204, 204]]
    Image.fromarray(pixels[:, :, [0, 3]]).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0, :, 1].tolist() == [200, 255, 244]
    Image.fromarray(pixels[:, :, :3]).save(tmp_path / "key.png", transparency=(200, 0, 0))
    assert read_image(tmp_path / "key.png").min() == 255
    palette = Image.fromarray(pixels[:, :, :3]).quantize(2)
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 0]))
    assert read_image(tmp_path / "palette.png").min() == 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 257 * 100, 65535 - 129, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image[0, :, 0].tolist() == [0, 0, 1, 100, 254, 255]
    assert (image == image[:, :, :1]).all()


def test_32_bit_integers_are_taken_if_they_hold_16_bit_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255]
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "b.tif")
    error = refused(tmp_path / "b.tif")
    assert error.status == "unsupported"
    assert "65536" in error.reason


def test_16_bit_colour_png(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">6H", 65535, 0, 257 * 7, 0, 65535, 257 * 9)
    (tmp_path / "a.png").write_bytes(make_png(2, 1, 16, row))
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 0, 7], [0, 255, 9]]]


# --- size


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (16, 16), (8, 8), (1, 1)])
def test_size_warps_to_a_square(tmp_path: Path, mode: str, channels: int, shape: tuple[int, int]) -> None:
    image = Image.fromarray(smooth_picture(*shape)).convert(mode)
    image.save(tmp_path / "a.png")
    result = read_image(tmp_path / "a.png", 16)
    assert result.shape == (16, 16, 3)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR).convert("RGB"))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_reduced_decoding_of_large_jpegs_stays_close_to_full_decoding(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(smooth_picture(700, 900)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=95)
    full = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
    result = read_image(tmp_path / "a.jpg", 64)
    assert result.shape == (64, 64, 3)
    assert np.abs(result.astype(int) - full).mean() < 1.0


def test_antialiasing_keeps_the_mean_of_a_fine_grid(tmp_path: Path) -> None:
    grid = np.indices((512, 512)).sum(axis=0) % 2 * 255
    Image.fromarray(grid.astype(np.uint8)).save(tmp_path / "a.png")
    result = read_image(tmp_path / "a.png", 32)
    assert abs(result.astype(int) - 127.5).max() < 3  # every pixel, not only their mean: no aliasing


def test_same_file_gives_same_bytes_in_threads(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        path = tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}"
        Image.fromarray(smooth_picture(200 + number, 300)).save(path)
        paths.append(path)
    one_by_one = [read_image(path, 50) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_image(path, 50), paths * 10))
    for number, image in enumerate(together):
        np.testing.assert_array_equal(image, one_by_one[number % len(paths)])


# --- what is refused


def test_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "a.jpg").status == "missing"
    assert refused(tmp_path / "a.jpg" / "b.jpg").status in ("missing", "unreadable")


def test_empty_file_folder_and_pipe(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert refused(tmp_path / "empty.jpg").status == "unreadable"
    assert "empty" in refused(tmp_path / "empty.jpg").reason
    assert refused(tmp_path).status == "unreadable"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert refused(tmp_path / "pipe.jpg").status == "unreadable"


@pytest.mark.parametrize(
    "content", [b"hello", b"<html>404</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe"]
)
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert refused(path).status == "unreadable"


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [None, 32])
def test_truncated_jpegs_are_never_filled_with_grey(
    tmp_path: Path, options: dict[str, bool], mode: str, size: int | None
) -> None:
    content = encode(Image.fromarray(smooth_picture(200, 300)).convert(mode), "JPEG", quality=90, **options)
    path = tmp_path / "a.jpg"
    for kept in (0.2, 0.5, 0.9, 0.99):
        path.write_bytes(content[: int(kept * len(content))])
        assert refused(path, size=size).status == "unreadable"
    path.write_bytes(content[:-3])
    assert refused(path, size=size).reason.startswith("truncated")
    half = len(content) // 2  # an interrupted download into a file of the full length
    path.write_bytes(content[:half] + bytes(len(content) - half))
    assert refused(path, size=size).status == "unreadable"


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_other_truncated_files(tmp_path: Path, file_format: str) -> None:
    content = encode(Image.fromarray(smooth_picture(60, 80)), file_format)
    path = tmp_path / "a.png"
    for kept in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(kept * len(content))])
        assert refused(path).status == "unreadable"


def test_zero_pixels(tmp_path: Path) -> None:
    for width, height in ((0, 5), (5, 0), (0, 0)):
        (tmp_path / "a.png").write_bytes(make_png(width, height))
        assert refused(tmp_path / "a.png").status == "unreadable"


def test_pixel_limit_is_applied_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(make_png(20_000, 20_000))  # the pixels themselves are not even in the file
    error = refused(path)
    assert error.status == "too_large"
    assert "20000 × 20000" in error.reason
    assert "100,000,000" in error.reason
    path.write_bytes(make_png(200, 100))
    assert refused(path, max_pixels=19_999).status == "too_large"
    assert refused(path, max_pixels=20_000).status == "unreadable"  # within that limit, so it is decoded


def test_pixel_limit_is_the_callers_alone(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=200).shape == (10, 20, 3)
    assert refused(tmp_path / "a.png", max_pixels=199).status == "too_large"
    (tmp_path / "b.png").write_bytes(make_png(10_000, 9_500))  # Pillow's own limit would warn here
    assert refused(tmp_path / "b.png").status == "unreadable"
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_file_larger_than_any_image_within_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**31)
    assert refused(tmp_path / "a.jpg").status == "too_large"


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("F", "tif"), ("LAB", "tif")])
def test_colour_modes_that_x_ray_images_do_not_have(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / f"a.{suffix}")
    error = refused(tmp_path / f"a.{suffix}")
    assert error.status == "unsupported"
    assert mode in error.reason
    assert ("save as 16 bit" if mode == "F" else "Convert it to RGB") in error.reason


def test_a_rotation_in_exif_data_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    Image.fromarray(smooth_picture(20, 30)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), smooth_picture(20, 30))


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_several_frames(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(smooth_picture(8, 8) + number) for number in (0, 90)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    error = refused(tmp_path / f"a.{suffix}")
    assert error.status == "unsupported"
    assert "Extract one frame" in error.reason


def test_pillows_warnings_stay_inside_and_filters_as_they_were(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"  # announces 65,535 entries and has none
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 64)).save(path, exif=exif)
    with pytest.warns(UserWarning, match="EXIF"), Image.open(path) as image:
        image.getexif()
    filters, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(image.shape == (64, 64, 3) for image in pool.map(read_image, [path] * 200))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == filters


def test_random_damage_gives_an_image_or_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.bin"
    outcomes = set()
    for file_format in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
        content = encode(Image.fromarray(smooth_picture(20, 30)), file_format)
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                outcomes.add(read_image(path, 16, max_pixels=10_000).shape)
            except ImageError as error:
                outcomes.add(error.status)
    assert outcomes <= {(16, 16, 3), "unreadable", "too_large", "unsupported"}
    assert {(16, 16, 3), "unreadable"} <= outcomes


# --- finding


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    "files",
    [
        ("JPEGImage/P1.jpg", "JPEGImage/N2.jpg"),
        ("JPEGImage/0/P1.jpg", "JPEGImage/20/N2.jpg"),
        ("0/P1.jpg", "20/N2.jpg"),
        ("Image/P1.jpg", "JPEGImage/N2.jpg"),
        ("JPEGImage/positive/P1.JPG", "JPEGImage/negative/N2.PNG"),
        ("P1.jpeg", "deep/er/still/N2.tiff"),
    ],
    ids=["flat", "numbered", "numbered-at-top", "two-folders", "two-subfolders", "mixed"],
)
def test_all_layouts_are_found(tmp_path: Path, files: tuple[str, str]) -> None:
    touch(tmp_path, *files)
    assert find_images(tmp_path) == {"P1": tmp_path / files[0], "N2": tmp_path / files[1]}


def test_what_is_no_image_of_the_data_set_is_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImage/P1.jpg", "Annotation/P1.png", "Mask/P1.png", "masks/P2.png", "ImageSet/10/P3.png")
    touch(tmp_path, ".hidden/P4.jpg", "JPEGImage/.P5.jpg", "__MACOSX/P6.jpg", "threats/P1_Gun.png")
    touch(
        tmp_path, "JPEGImage/P7.txt", "JPEGImage/P8", "JPEGImage/jpg", "JPEGImage/.jpg", "JPEGImage/folder.jpg/P9.txt"
    )
    assert list(find_images(tmp_path)) == ["P1"]


def test_a_class_folder_called_threats_is_searched(tmp_path: Path) -> None:
    touch(tmp_path, "threats/P1.png", "normal/N1.png")
    assert set(find_images(tmp_path)) == {"P1", "N1"}


def test_names_with_dots_keep_them(tmp_path: Path) -> None:
    touch(tmp_path, "scan.2024.01.jpg")
    assert set(find_images(tmp_path)) == {"scan.2024.01"}


def test_first_of_several_files_with_one_name_counts_and_all_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "b/P1.jpg", "a/P1.png", "a/P1.jpg", "c/P2.jpg")
    assert find_images(tmp_path) == {"P1": tmp_path / "a/P1.jpg", "P2": tmp_path / "c/P2.jpg"}
    assert find_name_collisions(tmp_path) == {
        "P1": [tmp_path / "a/P1.jpg", tmp_path / "a/P1.png", tmp_path / "b/P1.jpg"]
    }


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/P1.jpg", "data/JPEGImage/P2.jpg")
    try:
        (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
        (tmp_path / "data" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
        (tmp_path / "data" / "itself.jpg").symlink_to(tmp_path / "data" / "itself.jpg")
        (tmp_path / "data" / "itself").symlink_to(tmp_path / "data" / "itself")
    except OSError:
        pytest.skip("this file system has no links")
    assert set(find_images(tmp_path / "data")) == {"P1", "P2"}
    assert [name for name, _ in walk_images(tmp_path / "data", broken=True)] == ["broken", "itself", "P2", "P1"]


def test_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_images(tmp_path / "nowhere")
    assert find_images(tmp_path) == {}


def test_image_paths_keep_the_order_and_gives_a_path_to_what_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImage/3/P1.jpg", "Image/P2.png")
    paths = image_paths(tmp_path, ["P2", "gone", "P1", "P2"])
    assert paths == [
        tmp_path / name for name in ("Image/P2.png", "JPEGImage/gone.jpg", "JPEGImage/3/P1.jpg", "Image/P2.png")
    ]
    assert refused(paths[1]).status == "missing"


def test_reading_real_images() -> None:
    if not SIXRAY_MINI.is_dir():
        pytest.skip("sixray-mini is not here")
    paths = list(find_images(SIXRAY_MINI).values())
    assert len(paths) == 1434
    for path in paths[::200]:
        image = read_image(path, 192)
        with Image.open(path) as reference:
            expected = np.asarray(reference.resize((192, 192), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(image, expected)
