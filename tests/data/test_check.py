from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gbad.data.check import INCOMPLETE, PROBLEMS, CheckReport, check_dataset
from gbad.data.images import image_size
from gbad.errors import DataError

SIXRAY_MINI = Path(__file__).parents[3] / "shared" / "data" / "sixray-mini"
HEADER = "name,Gun,Knife"
LISTS = {"train": {"P1": "1,-1", "P2": "1,1", "N1": "-1,-1"}, "test": {"P3": "-1,1", "N2": "-1,-1"}}


def write_list(data: Path, part: str, rows: dict[str, str], subset: str = "10", header: str = HEADER) -> None:
    folder = data / "ImageSet" / subset
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.csv").write_text("\n".join([header, *(f"{name},{row}" for name, row in rows.items())]) + "\n")


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def annotate(data: Path, name: str, *classes: str) -> None:
    (data / "Annotation").mkdir(exist_ok=True)
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    objects = "".join(f"<object><name>{class_name}</name>{box}</object>" for class_name in classes)
    (data / "Annotation" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for part, rows in LISTS.items():
        write_list(root, part, rows)
    for seed, name in enumerate(["P1", "P2", "N1", "P3", "N2"]):
        write_image(root / "JPEGImage" / f"{name}.jpg", seed)
    return root


def findings(report: CheckReport) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in report.problems[["part", "name", "problem"]].to_numpy().tolist()]


def detail(report: CheckReport, problem: str) -> str:
    return "; ".join(report.problems.loc[report.problems["problem"] == problem, "detail"])


def test_a_complete_data_set_has_no_findings(data: Path) -> None:
    annotate(data, "P1", "Gun")
    annotate(data, "P2", "Gun", "Knife", "Knife")
    report = check_dataset(data, 10)
    assert report.complete
    assert report.totals == {}
    assert list(report.problems.columns) == ["part", "name", "path", "problem", "detail"]
    assert report.images == 5
    train, test = report.counts
    assert (train.subset, train.part, train.rows, train.found, train.usable, train.threat_free) == (
        "10",
        "train",
        3,
        3,
        3,
        1,
    )
    assert (train.classes, test.classes) == ({"Gun": 2, "Knife": 1}, {"Gun": 0, "Knife": 1})


def test_missing_images_make_it_incomplete(data: Path) -> None:
    (data / "JPEGImage" / "P2.jpg").unlink()
    report = check_dataset(data, "10")
    assert not report.complete
    assert findings(report) == [("train", "P2", "missing_image")]
    assert [(entry.found, entry.usable) for entry in report.counts] == [(2, 2), (2, 2)]


def test_no_image_at_all_is_a_finding_for_each_row(data: Path) -> None:
    shutil.rmtree(data / "JPEGImage")
    report = check_dataset(data, 10)
    assert report.totals == {"missing_image": 5}
    assert not report.complete


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def save_cmyk(path: Path) -> None:
    Image.new("CMYK", (9, 9)).save(path)


def save_frames(path: Path) -> None:
    Image.new("L", (9, 9)).save(path, "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 99)])


def save_large_header(path: Path) -> None:
    Image.new("L", (1, 1)).save(path, "BMP")
    content = bytearray(path.read_bytes())
    content[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("problem", "damage"),
    [
        ("truncated", truncate),
        ("unreadable", lambda path: path.write_bytes(b"")),
        ("unreadable", lambda path: path.write_bytes(b"<html>not found</html>")),
        ("unsupported", save_cmyk),
        ("unsupported", save_frames),
        ("too_large", save_large_header),
    ],
)
def test_images_that_cannot_be_used_make_it_incomplete(data: Path, problem: str, damage) -> None:
    damage(data / "JPEGImage" / "N2.jpg")
    report = check_dataset(data, 10)
    assert findings(report) == [("test", "N2", problem)]
    assert not report.complete
    assert report.problems["path"].tolist() == [str(data / "JPEGImage" / "N2.jpg")]
    assert report.counts[1].found == 2
    assert report.counts[1].usable == 1


def test_images_without_row_are_information_and_other_subsets_count(data: Path) -> None:
    for seed, name in enumerate(["N3", "N4"]):
        write_image(data / "JPEGImage" / "5" / f"{name}.png", 10 + seed)
    write_list(data, "train", {"N3": "-1,-1"}, subset="100")
    write_list(data, "test", {"N3": "-1,-1", "N9": "-1,-1"}, subset="100")
    report = check_dataset(data, 10)
    assert findings(report) == [("", "N4", "no_row")]
    assert report.complete
    assert [(entry.subset, entry.part) for entry in report.counts] == [
        ("10", "train"),
        ("10", "test"),
        ("100", "train"),
        ("100", "test"),
    ]
    assert (report.counts[3].rows, report.counts[3].found, report.counts[3].usable) == (2, 1, None)


def test_same_bytes_within_and_across_parts(data: Path) -> None:
    images = data / "JPEGImage"
    shutil.copy(images / "N1.jpg", images / "N2.jpg")
    shutil.copy(images / "N1.jpg", images / "N5.jpg")
    write_list(data, "train", LISTS["train"] | {"N5": "-1,-1"})
    report = check_dataset(data, 10)
    assert findings(report) == [("train", "N5", "duplicate"), ("test", "N2", "duplicate_across_parts")]
    assert "N1" in detail(report, "duplicate")
    assert "N1 in train" in detail(report, "duplicate_across_parts")
    assert report.complete


def test_same_bytes_with_other_labels(data: Path) -> None:
    shutil.copy(data / "JPEGImage" / "P1.jpg", data / "JPEGImage" / "P3.jpg")
    report = check_dataset(data, 10)
    assert findings(report) == [("test", "P3", "duplicate_across_parts"), ("test", "P3", "label_conflict")]
    assert "labelled Knife" in detail(report, "label_conflict")
    assert "P1" in detail(report, "label_conflict")
    assert "has Gun" in detail(report, "label_conflict")


def test_same_name_in_train_and_test(data: Path) -> None:
    write_list(data, "test", LISTS["test"] | {"P1": "1,-1", "N1": "1,-1"})
    report = check_dataset(data, 10)
    assert findings(report) == [
        ("test", "N1", "same_name_across_parts"),
        ("test", "P1", "same_name_across_parts"),
        ("test", "N1", "label_conflict"),
    ]
    assert "no threat" in detail(report, "label_conflict")
    assert report.complete


def test_labels_against_boxes(data: Path) -> None:
    annotate(data, "P1", "Gun", "Hammer")  # no list knows hammers
    annotate(data, "P2", "Gun")  # labelled Knife, too
    annotate(data, "N1", "Knife")
    annotate(data, "N7", "Knife")  # in no list
    report = check_dataset(data, 10)
    assert findings(report) == [("train", "N1", "label_conflict"), ("train", "P2", "label_conflict")]
    assert "labelled no threat, but its annotation has Knife" in detail(report, "label_conflict")
    assert "labelled Gun, Knife, but its annotation has Gun" in detail(report, "label_conflict")


def test_boxes_that_are_empty_or_outside(data: Path) -> None:
    width, height = image_size(next(data.rglob("P1.jpg")))
    boxes = {
        "fits": (0, 0, width + 1, height), "inverted": (9, 1, 3, 4), "flat": (2, 3, 5, 3),
        "outside": (width, 0, width + 5, 5), "beyond": (1, -2, 5, 5),
    }  # fmt: skip
    for name, box in boxes.items():
        tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
        text = f"<annotation><object><name>Gun</name><bndbox>{corners}</bndbox></object></annotation>"
        (data / "Annotation").mkdir(exist_ok=True)
        (data / "Annotation" / "P1.xml").write_text(text)
        found = check_dataset(data, 10).problems
        about = found[found["name"] == "P1"]
        expected = {"fits": [], "inverted": ["bad_annotation"]}.get(name, ["bad_box"])
        assert about["problem"].tolist() == expected, name
        words = {"inverted": "ends before", "flat": "is empty", "outside": "lies outside", "beyond": "reaches out"}
        assert words.get(name, "") in "".join(about["detail"])


def test_annotations_that_cannot_be_read(data: Path) -> None:
    (data / "Annotation").mkdir()
    (data / "Annotation" / "P1.xml").write_text("<annotation>")
    report = check_dataset(data, 10)
    assert findings(report) == [("train", "P1", "bad_annotation")]
    assert report.complete


def test_lists_with_different_classes(data: Path) -> None:
    write_list(data, "test", LISTS["test"], header="name,Gun,Scissors")
    report = check_dataset(data, 10)
    assert report.totals == {"label_conflict": 1}
    assert "test has the classes Gun, Scissors" in detail(report, "label_conflict")


def test_mislabelled_ids(data: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\ufeff# known errors\nP1\nN2.jpg  # a gun in it\r\n\n  P99  \n", encoding="utf-8")
    report = check_dataset(data, 10, mislabelled=ids)
    assert findings(report) == [("train", "P1", "mislabelled"), ("test", "N2", "mislabelled")]
    assert report.complete
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read"):
        check_dataset(data, 10, mislabelled=tmp_path / "nowhere.txt")
    ids.write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match="Save the file as UTF-8"):
        check_dataset(data, 10, mislabelled=ids)


def test_several_files_with_one_name(data: Path) -> None:
    write_image(data / "JPEGImage" / "P1.png", 20)
    write_image(data / "Mask" / "P2.png", 21)
    report = check_dataset(data, 10)
    assert findings(report) == [("", "P1", "same_stem")]
    assert "P1.jpg is used" in detail(report, "same_stem")


def test_missing_lists(data: Path) -> None:
    with pytest.raises(DataError, match="Subsets with lists here: 10"):
        check_dataset(data, 100)
    (data / "ImageSet" / "10" / "test.csv").unlink()
    report = check_dataset(data, 10)
    assert ("test", "", "missing_list") in findings(report)
    assert not report.complete
    assert [entry.part for entry in report.counts] == ["train"]


def test_missing_or_bad_lists_of_other_subsets_do_not_matter(data: Path) -> None:
    write_list(data, "train", {"N1": "maybe,-1"}, subset="100")
    report = check_dataset(data, 10)
    assert findings(report) == [("train", "", "bad_list")]
    assert "'maybe'" in detail(report, "bad_list")
    assert report.complete


def test_groups_that_cannot_be_read(data: Path) -> None:
    path = data / "ImageSet" / "10" / "groups.csv"
    path.write_text("name,group\nP1,a\n")
    assert check_dataset(data, 10).totals == {}
    path.write_text("name,group\nP1,a\nP1,b\n")
    report = check_dataset(data, 10)
    assert findings(report) == [("", "", "bad_groups")]
    assert "line 3: 'P1' is in the group 'b' here" in detail(report, "bad_groups")
    assert report.complete


def test_bad_list_of_the_subset_is_an_error(data: Path) -> None:
    write_list(data, "train", {"N1": "maybe,-1"})
    with pytest.raises(DataError, match="maybe"):
        check_dataset(data, 10)


def test_number_of_threads_and_progress_change_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(data, "test", LISTS["test"] | {f"N{number}": "-1,-1" for number in range(3, 200)})  # several chunks
    truncate(data / "JPEGImage" / "P2.jpg")
    (data / "JPEGImage" / "N2.jpg").unlink()
    reports = [check_dataset(data, 10, workers=1), check_dataset(data, 10, workers=3, show_progress=True)]
    assert "202 of 202 images" in capsys.readouterr().err
    assert reports[0].problems.equals(reports[1].problems)
    assert reports[0].counts == reports[1].counts


def test_every_incomplete_problem_is_described() -> None:
    assert set(PROBLEMS) > INCOMPLETE


def test_findings_with_names_that_are_no_text(data: Path, tmp_path: Path, gbad_command: Callable[..., Any]) -> None:
    name = os.fsdecode(b"latin-\xfc.jpg")
    try:
        write_image(data / "JPEGImage" / name, 9)
    except OSError:
        pytest.skip("the file system takes no such names")
    out = tmp_path / os.fsdecode(b"list-\xfc.csv")
    outcome = gbad_command("check", data, "--out", out)
    assert outcome.status == 0, outcome.err
    assert r"latin-\udcfc" in outcome.out
    table = pd.read_csv(out, dtype=object, encoding_errors="surrogateescape")
    assert table.loc[table["problem"] == "no_row", "path"].tolist() == [str(data / "JPEGImage" / name)]


def test_real_data_set_is_complete() -> None:
    if not SIXRAY_MINI.is_dir():
        pytest.skip("sixray-mini is not here")
    report = check_dataset(SIXRAY_MINI, 10)
    assert report.complete
    assert report.totals == {}
    assert [entry.usable for entry in report.counts] == [1028, 406]
