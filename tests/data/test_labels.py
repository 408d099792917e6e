from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from gbad.data.labels import (
    SIXRAY_CLASSES,
    LabelList,
    find_subsets,
    is_safe_name,
    list_path,
    read_list,
    read_sixray,
    strip_suffix,
    write_list,
)
from gbad.errors import DataError, GbadError

SIXRAY_MINI = Path(__file__).parents[3] / "shared" / "data" / "sixray-mini"
HEADER = "name,Gun,Knife\n"


@pytest.fixture
def write(tmp_path: Path):
    def write_list(content: str | bytes) -> Path:
        path = tmp_path / "train.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_list


def test_values_names_and_classes_come_out_as_written(write) -> None:
    labels = read_list(write(HEADER + "P1,1,-1\nP2,1,1\nN1,-1,-1\n"))
    assert labels.names == ("P1", "P2", "N1")
    assert labels.classes == ("Gun", "Knife")
    assert labels.labels.dtype == np.uint8
    assert labels.labels.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert labels.positive.tolist() == [True, True, False]
    assert labels.counts() == {"Gun": 2, "Knife": 1}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffname,Gun,Knife\nP1,1,-1\nP2,-1,1\n",
        "name,Gun,Knife\r\nP1,1,-1\r\nP2,-1,1\r\n",
        "name,Gun,Knife\rP1,1,-1\rP2,-1,1\r",
        "name,Gun,Knife\nP1,1,-1\nP2,-1,1",
        "name,Gun,Knife\nP1,1,-1\n\nP2,-1,1\n\n  \n",
        " name , Gun, Knife \n P1 , 1 ,-1\nP2,\t-1,1 \n",
        '"name","Gun","Knife"\n"P1","1","-1"\n"P2","-1","1"\n',
        "name,Gun,Knife\nP1,1.0,-1.0\nP2,-1.0,+1\n",
        "name,Gun,Knife\nP1.jpg,1,-1\nP2.PNG,-1,1\n",
    ],
    ids=["bom", "crlf", "cr", "no-last-newline", "blank-lines", "spaces", "quotes", "floats", "suffixes"],
)
def test_harmless_variants_read_alike(write, content: str) -> None:
    labels = read_list(write(content))
    assert (labels.names, labels.classes) == (("P1", "P2"), ("Gun", "Knife"))
    assert labels.labels.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("n_classes", [1, 2, 40])
def test_any_number_of_classes_with_any_names(write, n_classes: int) -> None:
    classes = [f"Größe {number}" for number in range(n_classes)]
    labels = read_list(write(",".join(["name", *classes]) + "\nP1" + ",1" * n_classes + "\n"))
    assert labels.classes == tuple(classes)
    assert labels.labels.tolist() == [[1] * n_classes]


def test_zero_is_negative_with_one_warning_that_counts(write) -> None:
    path = write(HEADER + "P1,1,0\nN1,0,0.0\nN2,-1,-1\nN3,0,0\n")
    with pytest.warns(UserWarning, match="5 values of 0 count") as caught:
        labels = read_list(path)
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert labels.labels.tolist() == [[1, 0], [0, 0], [0, 0], [0, 0]]


def test_no_zero_no_warning(write) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_list(write(HEADER + "P1,1,-1\n"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        ("\n", ["empty"]),
        (HEADER, ["no rows"]),
        ("P1,1,-1\n", ["line 1", "'P1'", "name,<class>"]),
        (",name,Gun\n0,P1,1\n", ["line 1", "''"]),
        ("name\nP1\n", ["line 1", "no class name"]),
        ("name,Gun,,Knife\nP1,1,1,1\n", ["line 1", "empty class name"]),
        ("name,Gun,Gun\nP1,1,1\n", ["line 1", "'Gun'", "twice"]),
        ("name,name\nP1,1\n", ["line 1", "'name'", "twice"]),
        ("name,G\x07un\nP1,1\n", ["line 1", "control"]),
        (HEADER + "P1,1,-1\nP2,1,2\n", ["line 3", "'Knife'", "'2'", "1 (present)"]),
        (HEADER + "P1,,-1\n", ["line 2", "'Gun'", "''"]),
        (HEADER + "P1,1,yes\n", ["line 2", "'Knife'", "'yes'"]),
        (HEADER + "P1,1,nan\n", ["line 2", "'nan'"]),
        (HEADER + "P1,1,0.5\n", ["line 2", "'0.5'"]),
        (HEADER + "\n\nP1,1,x\n", ["line 4", "'x'"]),
        (HEADER + "P1,1\n", ["line 2", "2 columns", "3"]),
        (HEADER + "P1,1,-1,1\n", ["line 2", "4 columns", "3"]),
        (HEADER + "P1;1;-1\n", ["line 2", "1 columns"]),
        (HEADER + "P1,1,-1\nP2,1,1\nP1,1,-1\n", ["line 4", "'P1'", "line 2"]),
        (HEADER + "P1.jpg,1,-1\nP1,1,-1\n", ["line 3", "'P1'", "line 2"]),
        (HEADER + " ,1,-1\n", ["line 2", "empty name"]),
        (HEADER + ".jpg,1,-1\n", ["line 2", "empty name"]),
        (HEADER + "../../etc/passwd,1,-1\n", ["line 2", "'../../etc/passwd'", "separator"]),
        (HEADER + "a/b,1,-1\n", ["line 2", "'a/b'"]),
        (HEADER + "a\\b,1,-1\n", ["line 2", "separator"]),
        (HEADER + "..,1,-1\n", ["line 2", "'..'"]),
        (HEADER + "a\0b,1,-1\n", ["line 2"]),
        (HEADER + "a\tb,1,-1\n", ["line 2", "control"]),
        (HEADER + '"a/\nb",1,-1\n', ["line 3", "separator"]),
        (HEADER + '"P1,1,-1\nP2,1,-1\n', ["not valid CSV"]),
        ((HEADER + "Größe,1,-1\n").encode("latin-1"), ["not UTF-8"]),
        ((HEADER + "P1,1,-1\n").encode("utf-16"), ["not UTF-8"]),
    ],
)
def test_bad_lists_are_refused_with_file_place_and_value(write, content: str | bytes, parts: list[str]) -> None:
    path = write(content)
    with pytest.raises(DataError) as caught:
        read_list(path)
    for part in [str(path), *parts]:
        assert part in str(caught.value)


def test_missing_list_and_folder_as_list(tmp_path: Path) -> None:
    with pytest.raises(GbadError, match="nowhere.csv: cannot be read"):
        read_list(tmp_path / "nowhere.csv")
    with pytest.raises(GbadError, match="cannot be read"):
        read_list(tmp_path)


def test_a_large_list_is_read_quickly(write) -> None:
    n_rows = 200_000
    path = write(
        "name,Gun,Knife,Wrench,Pliers,Scissors\n" + "".join(f"N{row:07d},-1,-1,-1,-1,-1\n" for row in range(n_rows))
    )
    start = time.process_time()
    labels = read_list(path)
    assert len(labels) == n_rows
    assert not labels.labels.any()
    assert time.process_time() - start < 3  # about 0.25 s; a row-wise parse of each value takes several times as long


def test_read_sixray_takes_the_official_layout(tmp_path: Path) -> None:
    path = list_path(tmp_path, 10, "train")
    assert path == tmp_path / "ImageSet" / "10" / "train.csv"
    path.parent.mkdir(parents=True)
    path.write_text(HEADER + "P1,1,-1\n")
    assert read_sixray(tmp_path, 10, "train").names == read_sixray(tmp_path, "10", "train").names == ("P1",)


def test_missing_subset_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no other list"):
        read_sixray(tmp_path, 10, "train")
    for subset in ("1000", "10", "mine", "empty"):
        (tmp_path / "ImageSet" / subset).mkdir(parents=True)
    for subset in ("1000", "10", "mine"):
        list_path(tmp_path, subset, "train").write_text(HEADER)
    assert find_subsets(tmp_path) == ["10", "1000", "mine"]
    with pytest.raises(DataError, match="10, 1000, mine"):
        read_sixray(tmp_path, 100, "train")
    with pytest.raises(DataError, match=r"test\.csv"):
        read_sixray(tmp_path, 10, "test")


def test_select_by_mask_numbers_and_slice() -> None:
    labels = LabelList(("a", "b", "c"), np.array([[1, 0], [0, 0], [0, 1]], np.uint8), ("Gun", "Knife"))
    assert labels.select(labels.positive).names == ("a", "c")
    reordered = labels.select(np.array([2, 0]))
    assert reordered.names == ("c", "a")
    assert reordered.labels.tolist() == [[0, 1], [1, 0]]
    assert labels.select(slice(1, None)).names == ("b", "c")
    assert len(labels.select(np.zeros(3, bool))) == 0


def test_label_list_refuses_other_shapes_and_types() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        LabelList(("a",), np.zeros((1, 3), np.uint8), ("Gun", "Knife"))
    with pytest.raises(ValueError, match="uint8"):
        LabelList(("a",), np.zeros((1, 2), np.int64), ("Gun", "Knife"))


def test_suffixes_and_safe_names() -> None:
    assert [strip_suffix(name) for name in ("a.jpeg", "a.b", "a", ".jpg")] == ["a", "a.b", "a", ""]
    assert [is_safe_name(name) for name in ("a b-c.d", "", ".", "a/b", "a..b")] == [True, False, False, False, True]


def test_real_lists() -> None:
    if not SIXRAY_MINI.is_dir():
        pytest.skip("sixray-mini is not here")
    train = read_sixray(SIXRAY_MINI, 10, "train")
    assert train.classes == SIXRAY_CLASSES
    assert train.counts() == {"Gun": 243, "Knife": 127, "Wrench": 128, "Pliers": 0, "Scissors": 0}
    assert (len(train), int((~train.positive).sum())) == (1028, 561)


def test_a_written_list_reads_back(tmp_path: Path) -> None:
    names = ("a", "b, c", 'd"', "e..f", " g ", "h\ni", "j\rk", "l\tm", "ü\u2028", "NA", "01", "-1")
    labels = LabelList(names, np.eye(len(names), 2, dtype=np.uint8), ("Gun", "Knife, long"))
    write_list(labels, tmp_path / "ImageSet" / "10" / "train.csv")
    again = read_sixray(tmp_path, 10, "train")
    assert (again.names, again.classes) == (labels.names, labels.classes)
    np.testing.assert_array_equal(again.labels, labels.labels)


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("a",), ("Gun", "name"), "no class may be called 'name'"),
        (("a",), ("Gun", "Gun"), "'Gun' occurs twice"),
        (("a",), (" Gun",), "would be read as"),
        (("a",), ("Gu\nn",), "control characters"),
        (("a", ".."), ("Gun",), r"list\.csv, line 3: the name '\.\.' has"),
        (("a\\b",), ("Gun",), "has a path separator"),
        (("a.jpg",), ("Gun",), "'a.jpg' would be read as 'a'"),
        ((os.fsdecode(b"latin-\xfc"),), ("Gun",), "is not UTF-8. Rename the image"),
    ],
    ids=["name", "twice", "space", "line end", "dots", "separator", "suffix", "no text"],
)
def test_what_would_not_read_back_is_not_written(
    names: tuple[str, ...], classes: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    labels = LabelList(names, np.ones((len(names), len(classes)), np.uint8), classes)
    with pytest.raises(DataError, match=message):
        write_list(labels, tmp_path / "list.csv")
    assert not list(tmp_path.iterdir())
