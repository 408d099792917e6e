"""Damage that a file format lets one know of is refused: formats × kinds of damage, and the share refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from gbad.data.check import check_dataset
from gbad.data.damage import decode_jpeg
from gbad.data.images import decode_image
from gbad.data.original import FileImage
from gbad.errors import ImageError

COPIES = 20
WIDTH, HEIGHT = 400, 300


def picture() -> Image.Image:
    """Shapes and noise, so that files of all formats are long enough to be damaged."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] / WIDTH
    channels = [np.sin(7 * rows + 3 * columns), np.cos(5 * columns), np.sin(40 * rows * columns)]
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH, 3))
    return Image.fromarray((127.5 + 100 * np.stack(channels, axis=2) + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


FORMATS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: encode(image, "JPEG", quality=92),
    "grey jpeg": lambda image: encode(image.convert("L"), "JPEG", quality=92),
    "progressive jpeg": lambda image: encode(image, "JPEG", quality=92, progressive=True),
    "jpeg with restarts": lambda image: encode(image, "JPEG", quality=92, restart_marker_rows=1),
    "png": lambda image: encode(image, "PNG"),
    "16-bit png": lambda image: encode(sixteen_bits(image), "PNG"),
    "deflated tiff": lambda image: encode(image, "TIFF", compression="tiff_adobe_deflate"),
    "jpeg tiff": lambda image: encode(image, "TIFF", compression="jpeg", quality=92),
    "lzw tiff": lambda image: encode(image, "TIFF", compression="tiff_lzw"),
    "raw tiff": lambda image: encode(image, "TIFF"),
    "bmp": lambda image: encode(image, "BMP"),
    "gif": lambda image: encode(image, "GIF"),
    "webp": lambda image: encode(image, "WEBP", quality=95),
}


def somewhere(data: bytes, length: int, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) // 8, len(data) * 7 // 8 - length))


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(len(data) * rng.uniform(0.3, 0.95))]


def cut_and_ended(data: bytes, rng: np.random.Generator) -> bytes:
    return cut(data, rng) + (b"\xff\xd9" if data.startswith(b"\xff\xd8") else data[-12:])


def second_half_zero(data: bytes, _: np.random.Generator) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def missing_512(data: bytes, rng: np.random.Generator) -> bytes:
    at = somewhere(data, 512, rng)
    return data[:at] + data[at + 512 :]


def zeroed_4096(data: bytes, rng: np.random.Generator) -> bytes:
    at = somewhere(data, 4096, rng)
    return data[:at] + bytes(4096) + data[at + 4096 :]


def noisy_512(data: bytes, rng: np.random.Generator) -> bytes:
    at = somewhere(data, 512, rng)
    return data[:at] + rng.bytes(512) + data[at + 512 :]


def flipped_bit(data: bytes, rng: np.random.Generator) -> bytes:
    at = somewhere(data, 1, rng)
    return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]


KINDS = (cut, cut_and_ended, second_half_zero, missing_512, zeroed_4096, noisy_512, flipped_bit)

# Smallest share refused, in the order of KINDS. Below 1: the format tells it only where the rest no longer fits. 0: the
# format has no sum, so that this damage cannot be told. Scans that refine a progressive JPEG fit almost always.
TABLE: dict[str, tuple[float, ...]] = {
    "jpeg": (1, 1, 1, 0.9, 1, 1, 0),
    "grey jpeg": (1, 1, 1, 0.9, 1, 1, 0),
    "progressive jpeg": (1, 1, 1, 0.5, 0.5, 1, 0),
    "jpeg with restarts": (1, 1, 1, 0.9, 1, 1, 0),
    "png": (1, 1, 1, 1, 1, 1, 1),
    "16-bit png": (1, 1, 1, 1, 1, 1, 1),
    "deflated tiff": (1, 1, 1, 1, 1, 1, 1),
    "jpeg tiff": (1, 1, 1, 1, 0.9, 0.9, 0),
    "lzw tiff": (1, 1, 1, 1, 0.9, 0.9, 0),
    "raw tiff": (1, 1, 0, 1, 0, 0, 0),
    "bmp": (1, 1, 0, 1, 0, 0, 0),
    "gif": (1, 1, 0.9, 0.9, 0.5, 0.9, 0),
    "webp": (1, 1, 0, 1, 0, 0, 0),
}


def is_refused(data: bytes, size: int | None) -> bool:
    try:
        decode_image(Path("a"), data, size)
    except ImageError as error:
        return error.status == "unreadable"
    return False


@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("name", TABLE)
def test_table_of_formats_and_kinds_of_damage(name: str, size: int | None) -> None:
    data = FORMATS[name](picture())
    assert not is_refused(data, size)
    rng = np.random.default_rng(1)
    shares = [np.mean([is_refused(kind(data, rng), size) for _ in range(COPIES)]) for kind in KINDS]
    missed = {
        kind.__name__: (share, least)
        for kind, share, least in zip(KINDS, shares, TABLE[name], strict=True)
        if share < least
    }
    assert not missed


def test_a_damaged_jpeg_has_no_second_look_either(tmp_path: Path) -> None:
    data = FORMATS["jpeg"](picture())
    (tmp_path / "a.jpg").write_bytes(zeroed_4096(data, np.random.default_rng(0)))
    with pytest.raises(ImageError):
        FileImage(tmp_path / "a.jpg").warped(64)
    with pytest.raises(ImageError):
        FileImage(tmp_path / "a.jpg").pixels()


# --- what is not damaged is as before


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("least", [None, 40, 150, 250])
def test_jpegs_have_the_pixels_that_pillow_gives(mode: str, options: dict[str, object], least: int | None) -> None:
    data = encode(picture().convert(mode), "JPEG", **options)
    expected = JpegImageFile(BytesIO(data))
    if least is not None:
        expected.draft(None, (least, least))
    result = decode_jpeg(JpegImageFile(BytesIO(data)), data, least)
    assert result.mode == mode
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_bytes_behind_the_end_are_no_damage() -> None:
    for name in ("jpeg", "png"):
        assert not is_refused(FORMATS[name](picture()) + b"a note of some programme", None)


# --- sums of PNG


def chunk(kind: bytes, content: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) ^ wrong)


def png(pixels: list[bytes], wrong: int = 0, after: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    parts = b"".join(chunk(b"IDAT", part, wrong) for part in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + parts + after + chunk(b"IEND", b"")


def test_png_with_a_wrong_sum() -> None:
    rows = b"".join(b"\0" + bytes([row * 9] * 48) for row in range(16))
    stream = zlib.compress(rows)
    wrong = stream[:-4] + bytes(value ^ 1 for value in stream[-4:])
    assert not is_refused(png([stream]), None)
    assert is_refused(png([stream], wrong=1), None)  # of a chunk
    assert is_refused(png([wrong]), None)  # of all pixels
    assert is_refused(png([wrong[:-4], wrong[-4:]]), None)  # in a chunk of its own
    assert is_refused(png([wrong[:-2], wrong[-2:]]), None)
    assert not is_refused(png([stream[:9], b"", stream[9:-3], stream[-3:]]), None)
    assert is_refused(png([stream], after=chunk(b"tEXt", b"a\0b", 1)), None)  # behind the pixels


def test_pixels_of_a_png_in_many_chunks_stay_the_same() -> None:
    rows = b"".join(b"\0" + bytes([row * 9] * 48) for row in range(16))
    stream = zlib.compress(rows)
    whole = decode_image(Path("a.png"), png([stream]))
    np.testing.assert_array_equal(
        decode_image(Path("a.png"), png([stream[i : i + 5] for i in range(0, len(stream), 5)])), whole
    )
    assert whole[3, 0].tolist() == [27, 27, 27]


# --- TIFF


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_compressed_tiffs_that_are_whole_are_read(tiled: bool, compression: str, mode: str) -> None:
    options = {"tiffinfo": {322: 128, 323: 128}} if tiled else {}
    data = encode(picture().convert(mode), "TIFF", compression=compression, **options)
    image: ImageFile
    with Image.open(BytesIO(data)) as image:
        np.testing.assert_array_equal(decode_image(Path("a.tif"), data), np.asarray(image.convert("RGB")))


def test_a_tiff_whose_strips_hold_more_than_the_image_is_refused() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    data = encode(Image.new("L", (8, 8)), "TIFF", compression="tiff_adobe_deflate")
    with Image.open(BytesIO(data)) as image:
        offset, length = image.tag_v2[273][0], image.tag_v2[279][0]
    moved = data
    for tag, old, new in ((273, offset, len(data)), (279, length, len(bomb))):
        there = next(at for kind in (3, 4) if (at := moved.find(struct.pack("<HHII", tag, kind, 1, old))) > 0)
        moved = moved[:there] + struct.pack("<HHII", tag, 4, 1, new) + moved[there + 12 :]
    with pytest.raises(ImageError, match="more than the image"):
        decode_image(Path("a.tif"), moved + bomb)


def test_check_calls_a_damaged_image_unusable(own_dataset: Path) -> None:
    image = sorted((own_dataset / "JPEGImage").glob("*"))[0]
    image.write_bytes(zeroed_4096(FORMATS["jpeg"](picture()), np.random.default_rng(0)))
    report = check_dataset(own_dataset, 10)
    assert not report.complete
    assert report.totals["unreadable"] == 1
