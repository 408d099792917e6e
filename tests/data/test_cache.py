from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache, decode_images
from gbad.data.source import ImageSource, source_from_array, source_from_paths, stream
from gbad.errors import DataError, GbadError, ImageError, RunError, TooManyBadImagesError
from gbad.storage.tables import read_table


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


@pytest.mark.parametrize("name", ["images.u8", "sums.u32", "status.u8"])
def test_cache_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    source = source_from_array(images(5), 8)
    DecodedCache(source, tmp_path, BadImages(5)).close()
    whole = (tmp_path / name).read_bytes()
    for content in (whole[:-1], whole + b"x"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RunError, match=rf"{name} has [\d,]+ bytes, not the .* of 5 images.*Delete the folder"):
            DecodedCache(source, tmp_path, BadImages(5))
    (tmp_path / name).unlink()
    if name != "sums.u32":  # as an older version leaves it
        with pytest.raises(RunError, match=f"{name} has 0 bytes"):
            DecodedCache(source, tmp_path, BadImages(5))


def test_a_cache_of_before_checksums_is_decoded_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels, calls = images(6), []
    source = counting(source_from_array(pixels, 8), calls)
    caplog.set_level("INFO")
    for _ in range(2):
        with closing(DecodedCache(source, tmp_path, BadImages(6))) as cache:
            cache.fill(np.arange(6))
    assert sorted(calls) == list(range(6))
    (tmp_path / "sums.u32").unlink()
    for _ in range(2):
        with closing(DecodedCache(source, tmp_path, BadImages(6))) as cache:
            assert cache.fill(np.arange(6)).tolist() == list(range(6))
            np.testing.assert_array_equal(cache[np.arange(6)], pixels)
    assert sorted(calls) == sorted([*range(6)] * 2)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: of a version without checksums; its images are decoded again"
    ]


@pytest.mark.parametrize("name", ["images.u8", "sums.u32", "status.u8"])
def test_images_that_are_not_what_was_written_are_decoded_anew(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels, calls = images(6), []
    source = counting(source_from_array(pixels, 8), calls)
    with closing(DecodedCache(source, tmp_path, BadImages(6))) as cache:
        cache.fill(np.arange(6))
    size = (tmp_path / name).stat().st_size // 6
    with (tmp_path / name).open("r+b") as file:
        file.seek(2 * size)
        file.write(bytes(size))  # as a disk leaves it that lost power
    calls.clear()
    with closing(DecodedCache(source, tmp_path, BadImages(6))) as cache:
        for _ in range(2):
            assert cache.fill(np.arange(6)).tolist() == list(range(6))
            np.testing.assert_array_equal(cache[np.arange(6)], pixels)
    assert calls == [2]
    assert ("1 decoded images are not what was written" in caplog.text) == (name != "status.u8")


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


def lose(bad: BadImages, *rows: int) -> None:
    for row in rows:
        bad.add(ImageError(f"{row}.png", "missing", "no such file"))
        bad.add(ImageError(f"{row}.png", "missing", "no such file"))  # the same image counts once


def labelled(*columns: range) -> BadImages:
    """1000 images, of which the given ones show the class a, b, …; one in a hundred may be bad."""
    labels = np.zeros((1000, len(columns)), np.uint8)
    for column, rows in enumerate(columns):
        labels[rows, column] = 1
    return BadImages(1000, shown=([f"./{row}.png" for row in range(1000)], labels, "ab"[: len(columns)]))


def test_a_download_without_threats_is_refused_however_few_they_are() -> None:
    """All images with threats are lost, and still fewer than one image in a hundred."""
    bad = labelled(range(9))
    with pytest.raises(TooManyBadImagesError, match=r"2 of 9 images with threats cannot be used, more than the 1\.0%"):
        lose(bad, 0, 1)
    lose(BadImages(1000), *range(9))  # nothing is known of the labels


def test_the_limit_holds_for_each_class() -> None:
    bad = labelled(range(800), range(800, 805))
    lose(bad, *range(6))
    lose(bad, 800)  # one of five: as few as can be
    with pytest.raises(TooManyBadImagesError, match=r"2 of 5 images with the class b cannot .*801\.png: no such file"):
        lose(bad, 801)
    lose(labelled(range(800), range(800, 1000)), 800, 801)
    with pytest.raises(TooManyBadImagesError, match="1 of 1 image with the class b"):
        lose(labelled(range(800), range(1)), 0)
    strict = labelled(range(800))
    strict.strict = True
    with pytest.raises(ImageError, match="5.png"):
        lose(strict, 5)


def test_a_limit_of_all_images_holds_for_the_classes_too() -> None:
    bad = BadImages(4, 1.0, shown=([f"{row}.png" for row in range(4)], np.eye(4, 2, dtype=np.uint8), "ab"))
    lose(bad, *range(4))
    assert len(bad.errors) == 4


def test_the_list_of_bad_images_takes_paths_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(b"latin-\xfc.jpg")
    bad = BadImages(100)
    bad.add(ImageError(path, "missing", "no such file"))
    bad.write(tmp_path / "bad.csv")
    assert read_table(tmp_path / "bad.csv", ["path"], "")["path"].tolist() == [path]


def test_full_disk_is_an_error_and_keeps_what_was_written(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    pixels = images(10)
    with closing(DecodedCache(source_from_array(pixels, 8), tmp_path, BadImages(10))) as cache:
        cache.fill(np.arange(3))
        with full_disk(5 * 8 * 8 * 3), pytest.raises(GbadError, match="File too large.*continues where it stopped"):
            cache.fill(np.arange(10))
    calls: list[int] = []
    with closing(DecodedCache(counting(source_from_array(pixels, 8), calls), tmp_path, BadImages(10))) as cache:
        np.testing.assert_array_equal(cache.fill(np.arange(10)), np.arange(10))
        np.testing.assert_array_equal(cache[np.arange(10)], pixels)
    assert not {0, 1, 2} & set(calls)


def test_decoded_images_are_those_of_the_source_and_continue(tmp_path: Path) -> None:
    pixels, rows, calls = images(100, 16), np.arange(90)[::-1], []
    expected = np.stack([source_from_array(pixels, 8).load(row) for row in rows])
    broken = counting(source_from_array(pixels, 16), [], fail=(5,))  # in the second batch
    with pytest.raises(ImageError, match=r"5\.png"):
        decode_images(broken, rows, 8, tmp_path / "a")
    for _ in range(2):
        source = counting(source_from_array(pixels, 16), calls)
        np.testing.assert_array_equal(decode_images(source, rows, 8, tmp_path / "a"), expected)
    assert sorted(calls) == list(range(26))  # the first batch was there, and at last all were
    (tmp_path / "file").touch()
    with pytest.raises(GbadError, match=r"file: the image cache cannot be made"):
        decode_images(source_from_array(pixels, 16), rows, 8, tmp_path / "file")


def test_array_source_checks_its_input() -> None:
    with pytest.raises(DataError, match="uint8"):
        source_from_array(np.zeros((2, 8, 8, 3)), 8)


def test_array_source_warps() -> None:
    assert source_from_array(images(2, 10), 6).load(1).shape == (6, 6, 3)


def test_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        source_from_paths([tmp_path / "no.jpg"], 8).load(0)
    assert caught.value.status == "missing"
