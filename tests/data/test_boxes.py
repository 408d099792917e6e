from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gbad.data.boxes import given_boxes, padded_boxes, read_boxes
from gbad.data.images import image_size
from gbad.errors import DataError, ImageError

CLASSES = ("Gun", "Knife")
LABELS = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.uint8)


def size_of(row: int) -> tuple[int, int]:
    if row == 3:
        raise ImageError("3.png", "missing", "no such file")
    return 200, 100


def test_given_boxes_become_shares_of_the_image() -> None:
    boxes = [[("Gun", 20, 10, 100, 50)], [("Knife", 0, 0, 200, 100), (0, 50, 25, 150, 75)], [], [("Knife", 0, 0, 1, 1)]]
    found = given_boxes(boxes, LABELS, CLASSES, size_of)
    assert set(found) == {0, 1}  # row 2 has none; the image of row 3 cannot be read
    np.testing.assert_allclose(found[0], [[0, 0.1, 0.1, 0.5, 0.5]])
    np.testing.assert_allclose(found[1], [[1, 0, 0, 1, 1], [0, 0.25, 0.25, 0.75, 0.75]])
    assert found[0].dtype == np.float32


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[]] * 3, "one list per image: 4 lists, not 3"),
        ([[]] * 4, "holds no box.*position_weight to 0"),
        ([[("Gun", 0, 0, 10)], [], [], []], r"image 0: .* is not a box \(class, left, top, right, bottom\)"),
        ([[("Saw", 0, 0, 10, 10)], [], [], []], "class 'Saw'. Use one of Gun, Knife"),
        ([[(2, 0, 0, 10, 10)], [], [], []], "class 2. Use one of"),
        ([[("Knife", 0, 0, 10, 10)], [], [], []], "image 0 has a box of the class 'Knife', but not this label"),
        ([[], [], [("Gun", 0, 0, 10, 10)], []], "image 2 has a box of the class 'Gun', but not this label"),
        ([[("Gun", 10, 0, 10, 10)], [], [], []], "empty or not inside the image of 200 × 100"),
        ([[("Gun", 0, 0, 10, 101)], [], [], []], "empty or not inside the image of 200 × 100"),
        ([[("Gun", 0, float("nan"), 10, 10)], [], [], []], "empty or not inside"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(boxes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        given_boxes(boxes, LABELS, CLASSES, size_of)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write_xml(name: str, objects: str) -> None:
        (tmp_path / "Annotation").mkdir(exist_ok=True)
        (tmp_path / "Annotation" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")

    return write_xml


def voc(name: str, *corners: float) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    return f"<object><name>{name}</name><bndbox>{''.join(f'<{t}>{v}</{t}>' for t, v in tags)}</bndbox></object>"


def test_boxes_of_a_folder(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    """The list decides which classes count; boxes end at the border; what has no annotation has no boxes."""
    names = ["P1", "P2", "N1", "P3"]
    paths = [tmp_path / f"{name}.png" for name in names]
    for path in paths:
        Image.new("RGB", (200, 100)).save(path)
    write("P1", voc("Gun", 20, 10, 220, 50) + voc("Knife", 0, 0, 9, 9) + voc("Saw", 0, 0, 9, 9))
    write("N1", voc("Gun", 0, 0, 9, 9))
    write("P2", voc("Gun", 300, 10, 400, 50) + voc("Knife", 5, 5, 5, 9))
    write("P3", voc("Knife", 100, 50, 150, 100))
    found = read_boxes(tmp_path, names, paths, LABELS, CLASSES)
    assert set(found) == {0, 3}
    np.testing.assert_allclose(found[0], [[0, 0.1, 0.1, 1, 0.5]])
    np.testing.assert_allclose(found[3], [[1, 0.5, 0.5, 0.75, 1]])
    paths[3].unlink()
    assert set(read_boxes(tmp_path, names, paths, LABELS, CLASSES)) == {0}


def test_a_folder_without_boxes_is_refused(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    names, paths = list("abcd"), [tmp_path / name for name in "abcd"]
    for _ in range(2):
        with pytest.raises(DataError, match="Annotation: no box for any image with threats.*position_weight to 0"):
            read_boxes(tmp_path, names, paths, LABELS, CLASSES)
        write("a", voc("Knife", 0, 0, 9, 9))  # the image is not labelled with it


def test_padding() -> None:
    one, two = np.full((1, 5), 0.1, np.float32), np.full((2, 5), 0.2, np.float32)
    padded = padded_boxes({3: one, 7: two}, np.array([7, 5, 3]))
    assert padded.shape == (3, 2, 5)
    np.testing.assert_array_equal(padded[0], two)
    assert (padded[1] == -1).all()
    np.testing.assert_array_equal(padded[2], [one[0], [-1] * 5])
    assert padded_boxes({}, np.arange(2)).shape == (2, 1, 5)


def test_size_of_an_image_file(tmp_path: Path) -> None:
    Image.new("RGB", (70, 30)).save(tmp_path / "a.jpg")
    assert image_size(tmp_path / "a.jpg") == (70, 30)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    for name, status in (("b.jpg", "unreadable"), ("c.jpg", "missing")):
        with pytest.raises(ImageError) as error:
            image_size(tmp_path / name)
        assert error.value.status == status
