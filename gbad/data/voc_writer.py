"""Write boxes as Pascal VOC annotations, where gbad reads them: ``DATA/Annotation/<name>.xml``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from gbad.data.annotations import Box, find_annotations, read_coco
from gbad.errors import DataError
from gbad.storage.files import atomic_path, remove_leftovers
from gbad.storage.reading import read_regular


class Item(NamedTuple):
    """An object of an annotation.

    Attributes
    ----------
    label : str
        Class.
    box : (float, float, float, float)
        xmin, ymin, xmax, ymax in pixels.
    more : mapping of str to str
        Other elements, by tag.
    """

    label: str
    box: Box
    more: Mapping[str, str] = {}


def voc_text(file: str, size: tuple[int, ...] | None, items: Iterable[Item]) -> str:
    """Pascal VOC annotation.

    Parameters
    ----------
    file : str
        Name of the image file.
    size : tuple of int, optional
        Width, height and channels of the image.
    items : iterable of Item
    """
    lines = ["<annotation>", f"  <filename>{escape(file)}</filename>"]
    if size is not None:
        tags = zip(("width", "height", "depth"), size, strict=False)
        lines.append(f"  <size>{''.join(f'<{tag}>{value}</{tag}>' for tag, value in tags)}</size>")
    for item in items:
        xmin, ymin, xmax, ymax = item.box
        lines += [
            "  <object>",
            f"    <name>{escape(item.label)}</name>",
            *(f"    <{tag}>{escape(text)}</{tag}>" for tag, text in item.more.items()),
            f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def annotation_folder(label_list: str | Path) -> Path | None:
    """Where the boxes of a list ``DATA/ImageSet/<subset>/<part>.csv`` belong; None for a list elsewhere."""
    parts = Path(label_list).absolute().parents
    return parts[2] / "Annotation" if len(parts) > 2 and parts[1].name == "ImageSet" else None


def known_boxes(source: str | Path) -> dict[str, bytes]:
    """Content of the annotation of each image whose boxes are known.

    Parameters
    ----------
    source : path-like
        A folder of Pascal VOC files, whose files are taken as they are, or a COCO file. Other folders know no boxes.

    Returns
    -------
    dict of str to bytes
        By image name; for a COCO file only images with a box.

    Raises
    ------
    DataError
        If a file cannot be read, or the ``bbox`` of a COCO annotation is not four numbers.
    """
    source = Path(source)
    if source.suffix.lower() != ".json":
        try:
            return {name: read_regular(path) for name, path in find_annotations(source).items()}
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror}). Check the path.") from error
    found = {}
    for image in read_coco(source)[1]:
        items = [Item(label, box) for label, given in image.objects if (box := _coco_box(source, image.name, given))]
        if items:
            width, height = image.size
            size = None if width is None or height is None else (width, height, 3)
            found[image.name] = voc_text(image.file, size, items).encode("utf-8", "backslashreplace")
    return found


def check_annotations(annotations: Mapping[str, bytes], folder: Path) -> None:
    """DataError if `write_annotations` would replace an annotation that is different."""
    there = find_annotations(folder)
    for name in sorted(annotations.keys() & there.keys()):
        if read_regular(there[name]) != annotations[name]:
            raise DataError(
                f"{there[name]}: holds other boxes, and is not replaced. Delete it, or give another folder (--boxes)."
            )


def write_annotations(annotations: Mapping[str, bytes], folder: Path) -> int:
    """Write annotations that are not there yet into a folder, each whole or not at all; say how many there are now."""
    remove_leftovers(folder)  # also of annotations that are there: they are not written again
    there = find_annotations(folder)
    for name, content in annotations.items():
        if name not in there:
            with atomic_path(folder / f"{name}.xml") as temporary:
                temporary.write_bytes(content)
    return len(annotations)


def _coco_box(source: Path, name: str, given: Any) -> Box | None:
    """Xmin, ymin, xmax, ymax from left, top, width, height; None where there is no box."""
    if given is None or given == []:
        return None
    numbers = given if isinstance(given, list) and len(given) == 4 else [None]
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers) or min(numbers[2:]) < 0:
        raise DataError(
            f"{source}: the bbox {given!r} of the image {name!r} is not left, top, width and height. Correct it, or "
            "write the list elsewhere, without boxes."
        )
    left, top, width, height = map(float, numbers)
    return left, top, left + width, top + height
