from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad import DataError
from gbad.workflows.inputs import expand, read_names


def make(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [root / name for name in names]


def raw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), 60000, np.uint16)).save(path)
    return path


def test_folders_are_expanded_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.png", "c/1.tif", "c/0.bmp", "b/9.webp", "read.me")
    expected = ["a.png", "b.JPG", "b/9.webp", "c/0.bmp", "c/1.tif"]
    assert expand([tmp_path]) == [tmp_path / name for name in expected]
    assert expand(tmp_path) == expand(str(tmp_path)) == expand([tmp_path])  # one path is no sequence of letters
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"no image in .*nothing; gbad reads \.bmp"):
        expand([tmp_path / "nothing"])
    if os.geteuid() != 0:
        (tmp_path / "c").chmod(0)
        with pytest.raises(DataError, match="cannot be listed"):
            expand([tmp_path])
        (tmp_path / "c").chmod(0o700)


def test_folders_are_searched_by_the_rules_of_all_data(tmp_path: Path) -> None:
    make(tmp_path, "in/b.jpg", "in/._b.jpg", "in/.hidden/c.jpg", "in/Mask/b.png", "elsewhere/a.jpg")
    try:
        (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
        (tmp_path / "in" / "nowhere.jpg").symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("this file system has no links")
    expected = ["in/b.jpg", "in/nowhere.jpg", "in/linked/a.jpg", "in/._b.jpg"]
    assert expand([tmp_path / "in", tmp_path / "in" / "._b.jpg"]) == [tmp_path / name for name in expected]


def test_patterns_give_what_they_match(tmp_path: Path) -> None:
    a, b, deep, other = make(tmp_path, "x/b1.png", "x/b2.png", "x/deep/b3.png", "x/odd[1].png")
    assert expand([tmp_path / "x" / "b?.png"]) == [a, b]
    assert expand([tmp_path / "**" / "b*.png"]) == [a, b, deep]
    assert expand([tmp_path / "x" / "d*"]) == [deep]  # a folder that is matched is searched
    assert expand([other]) == [other]  # a file of that name
    nothing = tmp_path / "x" / "c*.png"
    assert expand([nothing, a]) == [nothing, a]


def test_other_files_of_a_folder_are_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image, *_ = make(tmp_path, "a.png", "b.jp2", "c/d.jp2", "c/note.TXT", "raw", ".hidden.jp2")
    with caplog.at_level(logging.INFO, "gbad"):
        assert expand([tmp_path, image]) == [image, image]
    assert [record.getMessage() for record in caplog.records] == [
        "4 files of other kinds left out: .jp2 2, no suffix 1, .txt 1"
    ]


def test_raw_channels_are_one_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    low, high = raw(tmp_path / "Raw" / "P1_low.png"), raw(tmp_path / "Raw" / "P1_high.png")
    alone = raw(tmp_path / "Raw" / "P2_high.png")
    assert expand([tmp_path]) == [low, alone]
    assert expand([low, high, alone]) == [low, alone]
    assert expand([high]) == [high]
    (shown,) = make(tmp_path, "JPEGImage/P1.jpg")
    with caplog.at_level(logging.INFO, "gbad"):
        assert expand([tmp_path]) == [shown, alone]
    assert "1 pair of raw channels" in caplog.text


def test_lists_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa b.png\r\n\n #c.png\nlatin-\xfc.png")
    names = ["a b.png", " #c.png", os.fsdecode(b"latin-\xfc.png")]
    assert read_names(path) == names
    path.write_bytes(b"line\nbreak.png\0b.png\0")
    assert read_names(path) == ["line\nbreak.png", "b.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.png\nb.png\n")))
    assert read_names("-") == ["a.png", "b.png"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        read_names("-")
    path.write_text("\n\n")
    with pytest.raises(DataError, match=r"list\.txt: names no image"):
        read_names(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_names(tmp_path / "nothing.txt")
