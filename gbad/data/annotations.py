"""Image-level labels from boxes (Pascal VOC, COCO) or from one folder per class."""

from __future__ import annotations

import errno
import filecmp
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

import numpy as np

from gbad.data.arrays import Mask
from gbad.data.images import NO_IMAGE_FOLDERS, walk_images
from gbad.data.labels import LabelList, is_safe_name, strip_suffix
from gbad.errors import DataError
from gbad.storage.reading import read_regular

NEGATIVE_FOLDERS = frozenset(
    {"0.normal", "good", "negative", "negatives", "normal", "threat-free", "threat_free", "threatfree"}
)
"""Names (in lower case) of folders that hold threat-free images in a folder-per-class data set."""

Box = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in pixels of the image."""

_MAX_XML_BYTES = 4 * 2**20
_UNKNOWN_ENCODING, _WRONG_ENCODING = 18, 19  # XML_ERROR_UNKNOWN_ENCODING and XML_ERROR_INCORRECT_ENCODING of expat
_MAX_LABELS = 2**28  # images × classes, a byte each: a million images of 250 classes


def read_voc_boxes(path: str | Path) -> list[tuple[str, Box]]:
    """Read the objects of a Pascal VOC annotation.

    Parameters
    ----------
    path : path-like
        An XML file. Coordinates may be fractions.

    Returns
    -------
    list of (str, (float, float, float, float))
        Class and xmin, ymin, xmax, ymax in pixels, in the order of the file; empty for a threat-free image.

    Raises
    ------
    DataError
        If the file is not a Pascal VOC annotation, is larger than 4 MiB, or declares a document type (its entities
        could make a small file fill the memory).
    """
    return [(name, _read_box(Path(path), name, element)) for name, element in _voc_objects(Path(path))]


def box_of(mask: Mask) -> Box:
    """Smallest box around a mask, bool (height, width), with at least one True. Pixel (0, 0) covers [0, 1) x [0, 1)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def labels_from_voc(folder: str | Path, classes: Sequence[str] | None = None) -> LabelList:
    """Make image-level labels from a folder of Pascal VOC annotations.

    Parameters
    ----------
    folder : path-like
        Searched with its subfolders. Each ``<name>.xml`` is one image; without objects it is threat-free.
    classes : sequence of str or None
        Classes in the wanted order; objects of other classes are ignored. None takes all classes, sorted by name.

    Returns
    -------
    LabelList
        Sorted by path within the folder.

    Raises
    ------
    DataError
        If there is no annotation, one cannot be read, or two have the same name.
    """
    present: dict[str, set[str]] = {}
    for name, path in find_annotations(folder).items():
        present[name] = {class_name for class_name, _ in _voc_objects(path)}
    if not present:
        raise DataError(f"{folder}: no annotation (*.xml) in it. Give the folder that holds the annotations.")
    return _make_labels(present, classes)


def find_annotations(folder: str | Path) -> dict[str, Path]:
    """Find the XML files below a folder.

    Parameters
    ----------
    folder : path-like
        Searched with its subfolders, without hidden ones; need not exist.

    Returns
    -------
    dict of str to Path
        Path by name without suffix, sorted by path.

    Raises
    ------
    DataError
        If two files have the same name, or a folder cannot be listed or is a file.
    """
    found: dict[str, Path] = {}

    def stop(error: OSError) -> None:
        if isinstance(error, NotADirectoryError):
            raise DataError(
                f"{error.filename}: a file, not a folder of annotations. Give the folder that holds them, or a COCO "
                "file whose name ends in .json."
            ) from error
        if not isinstance(error, FileNotFoundError):
            raise DataError(
                f"{error.filename}: cannot be listed ({error.strerror}). Check the folder's permissions."
            ) from error

    for parent, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            name, suffix = os.path.splitext(file)
            if suffix.lower() != ".xml" or file.startswith("."):
                continue
            path = Path(parent, file)
            if found.setdefault(name, path) is not path:
                raise DataError(f"{path}: {found[name]} has the same name. Delete one of the two.")
    return found


class CocoImage(NamedTuple):
    """An image of a COCO annotation file.

    Attributes
    ----------
    name : str
        File name without folder and suffix.
    file : str
        File name without folder.
    size : (int or None, int or None)
        Width and height, where the file has them.
    objects : list of (str, any)
        Category and ``bbox`` of each annotation as it stands there; None for one without.
    """

    name: str
    file: str
    size: tuple[int | None, int | None]
    objects: list[tuple[str, Any]]


def read_coco(path: Path) -> tuple[list[str], list[CocoImage]]:
    """Read categories, in the order of their ids, and images of a COCO annotation file; errors as below."""
    content = _read_json(path)
    records = _records(path, content, "categories")
    categories = [
        (_field(path, "categories", item, "id"), str(_field(path, "categories", item, "name"))) for item in records
    ]
    class_names = dict(sorted(categories, key=lambda pair: (isinstance(pair[0], str), pair[0])))
    if len(set(class_names.values())) < len(categories):
        raise DataError(
            f"{path}: two categories have the same id or name. Give each category an id and a name of its own."
        )
    images: dict[Any, CocoImage] = {}
    known: set[str] = set()
    for item in _records(path, content, "images"):
        file_name = str(_field(path, "images", item, "file_name"))
        file = re.split(r"[/\\]", file_name)[-1]
        name = strip_suffix(file)
        key = _field(path, "images", item, "id")
        if not is_safe_name(name):
            raise DataError(
                f"{path}: the image {key!r} has the file name {file_name!r}, which is not a file name. Correct it."
            )
        if name in known or key in images:
            raise DataError(
                f"{path}: the image name {name!r} or the id {key!r} occurs twice. Give each image its own name and id."
            )
        width, height = (side if isinstance(side := item.get(key), int) else None for key in ("width", "height"))
        images[key] = CocoImage(name, file, (width, height), [])
        known.add(name)
    for item in _records(path, content, "annotations"):
        image, category = (
            _field(path, "annotations", item, "image_id"),
            _field(path, "annotations", item, "category_id"),
        )
        if image not in images or category not in class_names:
            raise DataError(
                f"{path}: an annotation refers to image {image!r} and category {category!r}; one of them "
                "is not in the file. Delete the annotation."
            )
        images[image].objects.append((class_names[category], item.get("bbox")))
    return list(class_names.values()), list(images.values())


def labels_from_coco(path: str | Path, classes: Sequence[str] | None = None) -> LabelList:
    """Make image-level labels from a COCO annotation file.

    Parameters
    ----------
    path : path-like
        JSON with ``images`` (``id``, ``file_name``), ``annotations`` (``image_id``, ``category_id``) and
        ``categories`` (``id``, ``name``). An image without annotation is threat-free.
    classes : sequence of str or None
        Classes in the wanted order; other categories are ignored. None takes all categories, in the order of their ids.

    Returns
    -------
    LabelList
        In the order of ``images``; names are the file names without folder and suffix.

    Raises
    ------
    DataError
        If the file has another form, two images have the same name, or an annotation refers to a missing image or
        category.
    """
    path = Path(path)
    categories, images = read_coco(path)
    present = {image.name: {label for label, _ in image.objects} for image in images}
    if not present:
        raise DataError(f"{path}: no images in it. Give the file that lists the images.")
    try:
        return _make_labels(present, categories if classes is None else classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def labels_from_folders(root: str | Path) -> LabelList:
    """Make image-level labels from one folder per class: ``root/<class>/*.jpg``.

    Parameters
    ----------
    root : path-like
        Its subfolders are the classes, sorted by name, even if empty. Folders named in `NEGATIVE_FOLDERS` hold
        threat-free images. An image in several class folders (same name, same content) shows all these classes.

    Returns
    -------
    LabelList
        In the order of the folders.

    Raises
    ------
    DataError
        If there is no class folder or no image, an image is in a class folder and in a threat-free folder, or two
        different images have the same name.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Give the folder that holds one folder per class.")
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    folders = [folder for folder in folders if folder.name.lower() not in NO_IMAGE_FOLDERS]
    classes = [folder.name for folder in folders if folder.name.lower() not in NEGATIVE_FOLDERS]
    first: dict[str, str] = {}
    present: dict[str, set[str]] = {}
    for folder in folders:
        for name, path in walk_images(folder):
            if name in first and not filecmp.cmp(first[name], path, shallow=False):
                raise DataError(f"{path}: {first[name]} has the same name but other content. Rename one of the two.")
            first.setdefault(name, path)
            present.setdefault(name, set()).add(folder.name)
    for name, found in present.items():
        if found - set(classes) and found & set(classes):
            raise DataError(
                f"{first[name]}: the image is in the folders {', '.join(sorted(found))}, but cannot be "
                "both threat-free and a threat. Delete one of the files."
            )
    if not classes or not present:
        raise DataError(
            f"{root}: no {'image in its folders' if classes else 'class folder'}. Put the images of each "
            "class into a folder named after it, and threat-free ones into 'normal'."
        )
    return _make_labels(present, classes)


def label_sources(source: str | Path) -> Iterator[Path]:
    """Files that labels are read from, and that must not be overwritten: a file, or what is in a folder."""
    if not os.path.isdir(source):
        yield Path(source)
        return
    yield from find_annotations(source).values()
    yield from (Path(path) for _, path in walk_images(source))


def _make_labels(present: Mapping[str, set[str]], classes: Sequence[str] | None) -> LabelList:
    columns = sorted(set().union(*present.values())) if classes is None else list(classes)
    if len(set(columns)) < len(columns) or not columns:
        raise DataError(f"classes is {columns}: it is empty, or a class occurs twice. Name each class once.")
    if len(present) * len(columns) > _MAX_LABELS:
        raise DataError(
            f"{len(present):,} images and {len(columns):,} classes are too many labels, more than {_MAX_LABELS:,}. "
            "Name the classes that are threats, or correct the annotations."
        )
    column_of = {name: column for column, name in enumerate(columns)}
    labels = np.zeros((len(present), len(columns)), np.uint8)
    for row, found in enumerate(present.values()):
        for name in found & column_of.keys():
            labels[row, column_of[name]] = 1
    return LabelList(tuple(present), labels, tuple(columns))


def _voc_objects(path: Path) -> Iterator[tuple[str, Element]]:
    root = _parse_xml(path)
    if root.tag != "annotation":
        raise DataError(
            f"{path}: the outermost element is <{root.tag}>, not <annotation>. Give a Pascal VOC annotation."
        )
    for element in root.iter("object"):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{path}: an <object> without <name>. Write the class into it.")
        yield name, element


def _parse_xml(path: Path) -> Element:
    def refuse(*_: object) -> None:
        raise DataError(f"{path}: declares a document type, which annotations do not need. Delete the declaration.")

    try:
        data = read_regular(path, _MAX_XML_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            reason = f"larger than {_MAX_XML_BYTES:,} bytes. Give a Pascal VOC annotation of one image."
            raise DataError(f"{path}: {reason}") from error
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ParseError, ValueError, LookupError) as error:
        if isinstance(error, DataError):
            raise
        wrong = _other_encoding(data, error)
        raise DataError(f"{path}: {wrong or f'not valid XML ({error}). Copy the file again.'}") from error


def _is_cut(error: UnicodeDecodeError) -> bool:
    return error.reason == "unexpected end of data"


def _other_encoding(data: bytes, error: Exception) -> str | None:
    """What to say of an XML file that may be whole but in an encoding that its parser does not know; None otherwise."""
    code = getattr(error, "code", None)
    if code in (_UNKNOWN_ENCODING, _WRONG_ENCODING):
        return f"an encoding other than it says, or one that cannot be read ({error}). Save the file as UTF-8."
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        if b"\0" not in data and not _is_cut(wrong):
            return f"not UTF-8 text ({wrong.reason} at byte {wrong.start}). Save the file as UTF-8."
    return None


def _read_box(path: Path, name: str, element: Element) -> Box:
    corners = []
    for tag in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{tag}")
        try:
            corners.append(float(text or "nothing"))
        except ValueError:
            corners.append(math.nan)
        if not math.isfinite(corners[-1]):
            raise DataError(f"{path}: the <{tag}> of a {name!r} is {text!r}, not a number. Correct the box.")
    xmin, ymin, xmax, ymax = corners
    if xmax < xmin or ymax < ymin:
        raise DataError(f"{path}: the box {corners} of a {name!r} ends before it begins. Correct the box.")
    return xmin, ymin, xmax, ymax


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError) and not _is_cut(error):
            reason = f"not UTF-8 text ({error.reason} at byte {error.start}). Save the file as UTF-8."
            raise DataError(f"{path}: {reason}") from error
        raise DataError(f"{path}: not valid JSON ({error}). Copy the file again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, not an object. Give a COCO annotation file.")
    return content


def _records(path: Path, content: dict[str, Any], key: str) -> Iterable[dict[str, Any]]:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(item, dict) for item in records):
        raise DataError(f"{path}: {key!r} is missing or no list of objects. Give a COCO annotation file.")
    return records


def _field(path: Path, kind: str, item: dict[str, Any], key: str) -> Any:
    value = item.get(key)
    if not isinstance(value, (int, str)):
        raise DataError(f"{path}: an entry of {kind!r} has {key!r} {value!r}, not a number or text. Correct it.")
    return value
