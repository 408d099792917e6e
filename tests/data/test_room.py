"""Memory of decoding is bounded, whatever a folder holds: large images one at a time, none beyond a limit."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gbad.data import room
from gbad.data.images import read_image
from gbad.data.original import FileImage
from gbad.errors import ImageError

READ = """
import sys
from concurrent.futures import ThreadPoolExecutor
from gbad.data.images import read_image
from gbad.data.original import FileImage
from pathlib import Path

def peak():  # KiB of this process at most so far
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

read_image(sys.argv[1], 64)  # all libraries are loaded
before = peak()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda path: read_image(path, 64), sys.argv[2:]))
    colours = [path for path in sys.argv[2:] if "grey" not in Path(path).name]  # 16-bit grey is refused there
    list(pool.map(lambda path: FileImage(Path(path)).warped(64), colours))
print((peak() - before) * 1024)
"""


def blank_png(path: Path, width: int, height: int, depth: int, colour: int, channels: int) -> Path:
    """A PNG of zeros, made without holding its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    row = bytes(1 + width * channels * depth // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_large_images_take_a_bounded_memory_together(run_python: Callable[..., Any], tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the peak of a process")
    Image.new("L", (64, 64)).save(tmp_path / "small.png")
    paths = [blank_png(tmp_path / f"grey {number}.png", 5000, 5000, 16, 0, 1) for number in range(4)]
    paths += [blank_png(tmp_path / f"colour {number}.png", 5000, 5000, 8, 6, 4) for number in range(4)]
    outcome = run_python("-c", READ, tmp_path / "small.png", *paths)
    assert outcome.status == 0, outcome.err
    assert int(outcome.out) < 25_000_000 * 15  # one at a time: a fraction of 8 × 200 MB


def test_large_images_are_decoded_one_at_a_time_and_small_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LARGE_PIXELS", 100 * 100)
    inside, most = 0, {True: 0, False: 0}
    lock, load = threading.Lock(), Image.Image.resize

    def resize(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        nonlocal inside
        large = image.width > 100
        with lock:
            inside += 1
            most[large] = max(most[large], inside)
        threading.Event().wait(0.02)
        with lock:
            inside -= 1
        return load(image, *args, **options)

    for name, side in (("large", 200), ("small", 50)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(Image.Image, "resize", resize)
    for name in ("small", "large"):
        for read in (lambda path: read_image(path, 10), lambda path: FileImage(path).warped(10)):
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(read, [tmp_path / f"{name}.png"] * 6))
    assert most[True] == 1
    assert most[False] > 1


def test_an_image_that_needs_more_than_the_limit_is_refused_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr("gbad.data.images.MOST_BYTES", 80_000)
    with pytest.raises(ImageError, match=r"needs 80,\d+ bytes of memory to decode, more than 80,000") as caught:
        read_image(tmp_path / "a.png", 10)
    assert caught.value.status == "too_large"


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_strips_give_the_pixels_of_the_whole(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (10, 7, 4), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(random.integers(0, 65536, (10, 7), dtype=np.uint16)).save(tmp_path / "grey.tif")
    paths = sorted(tmp_path.iterdir())
    expected = [read_image(path) for path in paths]
    monkeypatch.setattr("gbad.data.images._STRIP_PIXELS", rows * 7)
    for path, whole in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(read_image(path), whole)
