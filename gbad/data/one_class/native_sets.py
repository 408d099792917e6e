"""Data sets whose units are windows of images at the resolution of their files: patches and regions.

Normal images are cut into patches. An image that shows a defect or a threat gives the patches that show it, or one
region around each object; the rest of such an image is left out, because nothing tells that it is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gbad.data.annotations import Box, box_of, find_annotations, read_voc_boxes
from gbad.data.arrays import Mask
from gbad.data.images import image_paths, read_image
from gbad.data.labels import LabelList, read_sixray
from gbad.data.one_class.class_data import ClassData, Masks, Part
from gbad.data.one_class.mvtec import GOOD, Category, find_files, shrunk_mask
from gbad.data.one_class.native import Window, cut, grid_of, source_of_windows, window_of, windows_with_defect
from gbad.errors import DataError

Found = list[tuple[Window, int, int]]
"""Windows, each with its class and the number of its image."""

THREAT_FREE, SEVERAL = "threat-free", "threat"


def read_mvtec_windows(folder: Path, side: int, *, regions: bool) -> list[ClassData]:
    """Read data sets in the layout of MVTec-AD, one per category, as patches of `side` pixels.

    Parameters
    ----------
    folder : Path
        Holds the category folders, or is a category folder.
    side : int
        Of a patch, in pixels of the file.
    regions : bool
        A defective image gives one region around its mask instead of the patches that show the defect.

    Raises
    ------
    DataError
        As `read_mvtec`; if a category has no masks; if an image is smaller than a patch.
    """
    return [_read_category(files, side, regions) for files in find_files(folder)]


def _read_category(files: Category, side: int, regions: bool) -> ClassData:
    if files.masks is None:
        raise DataError(
            f"{files.test[0].parents[2] / 'ground_truth'}: no masks in it, and patches of defective images are chosen "
            "by masks. Copy them, or choose the protocol normal-vs-abnormal, which judges whole images."
        )
    test: Found = []
    masks: list[Path | None] = []
    for number, (path, label, mask_file) in enumerate(zip(files.test, files.labels, files.masks, strict=True)):
        if mask_file is None:
            windows = grid_of(path, side, padded=False)
        else:
            mask = _read_mask(mask_file, path)
            if not mask.any():
                raise DataError(f"{mask_file}: the mask of a defective image is all black. Copy it again.")
            windows = (
                [window_of(path, box_of(mask), side)]
                if regions
                else windows_with_defect(grid_of(path, side, padded=False), mask)
            )
        test += [(window, label, number) for window in windows]
        masks += [mask_file] * len(windows)
    windows = [window for window, _, _ in test]
    return ClassData(
        files.name, files.classes, _train_part(files.train, side, padded=False), _part(test, side), frozenset({GOOD}),
        _masks(windows, masks, side), files.files,
    )  # fmt: skip


def read_sixray_regions(data: Path, side: int, subset: str = "10") -> ClassData:
    """Read a data set in SIXray's layout as patches of threat-free images and one region around each threat.

    A threat's box is that of ``Annotation/NAME.xml``, or that around ``Mask/NAME.png``. Test images with threats that
    have neither are left out. The class of a mask is that of the list, or ``threat`` if the list has several for the
    image. Images smaller than a patch are padded with white, their background.

    Parameters
    ----------
    data : Path
        Holds ``ImageSet``, the images, and ``Annotation`` or ``Mask``.
    side : int
        Of patches and regions, in pixels of the file.
    subset : str
        Name of the lists.

    Raises
    ------
    DataError
        If a list is missing, or no test image with threats has boxes or a mask.
    """
    lists = {name: read_sixray(data, subset, name) for name in ("train", "test")}
    paths = {name: image_paths(data, labels.names) for name, labels in lists.items()}
    train = [path for path, threat in zip(paths["train"], lists["train"].positive, strict=True) if not threat]
    objects = _objects(data, lists["test"])
    if not any(objects):
        raise DataError(
            f"{data}: no test image with threats has boxes in Annotation or a mask in Mask, and regions are cut around "
            "them. Copy the annotations, or choose the protocol normal-vs-abnormal, which judges whole images."
        )
    named = {name for of_image in objects for name, _ in of_image}
    listed = [name for name in lists["test"].classes if name in named]
    classes = (THREAT_FREE, *listed, *sorted(named - set(listed)))
    test: Found = []
    for number, (path, threat) in enumerate(zip(paths["test"], lists["test"].positive.tolist(), strict=True)):
        if threat:
            test += [(window_of(path, box, side), classes.index(name), number) for name, box in objects[number]]
        else:
            test += [(window, 0, number) for window in grid_of(path, side, padded=True)]
    of_test = zip(paths["test"], lists["test"].positive.tolist(), objects, strict=True)
    used = [path for path, threat, found in of_test if found or not threat]
    return ClassData(
        f"{data.resolve().name} {subset}, regions", classes, _train_part(train, side, padded=True), _part(test, side),
        frozenset({THREAT_FREE}), None, (*train, *used),
    )  # fmt: skip


def _objects(data: Path, labels: LabelList) -> list[list[tuple[str, Box]]]:
    """Class and box of each object of each image; none for threat-free images, and where nothing gives them."""
    annotations = find_annotations(data / "Annotation")
    objects: list[list[tuple[str, Box]]] = []
    for name, row in zip(labels.names, labels.labels.astype(bool), strict=True):
        mask_file, found = data / "Mask" / f"{name}.png", []
        if row.any() and name in annotations:
            found = read_voc_boxes(annotations[name])
        if row.any() and not found and mask_file.is_file():
            mask = read_image(mask_file)[..., 0] > 0
            present = [one for one, shown in zip(labels.classes, row.tolist(), strict=True) if shown]
            found = [(present[0] if len(present) == 1 else SEVERAL, box_of(mask))] if mask.any() else []
        objects.append(found)
    return objects


def _train_part(paths: Sequence[Path], side: int, *, padded: bool) -> Part:
    """Patches of normal images: each is a unit, and knows its image."""
    grids = [grid_of(path, side, padded=padded) for path in paths]
    return _part([(window, 0, number) for number, grid in enumerate(grids) for window in grid], side)


def _part(found: Found, side: int) -> Part:
    windows, labels, images = zip(*found, strict=True)
    return Part(
        source_of_windows(windows, side), np.array(labels, np.int64), np.arange(len(found)),
        image=np.array(images, np.int64),
    )  # fmt: skip


def _read_mask(path: Path, image: Path) -> Mask:
    mask: Mask = read_image(path)[..., 0] > 0
    shape = read_image(image).shape[:2]
    if mask.shape != shape:
        raise DataError(f"{path}: {mask.shape} pixels for an image of {shape}. Copy the mask again.")
    return mask


def _masks(windows: Sequence[Window], files: Sequence[Path | None], side: int) -> Masks:
    def mask(row: int) -> Mask:
        path = files[row]
        if path is None:
            return np.zeros((side, side), bool)
        return shrunk_mask(cut(read_image(path), windows[row])[..., 0] > 0, side)

    return mask
