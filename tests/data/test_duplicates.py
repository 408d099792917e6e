from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gbad.data import duplicates
from gbad.data.duplicates import find_duplicates, group_equal
from gbad.storage import digests
from gbad.storage.digests import bytes_digest


def write_files(root: Path, *contents: bytes) -> list[Path]:
    paths = [root / f"{number}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_groups_are_positions_in_order() -> None:
    assert group_equal([]) == []
    assert group_equal([3, 1, 2, 1, 3, 1]) == [[0, 4], [1, 3, 5]]
    assert group_equal([None, None, "a"]) == []


def test_digests_tell_contents_apart() -> None:
    assert bytes_digest(b"a") == bytes_digest(b"a")
    assert bytes_digest(b"a") != bytes_digest(b"b")
    assert len(bytes_digest(b"")) == 16


def test_same_bytes_are_found_whatever_the_name(tmp_path: Path) -> None:
    long = bytes(range(256)) * 100  # longer than what is hashed first
    contents = [b"one", b"two", b"one", long, long[:-1] + b"x", long, b"x" + long[1:], b"one"]
    assert find_duplicates(write_files(tmp_path, *contents)) == [[0, 2, 7], [3, 5]]


def test_files_that_cannot_be_read_are_in_no_group(tmp_path: Path) -> None:
    paths = write_files(tmp_path, b"same", b"", b"", b"same")
    missing = tmp_path / "gone.jpg"
    assert find_duplicates([missing, *paths, missing, tmp_path, "a\0b"]) == [[1, 4]]
    assert find_duplicates([]) == []


def test_only_files_of_equal_size_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[Path] = []
    whole: list[Path] = []

    def spied_heads(paths: Iterable[Path], size: int) -> Iterator[bytes | None]:
        heads.extend(paths := list(paths))
        return digests.head_digests(paths, size)

    def spied_file(path: Path) -> bytes | None:
        whole.append(path)
        return digests.file_digest(path)

    monkeypatch.setattr(duplicates, "head_digests", spied_heads)
    monkeypatch.setattr(duplicates, "file_digest", spied_file)
    other_head, long = b"b" + bytes(30_000), b"a" + bytes(30_000)
    paths = write_files(tmp_path, b"1", b"22", other_head, long, long)
    assert find_duplicates(paths) == [[3, 4]]
    assert [path.name for path in heads] == ["2.jpg", "3.jpg", "4.jpg"]
    assert [path.name for path in whole] == ["3.jpg", "4.jpg"]
