"""What is written to: regular files behind links, standard output, and nothing that is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gbad.errors import GbadError
from gbad.storage.files import atomic_path, csv_output, write_json
from gbad.storage.targets import is_stream, output_file, output_path


def linked(link: Path, target: Path) -> Path:
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this file system has no links")
    return link


@pytest.mark.parametrize("writer", [lambda path: write_json(path, {}), output_path, output_file])
def test_pipes_and_devices_are_refused_and_stay(writer: Callable[[Path], object], tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, linked(tmp_path / "link", pipe), Path("/dev/null")):
        with pytest.raises(GbadError, match=r"cannot be written, it is a device or a pipe\. Give the path of a file"):
            writer(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for target in (tmp_path / "elsewhere" / "there.json", tmp_path / "elsewhere" / "new.json"):
        if target.name == "there.json":
            target.write_text("older")
        link = linked(tmp_path / target.name, target)
        write_json(link, {"a": 1})
        assert link.is_symlink()
        assert '"a": 1' in target.read_text()
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["new.json", "there.json"]


def test_inputs_are_not_overwritten_by_any_name(tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    image.touch()
    for path in (image, tmp_path / "x" / ".." / "a.jpg", linked(tmp_path / "link.csv", image)):
        with pytest.raises(GbadError, match=r"cannot be written, since it is read as .*a\.jpg"):
            output_path(path, [tmp_path / "missing.jpg", image])
    assert output_path(tmp_path / "b.csv", [image]) == tmp_path / "b.csv"


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
def test_paths_that_cannot_be_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    for write in (output_path, output_file, lambda path: write_json(path, {})):
        with pytest.raises(GbadError, match="cannot be written"):
            write(tmp_path / name)


def test_links_that_form_a_circle_are_refused(tmp_path: Path) -> None:
    link = linked(tmp_path / "circle", tmp_path / "circle")
    with pytest.raises(GbadError, match="circle: cannot be written"), atomic_path(link) as temporary:
        temporary.touch()
    assert link.is_symlink()


@pytest.mark.parametrize("path", ["-", "/dev/stdout"])
def test_tables_go_to_standard_output(path: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert is_stream(path)
    with csv_output(path) as target:
        pd.DataFrame({"path": ["ü\udcff"]}, dtype=object).to_csv(target, index=False)
    assert capsysbinary.readouterr().out == b"path\n\xc3\xbc\xff\n"
    assert not is_stream("stdout")
