from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.source import ImageSource, source_from_array, source_from_paths, stream
from gbad.errors import DataError, GbadError, ImageError, RunError, TooManyBadImagesError


def images(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def counting(source: ImageSource, calls: list[int], fail: tuple[int, ...] = ()) -> ImageSource:
    def load(row: int) -> np.ndarray:
        calls.append(row)
        if row in fail:
            raise ImageError(f"{row}.png", "unreadable", "broken")
        return source.load(row)

    return ImageSource(source.names, source.size, load)


def test_stream_keeps_the_order_of_rows_and_reports_failures_by_row() -> None:
    pixels = images(50)
    source = counting(source_from_array(pixels, 8), [], fail=(7, 8))
    rows = np.array([40, 7, 3, 8, 3, 0])
    seen, errors = [], {}
    for done, batch, failed in stream(source, rows, batch_size=4):
        np.testing.assert_array_equal(batch, pixels[done])
        seen += done.tolist()
        errors |= failed
    assert seen == [40, 3, 3, 0]
    assert sorted(errors) == [7, 8]


def test_stream_reads_only_a_little_ahead() -> None:
    calls: list[int] = []
    batches = stream(counting(source_from_array(images(400), 8), calls), range(400), batch_size=4, workers=2)
    next(batches)
    batches.close()
    assert len(calls) <= 4 * 6


def test_second_epoch_decodes_nothing(tmp_path: Path) -> None:
    pixels, calls = images(20), []
    with closing(DecodedCache(counting(source_from_array(pixels, 8), calls), tmp_path, BadImages(20))) as cache:
        rows = np.array([3, 1, 19])
        np.testing.assert_array_equal(cache.fill(rows), rows)
        np.testing.assert_array_equal(cache[rows], pixels[rows])
        cache.fill(rows)
    assert sorted(calls) == [1, 3, 19]


def test_reopened_cache_continues(tmp_path: Path) -> None:
    pixels, calls = images(20), []
    source = counting(source_from_array(pixels, 8), calls)
    with closing(DecodedCache(source, tmp_path, BadImages(20))) as cache:
        cache.fill(np.arange(10))
    with closing(DecodedCache(source, tmp_path, BadImages(20))) as cache:
        cache.fill(np.arange(20))
        np.testing.assert_array_equal(cache[np.arange(20)], pixels)
    assert sorted(calls) == list(range(20))


def test_cache_of_other_images_is_refused(tmp_path: Path) -> None:
    DecodedCache(source_from_array(images(5), 8), tmp_path, BadImages(5)).close()
    for other in (source_from_array(images(6), 8), source_from_array(images(5), 16)):
        with pytest.raises(RunError, match="other images or another size"):
            DecodedCache(other, tmp_path, BadImages(5))


def test_cache_is_sparse(tmp_path: Path) -> None:
    with closing(DecodedCache(source_from_array(images(500, 64), 64), tmp_path, BadImages(500))) as cache:
        cache.fill(np.array([499]))
    assert (tmp_path / "images.u8").stat().st_blocks * 512 < 500 * 64 * 64 * 3 / 10


def test_bad_images_are_skipped_counted_and_tried_again(tmp_path: Path) -> None:
    source = counting(source_from_array(images(200), 8), [], fail=(5,))
    bad = BadImages(200)
    with closing(DecodedCache(source, tmp_path, bad)) as cache:
        np.testing.assert_array_equal(cache.fill(np.array([4, 5, 6])), [4, 6])
    assert bad.table().values.tolist() == [["5.png", "unreadable", "broken"]]
    with closing(DecodedCache(source_from_array(images(200), 8), tmp_path, BadImages(200))) as cache:
        np.testing.assert_array_equal(cache.fill(np.array([4, 5, 6])), [4, 5, 6])


def test_more_than_one_percent_bad_stops_and_lists_them(tmp_path: Path) -> None:
    bad = BadImages(200, report=tmp_path / "bad.csv")
    for row in range(2):
        bad.add(ImageError(f"{row}.png", "missing", "no such file"))
        bad.add(ImageError(f"{row}.png", "missing", "no such file"))  # the same image counts once
    with pytest.raises(TooManyBadImagesError, match=r"3 of 200 .*1.0%.*bad\.csv.*gbad check"):
        bad.add(ImageError("2.png", "missing", "no such file"))
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 4


def test_strict_stops_at_the_first() -> None:
    with pytest.raises(ImageError, match="a.png"):
        BadImages(1000, strict=True).add(ImageError("a.png", "missing", "no such file"))


def test_full_disk_is_an_error_and_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images(10)
    with closing(DecodedCache(source_from_array(pixels, 8), tmp_path, BadImages(10))) as cache:
        cache.fill(np.arange(3))

        class Full:
            def seek(self, offset: int) -> None: ...

            def write(self, data: bytes) -> int:
                raise OSError(28, "No space left on device")

            def close(self) -> None: ...

        kept = cache._images_file
        monkeypatch.setattr(cache, "_images_file", Full())
        with pytest.raises(GbadError, match="No space left on device.*continues where it stopped"):
            cache.fill(np.arange(10))
        kept.close()
    with closing(DecodedCache(source_from_array(pixels, 8), tmp_path, BadImages(10))) as cache:
        np.testing.assert_array_equal(cache.fill(np.arange(10)), np.arange(10))
        np.testing.assert_array_equal(cache[np.arange(10)], pixels)


def test_array_source_checks_its_input() -> None:
    with pytest.raises(DataError, match="uint8"):
        source_from_array(np.zeros((2, 8, 8, 3)), 8)


def test_array_source_warps() -> None:
    assert source_from_array(images(2, 10), 6).load(1).shape == (6, 6, 3)


def test_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        source_from_paths([tmp_path / "no.jpg"], 8).load(0)
    assert caught.value.status == "missing"
