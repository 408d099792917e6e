"""Image-level labels: the classes of threat in each image."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.arrays import Labels, Mask
from gbad.data.duplicates import group_equal
from gbad.data.images import IMAGE_SUFFIXES
from gbad.errors import DataError
from gbad.runtime.text import counted
from gbad.storage.reading import open_text
from gbad.storage.tables import texts, write_table
from gbad.storage.targets import Kind

SIXRAY_CLASSES = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
"""The five classes of SIXray that are evaluated, in the order of its lists."""

PARTS = ("train", "test")
"""The two lists of each subset."""

LABELS = Kind("list of labels", (b"name",))

_NO_LINE: tuple[int, list[str], bool] = (1, [], False)

_VALUES = {"1": 1, "1.0": 1, "+1": 1, "-1": -1, "-1.0": -1, "0": 0, "0.0": 0, "-0.0": 0}
_PLAIN_NAME = re.compile(r"[\w-]+")
_BAD_NAME = re.compile(r"[/\\\0]|^\.\.?$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, eq=False)
class LabelList:
    """Images and their classes.

    Parameters
    ----------
    names : tuple of str
        Image names without suffix; unique.
    labels : ndarray of shape (n_images, n_classes), uint8
        1 = a threat of the class is present, 0 = absent.
    classes : tuple of str
        Class names in the order of the columns.

    Examples
    --------
    >>> labels = LabelList(("a", "b", "c"), np.array([[1, 1], [0, 0], [0, 1]], np.uint8), ("Gun", "Knife"))
    >>> labels.positive
    array([ True, False,  True])
    >>> labels.select(labels.positive).names
    ('a', 'c')
    >>> labels.counts()
    {'Gun': 1, 'Knife': 2}
    """

    names: tuple[str, ...]
    labels: Labels
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.names), len(self.classes))
        if self.labels.shape != expected or self.labels.dtype != np.uint8:
            raise ValueError(f"labels must be uint8 of shape {expected}, got {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def positive(self) -> Mask:
        """Whether an image shows a threat of any class; bool of shape (n_images,)."""
        return np.asarray(self.labels.any(axis=1))

    def select(self, rows: Mask | slice) -> LabelList:
        """Take some rows, in the given order: `rows` is a bool mask, an array of row numbers or a slice."""
        names = np.array(self.names, dtype=object)[rows]
        return LabelList(tuple(names.tolist()), self.labels[rows], self.classes)

    def counts(self) -> dict[str, int]:
        """Count the images of each class."""
        return dict(zip(self.classes, self.labels.sum(axis=0, dtype=np.int64).tolist(), strict=True))


def list_path(data: str | Path, subset: int | str, part: str) -> Path:
    """Path of a list in SIXray's layout: ``data/ImageSet/<subset>/<part>.csv``."""
    return Path(data) / "ImageSet" / str(subset) / f"{part}.csv"


def find_subsets(data: str | Path) -> list[str]:
    """Name the subsets that have a list: first numbers in ascending order (``["10", "100", "1000"]``), then names."""
    folder = Path(data) / "ImageSet"
    found = [entry.name for entry in folder.iterdir() if any(entry.glob("*.csv"))] if folder.is_dir() else []
    return sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def read_sixray(data: str | Path, subset: int | str, part: str) -> LabelList:
    """Read one list of a data set in SIXray's layout.

    Parameters
    ----------
    data : path-like
        The data set's folder, which holds ``ImageSet``.
    subset : int or str
        Name of the subset: 10, 100 or 1000 in SIXray.
    part : str
        ``"train"`` or ``"test"``.

    Returns
    -------
    LabelList
        As in `read_list`.

    Raises
    ------
    DataError
        If there is no such list (the message names the lists that exist), or as in `read_list`.
    """
    path = list_path(data, subset, part)
    if path.is_file():
        return read_list(path)
    subsets = find_subsets(data)
    if not subsets:
        raise DataError(
            f"{path}: no such file, and no other list ImageSet/<subset>/<part>.csv. Give the folder that "
            "holds ImageSet and JPEGImage."
        )
    raise DataError(f"{path}: no such file. Subsets with lists here: {', '.join(subsets)}.")


def read_list(path: str | Path) -> LabelList:
    """Read a label list in SIXray's form.

    The header is ``name,<class>,<class>,…``. Each row holds the name of an image and, for each class, 1 (present) or -1
    (absent). 0 counts as absent, with one warning for the file. A known image suffix is removed from the name. A name
    in quotes is taken as it is; else blanks around it do not count, and control characters are refused.

    Parameters
    ----------
    path : path-like
        A CSV file in UTF-8, with or without byte-order mark, any line ends.

    Returns
    -------
    LabelList
        The rows in the order of the file.

    Raises
    ------
    DataError
        If the file has another form. The message names file, line, column and value.
    """
    path = Path(path)
    names: dict[str, int] = {}  # name -> line
    patterns: dict[tuple[str, ...], int] = {}  # a million rows have few patterns of labels: each is parsed once
    values: list[list[int]] = []
    rows: list[int] = []
    lines = csv_rows(path)
    classes = _parse_header(path, next(lines, _NO_LINE)[1])
    for line, row, quoted in lines:
        if len(row) < 2 and not "".join(row).strip():
            continue  # a blank line
        pattern = tuple(row[1:])
        if (number := patterns.get(pattern)) is None:
            values.append(_parse_values(path, line, pattern, classes))
            number = patterns[pattern] = len(patterns)
        rows.append(number)
        name = row[0]
        if not _PLAIN_NAME.fullmatch(name):
            name = _parse_name(path, line, name, quoted)
        if (first := names.setdefault(name, line)) != line:
            raise DataError(
                f"{path}, line {line}: the name {name!r} was on line {first} already. Delete one of the two rows."
            )
    if not names:
        raise DataError(f"{path}: a header but no rows. Copy the list again.")
    table = np.array(values, dtype=np.int8).reshape(len(values), len(classes))
    _warn_of_zeros(path, table, rows)
    return LabelList(tuple(names), (table == 1).astype(np.uint8)[rows], classes)


def csv_rows(path: Path) -> Iterator[tuple[int, list[str], bool]]:
    """Read a CSV file in UTF-8, with or without byte-order mark.

    Yields
    ------
    line : int
        Number of the row's last line.
    texts : list of str
    quoted : bool
        Whether the first text stands in quotes.

    Raises
    ------
    DataError
        If the file cannot be read, is not UTF-8 or not CSV.
    """
    try:
        with open_text(path) as file:
            begin = ""

            def lines() -> Iterator[str]:
                nonlocal begin
                for line in file:
                    begin = begin or line[:1]
                    yield line

            reader = csv.reader(lines(), strict=True)
            for row in reader:
                yield reader.line_num, row, begin == '"'
                begin = ""
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save the file as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error}). Check the quotes there.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give the path of a CSV file.") from error


def write_list(labels: LabelList, path: str | Path) -> None:
    """Write a label list in SIXray's form, as `read_list` reads it: 1 = present, -1 = absent.

    Parameters
    ----------
    labels : LabelList
        Images and their classes.
    path : path-like
        The CSV file; missing folders are made.

    Raises
    ------
    DataError
        If `read_list` would refuse the list, or read other classes or names. Nothing is written then.
    """
    _check_readable(labels, Path(path))
    table = pd.DataFrame(np.where(labels.labels, 1, -1), columns=list(labels.classes))
    table.insert(0, "name", texts(labels.names))
    write_table(table, path, quoted=any(map(needs_quotes, labels.names)))


def needs_quotes(name: str) -> bool:
    """Whether `read_list` takes a name as it is only if it stands in quotes."""
    return name != name.strip() or _CONTROL.search(name) is not None


def _check_readable(labels: LabelList, path: Path) -> None:
    if "name" in labels.classes:
        raise DataError(f"{path}: no class may be called 'name', which is the first column. Rename the class.")
    if (classes := _parse_header(path, ["name", *labels.classes])) != labels.classes:
        raise DataError(f"{path}: the classes {labels.classes} would be read as {classes}. Rename the classes.")
    for line, name in enumerate(labels.names, start=2):
        if not _PLAIN_NAME.fullmatch(name) and (read := _parse_name(path, line, name, True)) != name:
            raise DataError(f"{path}: the image name {name!r} would be read as {read!r}. Rename the image.")
        if not name.isascii() and name != name.encode("utf-8", "replace").decode("utf-8"):
            raise DataError(f"{path}: the image name {name!r} is not UTF-8. Rename the image.")


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Find classes that differ in upper and lower case alone: annotators may have meant one.

    Examples
    --------
    >>> alike(["Gun", "Knife", "gun"])
    [('Gun', 'gun')]
    """
    groups = group_equal(name.casefold() for name in classes)
    return [tuple(classes[position] for position in group) for group in groups]


def with_classes(labels: LabelList, classes: Sequence[str]) -> LabelList:
    """Give a list other classes, in the wanted order: one that it has not is absent in all images.

    Parameters
    ----------
    labels : LabelList
    classes : sequence of str
        Each once. Classes of the list that are not named are left out.

    Raises
    ------
    DataError
        If a class is named twice, or none is.

    Examples
    --------
    >>> labels = LabelList(("a", "b"), np.array([[1, 0], [0, 1]], np.uint8), ("Gun", "Knife"))
    >>> with_classes(labels, ["Knife", "Wrench"]).labels.tolist()
    [[0, 0], [1, 0]]
    """
    if len(set(classes)) < len(classes) or not classes:
        raise DataError(f"classes are {', '.join(classes) or 'not named'}: name each class once.")
    column_of = {name: column for column, name in enumerate(labels.classes)}
    columns = [
        labels.labels[:, column_of[name]] if name in column_of else np.zeros(len(labels), np.uint8) for name in classes
    ]
    return LabelList(labels.names, np.stack(columns, axis=1), tuple(classes))


def strip_suffix(name: str) -> str:
    """Drop a known image suffix.

    Examples
    --------
    >>> strip_suffix("P00001.JPG"), strip_suffix("scan.1")
    ('P00001', 'scan.1')
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def is_safe_name(name: str) -> bool:
    """Whether an image name is safe as part of a path: no path separator, and not ``..`` itself.

    Examples
    --------
    >>> is_safe_name("P00001"), is_safe_name("a..b"), is_safe_name("../secret")
    (True, True, False)
    """
    return bool(name) and not _BAD_NAME.search(name)


def _parse_header(path: Path, header: list[str]) -> tuple[str, ...]:
    columns = tuple(column.strip() for column in header)
    if not columns:
        raise DataError(f"{path}: the file is empty, or its first line is. Copy the list again.")
    if columns[0] != "name":
        raise DataError(
            f"{path}, line 1: the header must begin with 'name', not {columns[0]!r}. Write it as "
            "'name,<class>,<class>,…'."
        )
    classes = columns[1:]
    if not classes or "" in classes:
        raise DataError(
            f"{path}, line 1: {'an empty' if classes else 'no'} class name in the header. Write it as "
            "'name,<class>,<class>,…'."
        )
    if unprintable := [column for column in columns if not column.isprintable()]:
        raise DataError(f"{path}, line 1: control characters in the class name {unprintable[0]!r}. Correct the header.")
    if repeated := [column for column, count in Counter(columns).items() if count > 1]:
        raise DataError(f"{path}, line 1: the column {repeated[0]!r} occurs twice. Give each class one column.")
    return classes


def _parse_values(path: Path, line: int, pattern: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
    if len(pattern) != len(classes):
        raise DataError(
            f"{path}, line {line}: {len(pattern) + 1} columns where the header has {len(classes) + 1}. "
            "Complete the row, or copy the list again."
        )
    values = [_VALUES.get(text.strip()) for text in pattern]
    for name, value, text in zip(classes, values, pattern, strict=True):
        if value is None:
            raise DataError(
                f"{path}, line {line}, column {name!r}: the value {text!r} is neither 1 (present) nor "
                "-1 (absent). Correct it."
            )
    return [value for value in values if value is not None]


def _parse_name(path: Path, line: int, text: str, quoted: bool) -> str:
    name = strip_suffix(text if quoted else text.strip())
    if not name:
        raise DataError(f"{path}, line {line}: an empty name. Write the image's name, or delete the row.")
    if not is_safe_name(name) or (_CONTROL.search(name) and not quoted):
        raise DataError(
            f"{path}, line {line}: the name {name!r} has a path separator, or a control character without quotes. "
            "Write file names without folder and suffix."
        )
    return name


def _warn_of_zeros(path: Path, table: npt.NDArray[np.int8], rows: list[int]) -> None:
    zeros = int((np.bincount(rows, minlength=len(table)) * (table == 0).sum(axis=1)).sum())
    if zeros:
        verb = "counts" if zeros == 1 else "count"
        warnings.warn(f"{path}: {counted(zeros, 'value')} of 0 {verb} as -1 (absent).", UserWarning, stacklevel=3)
