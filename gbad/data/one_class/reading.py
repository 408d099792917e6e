"""Find the layout of a folder and read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gbad.data.one_class.cifar import batches_folder, read_cifar10
from gbad.data.one_class.class_data import ClassData, Part
from gbad.data.one_class.folders import (
    check_class_folders,
    is_class_folders,
    is_normal_abnormal,
    read_class_folders,
    read_normal_abnormal,
)
from gbad.data.one_class.idx import find_idx, read_idx_folder
from gbad.data.one_class.mvtec import find_categories, read_mvtec
from gbad.data.one_class.native_sets import read_mvtec_windows, read_sixray_regions
from gbad.data.one_class.sixray import read_sixray_one_class
from gbad.data.one_class.ucsd import find_subsets, read_ucsd
from gbad.errors import DataError
from gbad.storage.digests import relative_name

LAYOUTS = ("idx", "cifar10", "sixray", "mvtec", "ucsd", "normal-abnormal", "classes")
"""Layouts that `read_classes` can read. The last two are known by nothing but names of folders."""

UNITS = ("images", "patches", "regions")
"""What is judged: whole images, warped to one size (or cut into a grid after that); patches of the files' own
resolution, each by itself; or such patches of normal images and regions around the objects of the others."""

_IN_GRIDS = ("sixray", "mvtec")
_UNITS_OF = {"images": LAYOUTS, "patches": ("mvtec",), "regions": ("mvtec", "sixray")}
_READERS = {
    "idx": read_idx_folder,
    "cifar10": read_cifar10,
    "ucsd": read_ucsd,
    "normal-abnormal": read_normal_abnormal,
    "classes": read_class_folders,
}


def detect_layout(folder: Path) -> str:
    """Find the layout of a folder: one of `LAYOUTS`. A folder that may mean several things is refused.

    Raises
    ------
    DataError
        If `folder` does not exist, has another layout, or may have several. The message names what is looked for, or
        what is unclear.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the folder of the data set.")
    fits = {
        "idx": bool(find_idx(folder)),
        "cifar10": batches_folder(folder) is not None,
        "sixray": (folder / "ImageSet").is_dir(),
        "mvtec": bool(find_categories(folder)),
        "ucsd": bool(find_subsets(folder)),
    }
    if sum(fits.values()) > 1:
        found = ", ".join(layout for layout, fit in fits.items() if fit)
        raise DataError(f"{folder}: may have several layouts ({found}). Say which one by --layout.")
    for layout, fit in fits.items():
        if fit:
            return layout
    if is_normal_abnormal(folder):
        return "normal-abnormal"
    if is_class_folders(folder):
        check_class_folders(folder)
        return "classes"
    raise DataError(
        f"{folder}: no known layout. Looked for: train-images-idx3-ubyte.gz (MNIST, Fashion-MNIST), data_batch_1 "
        "(CIFAR-10), ImageSet (SIXray), CATEGORY/train/good (MVTec-AD), Train/TrainNNN and Test/TestNNN (UCSD), normal "
        "and abnormal, or one folder per class."
    )


def read_classes(
    folder: str | Path, size: int, *, layout: str | None = None, subset: str = "10", grid: int = 1,
    units: str = "images",
) -> list[ClassData]:  # fmt: skip
    """Read a data set for one-class detectors: one `ClassData`, or one per category.

    Names of images are relative to `folder`: they stay the same if the folder moves.

    Parameters
    ----------
    folder : path-like
        The data set.
    size : int
        Side in pixels of images, or of patches.
    layout : str, optional
        One of `LAYOUTS`. By default as `detect_layout` finds it.
    subset : str
        Lists of a data set in SIXray's layout.
    grid : int
        Patches per side, in the layouts of MVTec-AD and SIXray; 1 takes whole images.
    units : str
        One of `UNITS`: ``"patches"`` in MVTec-AD's layout, ``"regions"`` in MVTec-AD's and SIXray's. They have a side
        of `size` pixels of the file, and no grid.

    Raises
    ------
    DataError
        If the layout is unknown, the layout has no patches, or the folder lacks files of the layout.
    """
    folder = Path(folder)
    layout = layout or detect_layout(folder)
    if layout not in LAYOUTS:
        raise DataError(f"layout {layout!r} is unknown. Choose one of {', '.join(LAYOUTS)}.")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the folder of the data set.")
    if grid < 1 or (grid > 1 and layout not in _IN_GRIDS):
        raise DataError(
            f"a grid of {grid} does not suit the layout {layout!r}: only {' and '.join(_IN_GRIDS)} are cut into "
            "patches. Leave it at 1."
        )
    if layout not in _UNITS_OF[units] or (units != "images" and grid > 1):
        raise DataError(
            f"{folder}: {units} of the files' own resolution are cut from the layout {' or '.join(_UNITS_OF[units])} "
            f"without a grid, not from {layout} with a grid of {grid}. Choose another protocol."
        )
    if units != "images":
        regions = units == "regions"
        found = (
            [read_sixray_regions(folder, size, subset)]
            if layout == "sixray"
            else read_mvtec_windows(folder, size, regions=regions)
        )
    elif layout == "sixray":
        found = read_sixray_one_class(folder, size, subset, grid)
    elif layout == "mvtec":
        found = read_mvtec(folder, size, grid)
    else:
        found = _READERS[layout](folder, size)
    return [replace(one, train=_renamed(one.train, folder), test=_renamed(one.test, folder)) for one in found]


def _renamed(part: Part, folder: Path) -> Part:
    names = [relative_name(name, folder) for name in part.images.names]
    return replace(part, images=replace(part.images, names=names))
