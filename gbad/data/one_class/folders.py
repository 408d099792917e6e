"""Data sets in folders: normal and abnormal images, or one folder per class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gbad.data.annotations import NEGATIVE_FOLDERS
from gbad.data.arrays import Mask
from gbad.data.images import IMAGE_SUFFIXES, NO_IMAGE_FOLDERS, walk_images
from gbad.data.one_class.class_data import ClassData, choose_test_rows, part
from gbad.data.source import source_from_paths
from gbad.errors import DataError

ABNORMAL_FOLDERS = frozenset({"1.abnormal", "abnormal", "anomalous", "anomaly", "positive", "positives", "threat"})
"""Names (in lower case) of folders that hold abnormal images."""

_CLASSES = ("normal", "abnormal")


PARTS = frozenset({
    "dev", "eval", "evaluation", "test", "testing", "train", "training", "val", "valid", "validate", "validation",
})  # fmt: skip
"""Names (in lower case) of folders that are parts of a data set, not classes."""

_MASKS = re.compile(r"(?:(.+)[_ -])?(?:gt|ground[_ -]?truth|masks?|segmentations?|annotations?)", re.IGNORECASE)


def normal_and_abnormal(folder: Path) -> tuple[Path | None, Path | None]:
    """Find the subfolders of normal and of abnormal images by their names; DataError if two have such a name."""
    return _named(folder, NEGATIVE_FOLDERS), _named(folder, ABNORMAL_FOLDERS)


def _named(folder: Path, names: frozenset[str]) -> Path | None:
    found = [path for path in subfolders(folder) if path.name.lower() in names]
    if len(found) > 1:
        raise DataError(f"{found[1]}: its name says the same as that of {found[0].name} beside it. Join the two.")
    return found[0] if found else None


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
        refuse_others(folder, {"train", "test"}, "train and test")
        train = _images(normal_and_abnormal(folder / "train")[0], folder / "train" / "0.normal")
        normal_folder, abnormal_folder = normal_and_abnormal(folder / "test")
        normal = _images(normal_folder, folder / "test" / "0.normal")
        abnormal = _images(abnormal_folder, folder / "test" / "1.abnormal")
        refuse_others(folder / "test", _names((normal_folder, abnormal_folder)), "normal and abnormal images")
    else:
        normal_folder, abnormal_folder = normal_and_abnormal(folder)
        refuse_others(folder, _names((normal_folder, abnormal_folder)), "normal and abnormal images")
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


def check_class_folders(folder: Path) -> None:
    """Check that a folder can only mean one folder per class, as far as its names and its images tell.

    Raises
    ------
    DataError
        If it may mean something else. The message names what is unclear.
    """
    for root in _roots(folder).values():
        for path in subfolders(root):
            below = next((one for one in subfolders(path) if _has_image(one)), None)
            if below is not None:
                raise DataError(
                    f"{below}: holds images below the class folder {path.name}, so it is unclear which folders are "
                    "classes. Put the images into their class folders, or say --layout classes: then the folders "
                    f"in {root} are the classes."
                )


def is_class_folders(folder: Path) -> bool:
    """Whether a folder has two class folders or more."""
    return len(_class_names(folder)) > 1


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
        If there are fewer than two classes, one has no images, or a folder is no class, by its name: a part of a data
        set, or masks.
    """
    roots, classes = _roots(folder), _class_names(folder)
    official = "test" in roots
    if official:
        refuse_others(folder, {"train", "test"}, "train and test")
    for root in roots.values():
        refuse_others(root, set(classes), "class folders")
    if odd := [name for name in classes if name.lower() in PARTS or _is_of_masks(name, classes)]:
        raise DataError(
            f"{folder}: {', '.join(odd)} cannot be classes: such folders hold parts of a data set, or masks. Give the "
            "folder that holds the class folders, or train and test with class folders in both."
        )
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


def _is_of_masks(name: str, classes: list[str]) -> bool:
    """Whether a folder's name says that it holds masks, by itself or of a folder beside it (``dog_gt`` of ``dog``)."""
    found = _MASKS.fullmatch(name)
    return found is not None and (found[1] is None or found[1] in classes)


def _roots(folder: Path) -> dict[str, Path]:
    """Folders of class folders by the name of their part; the folder itself has the name ""."""
    parts = {name: folder / name for name in ("train", "test")}
    return parts if all(path.is_dir() for path in parts.values()) else {"": folder}


def _class_names(folder: Path) -> list[str]:
    return sorted({path.name for root in _roots(folder).values() for path in subfolders(root)})


def refuse_others(folder: Path, known: set[str], what: str) -> None:
    """Raise DataError if `folder` holds images itself, or in other subfolders than `known`: they would be left out."""
    others = [path for path in subfolders(folder) if path.name not in known]
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES)
    files = (path for path in files if path.is_file() and not path.name.startswith("."))
    if odd := next((path for path in others if _has_image(path)), None) or next(files, None):
        kind = "a folder of images" if odd.is_dir() else "an image"
        raise DataError(f"{odd}: {kind} beside {what} is no part of this layout. Move it elsewhere.")


def _names(paths: Iterable[Path | None]) -> set[str]:
    return {path.name for path in paths if path is not None}


def _has_image(folder: Path) -> bool:
    return next(iter(walk_images(folder)), None) is not None


def subfolders(folder: Path) -> list[Path]:
    """Subfolders that may hold images, sorted by name, without hidden ones."""
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
