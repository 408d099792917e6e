"""Boxes that `gbad labels` knows go where training looks for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gbad.data.annotations import read_voc_boxes
from gbad.data.voc_writer import Item, annotation_folder, known_boxes, voc_text
from gbad.errors import DataError

COCO = {
    "images": [
        {"id": 1, "file_name": "x/a <&>.jpg", "width": 200, "height": 100}, {"id": 2, "file_name": "b.png"},
        {"id": 3, "file_name": "c.png"},
    ],
    "categories": [{"id": 1, "name": "Gun & co"}, {"id": 2, "name": "Knife"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [10, 20, 30.5, 40]}, {"image_id": 1, "category_id": 2},
        {"image_id": 2, "category_id": 2, "bbox": []},
    ],
}  # fmt: skip


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(COCO))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    items = [Item("A & B", (1.5, 2, 3, 4.25), {"specimen": "<x>"}), Item("C", (0, 0, 1, 1))]
    (tmp_path / "a.xml").write_text(voc_text("a&.jpg", (10, 20, 3), items), encoding="utf-8")
    assert read_voc_boxes(tmp_path / "a.xml") == [(item.label, item.box) for item in items]


def test_boxes_of_coco_are_written_beside_the_list(
    coco: Path, gbad_command: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "data" / "ImageSet" / "10" / "train.csv"
    for _ in range(2):
        outcome = gbad_command("labels", coco, "--out", out)
        assert outcome.status == 0, outcome.err
        assert "Annotations of 1 image in" in outcome.out
    folder = tmp_path / "data" / "Annotation"
    (folder / ".a <&>.xml.gbad").mkdir()  # as where a kill came just after the annotation was whole
    assert gbad_command("labels", coco, "--out", out).status == 0
    assert [path.name for path in folder.iterdir()] == ["a <&>.xml"]
    assert read_voc_boxes(folder / "a <&>.xml") == [("Gun & co", (10, 20, 40.5, 60))]
    (folder / "a <&>.xml").write_text("<annotation></annotation>")
    out.unlink()
    outcome = gbad_command("labels", coco, "--out", out)
    assert outcome.status == 1
    assert "holds other boxes, and is not replaced" in outcome.err
    assert (folder / "a <&>.xml").read_text() == "<annotation></annotation>"
    assert not out.exists()
    outcome = gbad_command("labels", coco, "--out", tmp_path / "list.csv", "--boxes", tmp_path / "boxes")
    assert [path.name for path in (tmp_path / "boxes").iterdir()] == ["a <&>.xml"]


def test_annotations_of_pascal_voc_stay_as_they_are(
    dataset: Path, gbad_command: Callable[..., Any], tmp_path: Path
) -> None:
    source = Path(shutil.copytree(dataset / "Annotation", tmp_path / "source"))
    outcome = gbad_command("labels", source, "--out", tmp_path / "data" / "ImageSet" / "10" / "train.csv")
    assert outcome.status == 0, outcome.err
    for path in source.rglob("*.xml"):
        assert (tmp_path / "data" / "Annotation" / path.name).read_bytes() == path.read_bytes()
    outcome = gbad_command("labels", dataset / "Annotation", "--out", tmp_path / "list.csv")
    assert "Annotations of" not in outcome.out  # no data set to write them to


def test_folders_of_lists() -> None:
    assert annotation_folder("/d/ImageSet/10/train.csv") == Path("/d/Annotation")
    assert annotation_folder("/d/other/10/train.csv") is None
    assert annotation_folder("/train.csv") is None


@pytest.mark.parametrize("box", [[1, 2, 3], "1 2 3 4", [1, 2, -3, 4], [1, 2, "3", 4], [1, 2, 1e999, 4], {"x": 1}])
def test_a_box_that_is_none_is_named(box: object, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    annotations = [{"image_id": 1, "category_id": 1, "bbox": box}]
    path.write_text(json.dumps(COCO | {"annotations": annotations}))
    with pytest.raises(DataError, match=r"instances\.json: the bbox .* of the image 'a <&>' is not left, top"):
        known_boxes(path)
