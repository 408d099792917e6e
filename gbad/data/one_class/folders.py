"""Data sets in folders: normal and abnormal images, or one folder per class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gbad.data.annotations import NEGATIVE_FOLDERS
from gbad.data.arrays import Mask
from gbad.data.images import NO_IMAGE_FOLDERS, walk_images
from gbad.data.one_class.class_data import ClassData, choose_test_rows, part
from gbad.data.source import source_from_paths
from gbad.errors import DataError

ABNORMAL_FOLDERS = frozenset({"1.abnormal", "abnormal", "anomalous", "anomaly", "positive", "positives", "threat"})
"""Names (in lower case) of folders that hold abnormal images."""

_CLASSES = ("normal", "abnormal")


def normal_and_abnormal(folder: Path) -> tuple[Path | None, Path | None]:
    """Find the subfolders of normal and of abnormal images by their names."""
    folders = _subfolders(folder)
    normal = next((path for path in folders if path.name.lower() in NEGATIVE_FOLDERS), None)
    return normal, next((path for path in folders if path.name.lower() in ABNORMAL_FOLDERS), None)


def is_normal_abnormal(folder: Path) -> bool:
    """Whether `read_normal_abnormal` can read a folder."""
    return all(normal_and_abnormal(folder)) or all(normal_and_abnormal(folder / "test"))


def read_normal_abnormal(folder: Path, size: int) -> list[ClassData]:
    """Read a folder of normal and a folder of abnormal images.

    Parameters
    ----------
    folder : Path
        Holds ``train/0.normal``, ``test/0.normal`` and ``test/1.abnormal``, as for GANomaly's code, or ``normal``
        and ``abnormal``; then a fifth of the normal images goes into the test part. Other common folder names are
        understood.
    size : int
        Side in pixels to which images are warped.

    Raises
    ------
    DataError
        If a folder or its images are missing.
    """
    if (folder / "test").is_dir():
        train = _images(normal_and_abnormal(folder / "train")[0], folder / "train" / "0.normal")
        normal_folder, abnormal_folder = normal_and_abnormal(folder / "test")
        normal = _images(normal_folder, folder / "test" / "0.normal")
        abnormal = _images(abnormal_folder, folder / "test" / "1.abnormal")
    else:
        normal_folder, abnormal_folder = normal_and_abnormal(folder)
        everything = _images(normal_folder, folder / "normal")
        abnormal = _images(abnormal_folder, folder / "abnormal")
        tested = choose_test_rows(everything)
        train, normal = _where(everything, ~tested), _where(everything, tested)
    return [
        ClassData(
            folder.resolve().name,
            _CLASSES,
            part(source_from_paths(train, size), [0] * len(train)),
            part(source_from_paths(normal + abnormal, size), [0] * len(normal) + [1] * len(abnormal)),
            frozenset({"normal"}),
            files=(*train, *normal, *abnormal),
        )
    ]


def class_folders(folder: Path) -> list[Path]:
    """Give the class folders of `read_class_folders`, sorted by name."""
    return _subfolders(folder)


def read_class_folders(folder: Path, size: int) -> list[ClassData]:
    """Read one folder per class, as in Plant Village.

    Parameters
    ----------
    folder : Path
        Its subfolders are the classes. If it holds ``train`` and ``test``, these are the official parts and hold the
        class folders. Otherwise a fifth of each class goes into the test part, always the same images.
    size : int
        Side in pixels to which images are warped.

    Raises
    ------
    DataError
        If there are fewer than two classes, or one has no images.
    """
    official = (folder / "train").is_dir() and (folder / "test").is_dir()
    roots = {"train": folder / "train", "test": folder / "test"} if official else {"": folder}
    classes = sorted({path.name for root in roots.values() for path in _subfolders(root)})
    if len(classes) < 2:
        raise DataError(
            f"{folder}: {len(classes)} class folder(s) in it, at least 2 are needed. Add one folder per class."
        )
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        if official:
            # A class may lack training images, if it is never normal.
            train += [(path, label) for path in _listed(roots["train"] / name)]
            test += [(path, label) for path in _listed(roots["test"] / name)]
            continue
        images = _images(folder / name, folder / name)
        tested = choose_test_rows(images)
        train += [(path, label) for path in _where(images, ~tested)]
        test += [(path, label) for path in _where(images, tested)]
    if not train or not test:
        raise DataError(f"{folder}: {len(train)} training and {len(test)} test images. Put images into both parts.")
    train_part, test_part = (
        part(source_from_paths([path for path, _ in rows], size), [label for _, label in rows])
        for rows in (train, test)
    )
    files = tuple(path for path, _ in train + test)
    return [ClassData(folder.resolve().name, tuple(classes), train_part, test_part, files=files)]


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith("."))
    return [path for path in found if path.name.lower() not in NO_IMAGE_FOLDERS]


def _listed(folder: Path) -> list[Path]:
    return [Path(path) for _, path in walk_images(folder)] if folder.is_dir() else []


def _images(folder: Path | None, expected: Path) -> list[Path]:
    found = _listed(folder) if folder is not None else []
    if not found:
        raise DataError(f"{folder or expected}: no such folder, or no image in it. Put images there.")
    return found


def _where(paths: Iterable[Path], chosen: Mask) -> list[Path]:
    return [path for path, take in zip(paths, chosen.tolist(), strict=True) if take]
