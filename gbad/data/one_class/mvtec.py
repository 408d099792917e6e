"""MVTec-AD's layout: one folder per category, with ``train/good``, ``test/<defect>``, ``ground_truth/<defect>``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gbad.data.arrays import Mask
from gbad.data.images import read_image, walk_images
from gbad.data.one_class.class_data import ClassData, Masks, Part
from gbad.data.one_class.folders import refuse_others
from gbad.data.one_class.patches import source_of_patches
from gbad.errors import DataError

GOOD = "good"


def find_categories(folder: Path) -> list[Path]:
    """Find the category folders below `folder`, sorted, or `folder` itself if it is a category."""
    if _is_category(folder):
        return [folder]
    return [path for path in sorted(folder.iterdir()) if _is_category(path)] if folder.is_dir() else []


def read_mvtec(folder: Path, size: int, grid: int = 1) -> list[ClassData]:
    """Read data sets in the layout of MVTec-AD, one per category.

    Parameters
    ----------
    folder : Path
        Holds the category folders, or is a category folder.
    size : int
        Side in pixels of images, or of patches.
    grid : int
        Patches per side. The score of an image is the highest score of its patches.

    Raises
    ------
    DataError
        If there is no category, one lacks images, or some but not all defective images have a mask.
    """
    return [_read_category(files, size, grid) for files in find_files(folder)]


def load_mask(path: Path, size: int) -> Mask:
    """Read a mask at another size, see `shrunk_mask`."""
    return shrunk_mask(read_image(path)[..., 0] > 0, size)


def shrunk_mask(mask: Mask, size: int) -> Mask:
    """Bring a mask to another size: bool (height, width) -> bool (size, size).

    A pixel of the result is defective if any part of its area is defective, so that small defects are kept.
    """
    whole = Image.fromarray(255 * mask.astype(np.uint8))
    return np.asarray(whole.resize((size, size), Image.Resampling.BOX)) > 0


def _is_category(path: Path) -> bool:
    return (path / "train" / GOOD).is_dir() and (path / "test").is_dir()


@dataclass(frozen=True)
class Category:
    """Files of a category.

    Attributes
    ----------
    name : str
    classes : tuple of str
        ``good``, then the defects.
    train, test : list of Path
    labels : list of int
        Class of each test image, an index into `classes`.
    masks : list of (Path or None), or None
        Mask of each test image, None for a good one; None for a category without masks.
    """

    name: str
    classes: tuple[str, ...]
    train: list[Path]
    test: list[Path]
    labels: list[int]
    masks: list[Path | None] | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files with pixels or masks."""
        return (*self.train, *self.test, *(path for path in self.masks or () if path is not None))


def find_files(folder: Path) -> list[Category]:
    """Find the files of all categories; parameters and errors as in `read_mvtec`."""
    categories = find_categories(folder)
    if not categories:
        raise DataError(f"{folder}: no CATEGORY/train/good and CATEGORY/test in it. Unpack MVTec-AD there.")
    if categories != [folder]:
        refuse_others(folder, {path.name for path in categories}, "categories, each with train/good and test")
    return [_files_of(path) for path in categories]


def _files_of(folder: Path) -> Category:
    train = [Path(path) for _, path in walk_images(folder / "train" / GOOD)]
    defects = sorted(path.name for path in (folder / "test").iterdir() if path.is_dir() and path.name != GOOD)
    classes = (GOOD, *(name for name in defects if not name.startswith(".")))
    test: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = [Path(path) for _, path in walk_images(folder / "test" / name)] if name in (GOOD, *defects) else []
        test += found
        labels += [label] * len(found)
    if not train or not test:
        raise DataError(f"{folder}: {len(train)} training and {len(test)} test images. Unpack the category again.")
    return Category(folder.resolve().name, classes, train, test, labels, _mask_files(folder, test))


def _read_category(files: Category, size: int, grid: int) -> ClassData:
    return ClassData(
        files.name,
        files.classes,
        _part(files.train, [0] * len(files.train), size, grid),
        _part(files.test, files.labels, size, grid),
        frozenset({GOOD}),
        None if files.masks is None else _masks(files.masks, size, grid),
        files.files,
    )


def _part(paths: list[Path], labels: list[int], size: int, grid: int) -> Part:
    rows = grid**2
    return Part(
        source_of_patches(paths, grid, size),
        np.repeat(np.array(labels, np.int64), rows),
        np.repeat(np.arange(len(paths)), rows),
    )


def _mask_files(folder: Path, test: list[Path]) -> list[Path | None] | None:
    """Mask of each test image, None for a good image. Without any mask in the category, None instead of the list."""
    paths: list[Path | None] = []
    for image in test:
        name = f"{image.stem}_mask.png"
        paths.append(None if image.parent.name == GOOD else folder / "ground_truth" / image.parent.name / name)
    absent = [path for path in paths if path is not None and not path.is_file()]
    if not (folder / "ground_truth").is_dir() or len(absent) == sum(path is not None for path in paths):
        return None
    if absent:
        raise DataError(
            f"{absent[0]}: no such file, but other defective images have masks. Copy the mask, or delete "
            "ground_truth to go without pixel-wise results."
        )
    return paths


def _masks(paths: list[Path | None], size: int, grid: int) -> Masks:
    """Masks of the test rows."""

    def mask(row: int) -> Mask:
        path, (y, x) = paths[row // grid**2], divmod(row % grid**2, grid)
        if path is None:
            return np.zeros((size, size), bool)
        return load_mask(path, grid * size)[y * size : (y + 1) * size, x * size : (x + 1) * size]

    return mask
