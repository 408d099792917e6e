from __future__ import annotations

from pathlib import Path

import pytest

from gbad.data.groups import groups_path, read_groups, write_groups
from gbad.errors import DataError


def write(data: Path, content: str | bytes) -> Path:
    path = groups_path(data, 10)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_groups(tmp_path, 10, ["P1"]) is None


@pytest.mark.parametrize(
    "content",
    [
        "name,group\nP1,passenger 7\nP3,Tür\n",
        "\ufeffname,group\r\nP1,passenger 7\r\n\r\nP3,Tür",
        "note, group ,name\nx, passenger 7,P1.jpg \n,Tür,P3\nx,else,P9\n",
        'name,group\nP1,"passenger 7"\nP1,passenger 7\nP3,Tür\n',
    ],
)
def test_groups_of_the_asked_names(tmp_path: Path, content: str) -> None:
    write(tmp_path, content)
    assert read_groups(tmp_path, "10", ["P3", "P2", "P1"]) == ["Tür", None, "passenger 7"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["line 1", "'name'", "name,group"]),
        ("P1,a\n", ["line 1", "'name'", "['P1', 'a']"]),
        ("name,bag\nP1,a\n", ["line 1", "'group'", "name,group"]),
        ("name,group,group\nP1,a,a\n", ["line 1", "not one column 'group'"]),
        ("name,group\nP1\n", ["line 2", "1 columns", "2"]),
        ("name,group\nP1,a,b\n", ["line 2", "3 columns", "2"]),
        ("name,group\nP1,a\nP2, \n", ["line 3", "empty name or group"]),
        ("name,group\n,a\n", ["line 2", "empty name or group"]),
        ("name,group\nP1,a\n\nP1.png,b\n", ["line 4", "'P1'", "'b'", "'a'", "Delete one"]),
        ('name,group\nP1,"a\n', ["not valid CSV"]),
        ("name,group\nP1,Tür\n".encode("latin-1"), ["not UTF-8", "Save the file"]),
    ],
)
def test_bad_files_are_refused_with_file_place_and_value(
    tmp_path: Path, content: str | bytes, parts: list[str]
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_groups(tmp_path, 10, ["P1"])
    for part in [str(path), *parts]:
        assert part in str(caught.value)


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    groups_path(tmp_path, 10).mkdir(parents=True)
    with pytest.raises(DataError, match=r"groups\.csv: cannot be read"):
        read_groups(tmp_path, 10, [])


def test_written_groups_read_back(tmp_path: Path) -> None:
    groups = {"P1": "a, b", "Größe": 'the "red" bag'}
    write_groups(tmp_path, 10, groups)
    assert read_groups(tmp_path, 10, list(groups)) == list(groups.values())
