from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gbad.data.annotations import (
    find_annotations,
    labels_from_coco,
    labels_from_folders,
    labels_from_voc,
    read_voc_boxes,
)
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.errors import DataError

SIXRAY_MINI = Path(__file__).parents[3] / "shared" / "data" / "sixray-mini"


def voc(*objects: tuple[str, tuple[object, ...]], extra: str = "") -> str:
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    return f"<annotation><filename>a.jpg</filename>{boxes}{extra}</annotation>"


BOX = (1, 2, 3, 4)

# --- Pascal VOC


def test_boxes_with_fractions_in_order(tmp_path: Path) -> None:
    path = tmp_path / "P1.xml"
    path.write_text(voc((" Knife ", (206.9, 109.4, 326.4, "237.9")), ("Gun", (0, 0, 0, 0))))
    assert read_voc_boxes(path) == [("Knife", (206.9, 109.4, 326.4, 237.9)), ("Gun", (0.0, 0.0, 0.0, 0.0))]
    path.write_text(voc())
    assert read_voc_boxes(path) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "P1.xml"
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{voc(("Säge", BOX))}'.encode(encoding))
    assert read_voc_boxes(path)[0][0] == "Säge"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused_unexpanded(tmp_path: Path, encoding: str) -> None:
    entities = '<!ENTITY a0 "boom">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 20))
    bomb = f"<!DOCTYPE annotation [{entities}]><annotation><object><name>&a19;</name></object></annotation>"
    path = tmp_path / "P1.xml"
    path.write_bytes(bomb.encode(encoding))
    with pytest.raises(DataError, match=r"P1\.xml: declares a document type"):
        read_voc_boxes(path)


def test_outside_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("Gun")
    path = tmp_path / "P1.xml"
    path.write_text(
        f'<!DOCTYPE a [<!ENTITY s SYSTEM "file://{tmp_path}/secret">]>'
        "<annotation><object><name>&s;</name></object></annotation>"
    )
    with pytest.raises(DataError, match="document type"):
        labels_from_voc(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid XML"),
        ("<annotation>", "not valid XML"),
        ("<annotation></object>", "not valid XML"),
        ("<annotation>&unknown;</annotation>", "not valid XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "not valid XML"),
        ("<html></html>", "<html>, not <annotation>"),
        ("<annotation><object></object></annotation>", "without <name>"),
        ("<annotation><object><name>Gun</name></object></annotation>", "<xmin> of a 'Gun' is None"),
        (voc(("Gun", ("1", "", "3", "4"))), "<ymin> of a 'Gun' is ''"),
        (voc(("Gun", ("1", "2", "wide", "4"))), "'wide', not a number"),
        (voc(("Gun", ("1", "2", "nan", "4"))), "'nan', not a number"),
        (voc(("Gun", ("1", "2", "inf", "4"))), "'inf', not a number"),
        (voc(("Gun", (5, 2, 3, 4))), "ends before it begins"),
    ],
)
def test_bad_annotations_name_file_and_value(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "P1.xml"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_voc_boxes(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_missing_and_huge_annotations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_voc_boxes(tmp_path / "P1.xml")
    (tmp_path / "P2.xml").write_text(voc(extra=" " * 5_000_000))
    with pytest.raises(DataError, match="larger than"):
        read_voc_boxes(tmp_path / "P2.xml")


def test_voc_labels(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "P2.xml").write_text(voc(("Knife", BOX), ("Gun", BOX), ("Gun", BOX)))
    (tmp_path / "N1.XML").write_text(voc())
    (tmp_path / "sub" / "P3.xml").write_text(voc(("Hammer", BOX)))
    (tmp_path / ".P4.xml").write_text("no annotation")
    labels = labels_from_voc(tmp_path)
    assert labels.names == ("N1", "P2", "P3")
    assert labels.classes == ("Gun", "Hammer", "Knife")
    assert labels.labels.tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]
    chosen = labels_from_voc(tmp_path, classes=["Wrench", "Knife"])
    assert chosen.classes == ("Wrench", "Knife")
    assert chosen.labels.tolist() == [[0, 0], [0, 1], [0, 0]]


def test_voc_folders_that_give_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotation"):
        labels_from_voc(tmp_path)
    (tmp_path / "N1.xml").write_text(voc())
    with pytest.raises(DataError, match="classes"):
        labels_from_voc(tmp_path)
    with pytest.raises(DataError, match="occurs twice"):
        labels_from_voc(tmp_path, ["Gun", "Gun"])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "N1.xml").write_text(voc())
    with pytest.raises(DataError, match="same name"):
        find_annotations(tmp_path)
    with pytest.raises(DataError, match=r"N1\.xml: a file, not a folder of annotations\. Give the folder"):
        labels_from_voc(tmp_path / "N1.xml")


def test_real_annotations_agree_with_the_lists() -> None:
    if not SIXRAY_MINI.is_dir():
        pytest.skip("sixray-mini is not here")
    listed = read_sixray(SIXRAY_MINI, 10, "train")
    boxed = labels_from_voc(SIXRAY_MINI / "Annotation", listed.classes)
    row_of = {name: row for row, name in enumerate(listed.names)}
    common = [(row_of[name], row) for row, name in enumerate(boxed.names) if name in row_of]
    assert len(common) > 100
    assert all((listed.labels[left] == boxed.labels[right]).all() for left, right in common)


# --- COCO


def coco(**changes: Any) -> dict[str, Any]:
    content = {
        "images": [{"id": 7, "file_name": "b/P1.jpg"}, {"id": 3, "file_name": "N1.png"}, {"id": 5, "file_name": "P2"}],
        "annotations": [
            {"image_id": 7, "category_id": 10, "bbox": [0, 0, 1, 1]},
            {"image_id": 7, "category_id": 10},
            {"image_id": 5, "category_id": 2},
            {"image_id": 5, "category_id": 10},
        ],
        "categories": [{"id": 10, "name": "Gun"}, {"id": 2, "name": "Wrench"}, {"id": 3, "name": "Knife"}],
    }
    return content | changes


def write_json(folder: Path, content: object) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_coco_labels(tmp_path: Path) -> None:
    path = write_json(tmp_path, coco())
    labels = labels_from_coco(path)
    assert labels.names == ("P1", "N1", "P2")
    assert labels.classes == ("Wrench", "Knife", "Gun")
    assert labels.labels.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert labels_from_coco(path, ["Gun", "Scissors"]).labels.tolist() == [[1, 0], [0, 0], [1, 0]]


def test_coco_ids_may_be_text(tmp_path: Path) -> None:
    content = {
        "images": [{"id": "x", "file_name": "C:\\data\\P1.jpg"}],
        "annotations": [{"image_id": "x", "category_id": "b"}],
        "categories": [{"id": "b", "name": "Gun"}, {"id": "a", "name": "Knife"}],
    }
    labels = labels_from_coco(write_json(tmp_path, content))
    assert (labels.names, labels.classes, labels.labels.tolist()) == (("P1",), ("Knife", "Gun"), [[0, 1]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds a list"),
        ({}, "'categories' is missing"),
        (coco(images="none"), "'images' is missing or no list"),
        (coco(annotations=[1]), "'annotations' is missing or no list"),
        (coco(images=[]), "annotation refers to image 7"),
        (coco(images=[], annotations=[]), "no images"),
        (coco(images=[{"id": 7}], annotations=[]), "'file_name' None"),
        (coco(images=[{"id": [7], "file_name": "a.jpg"}], annotations=[]), "'id' [7]"),
        (coco(images=[{"id": 1, "file_name": "../"}], annotations=[]), "'../'"),
        (coco(images=[{"id": 1, "file_name": "a/...jpg"}], annotations=[]), "is not a file name"),
        (coco(images=[{"id": 1, "file_name": "a/P.jpg"}, {"id": 2, "file_name": "P.png"}], annotations=[]), "'P'"),
        (
            coco(images=[{"id": 1, "file_name": "P.jpg"}, {"id": 1, "file_name": "Q.png"}], annotations=[]),
            "occurs twice",
        ),
        (coco(annotations=[{"image_id": 99, "category_id": 2}]), "image 99"),
        (coco(annotations=[{"image_id": 7, "category_id": 99}]), "category 99"),
        (coco(annotations=[{"image_id": 7}]), "'category_id' None"),
        (coco(categories=[{"id": 1, "name": "Gun"}, {"id": 2, "name": "Gun"}]), "same id or name"),
        (coco(categories=[{"id": 1, "name": "Gun"}, {"id": 1, "name": "Knife"}]), "same id or name"),
    ],
)
def test_bad_coco_files_name_file_and_value(tmp_path: Path, content: object, message: str) -> None:
    path = write_json(tmp_path, content)
    with pytest.raises(DataError) as caught:
        labels_from_coco(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: not (valid JSON|UTF-8 text)"):
        labels_from_coco(path)
    with pytest.raises(DataError, match="cannot be read"):
        labels_from_coco(tmp_path / "b.json")


# --- a folder per class


def fill(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize("negatives", ["normal", "Negative", "threat-free", "good", "0.normal"])
def test_folder_labels(tmp_path: Path, negatives: str) -> None:
    fill(tmp_path, Gun__a_dot_jpg="1", Gun__deep__b_dot_png="2", Knife__a_dot_jpg="1", Knife__note_dot_txt="x")
    fill(tmp_path, **{f"{negatives}__n_dot_jpg": "3", "_dot_hidden__h_dot_jpg": "4", "Annotation__a_dot_png": "5"})
    (tmp_path / "Wrench").mkdir()
    labels = labels_from_folders(tmp_path)
    assert labels.classes == ("Gun", "Knife", "Wrench")
    found = dict(zip(labels.names, labels.labels.tolist(), strict=True))
    assert found == {"a": [1, 1, 0], "b": [1, 0, 0], "n": [0, 0, 0]}
    assert all(path.is_file() for path in image_paths(tmp_path, labels.names))


def test_folders_that_contradict_each_other(tmp_path: Path) -> None:
    fill(tmp_path, Gun__a_dot_jpg="1", normal__a_dot_jpg="1")
    with pytest.raises(DataError, match="Gun, normal"):
        labels_from_folders(tmp_path)


def test_different_images_with_one_name_are_not_merged(tmp_path: Path) -> None:
    fill(tmp_path, Gun__001_dot_jpg="1", Knife__001_dot_jpg="2")
    for folder in ("Gun", "Knife"):
        os.utime(tmp_path / folder / "001.jpg", (0, 0))  # size and time are the same, too
    with pytest.raises(DataError, match="same name but other content"):
        labels_from_folders(tmp_path)


def test_folders_without_classes_or_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        labels_from_folders(tmp_path / "nowhere")
    fill(tmp_path, a_dot_jpg="1", normal__b_dot_jpg="2")
    with pytest.raises(DataError, match="no class folder"):
        labels_from_folders(tmp_path)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "Gun").mkdir()
    with pytest.raises(DataError, match="no image"):
        labels_from_folders(tmp_path / "only")


def test_other_encodings_are_told_from_damage(tmp_path: Path) -> None:
    text = "<annotation><object><name>\u5200</name></object></annotation>"
    for name, content in (
        ("declared.xml", f"<?xml version='1.0' encoding='GBK'?>{text}".encode("gbk")),
        ("silent.xml", text.encode("gbk")),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: .*Save the file as UTF-8"):
            read_voc_boxes(tmp_path / name)
    (tmp_path / "cut.xml").write_bytes(text.encode()[:40])
    with pytest.raises(DataError, match="not valid XML.*Copy the file again"):
        read_voc_boxes(tmp_path / "cut.xml")
    (tmp_path / "coco.json").write_bytes('{"images": "\u5200"}'.encode("gbk"))
    with pytest.raises(DataError, match="not UTF-8 text.*Save the file as UTF-8"):
        labels_from_coco(tmp_path / "coco.json")
