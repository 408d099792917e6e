"""SIXray's layout for one-class detectors: whole images or patches. Threat-free images are normal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gbad.data.annotations import find_annotations, read_voc_boxes
from gbad.data.arrays import Mask
from gbad.data.images import image_paths, read_image
from gbad.data.labels import read_sixray
from gbad.data.one_class.class_data import ClassData, Masks, Part, part
from gbad.data.one_class.mvtec import load_mask
from gbad.data.one_class.patches import patches_of_boxes, source_of_patches
from gbad.data.source import rows_of
from gbad.errors import DataError

_CLASSES = ("threat-free", "threat")


def read_sixray_one_class(data: Path, size: int, subset: str = "10", grid: int = 1) -> list[ClassData]:
    """Read a data set in SIXray's layout.

    The training part holds the threat-free images of the training list. With patches, the test part holds all patches
    of threat-free test images (normal) and the patches of the other test images that `patches_of_boxes` chooses
    (abnormal). The remaining patches of images with threats are left out: nothing tells that they are harmless.

    Parameters
    ----------
    data : Path
        Holds ``ImageSet``, the images, and for patches ``Annotation``.
    size : int
        Side in pixels of images, or of patches.
    subset : str
        Name of the lists.
    grid : int
        Patches per side. In the test part each patch is a unit of its own.

    Raises
    ------
    DataError
        If a list is missing, or `grid` is above 1 and a test image with threats has no annotation.
    """
    lists = {name: read_sixray(data, subset, name) for name in ("train", "test")}
    paths = {name: image_paths(data, labels.names) for name, labels in lists.items()}
    threat_free = [path for path, threat in zip(paths["train"], lists["train"].positive, strict=True) if not threat]
    images = source_of_patches(threat_free, grid, size)
    train = part(images, np.zeros(len(images), np.int64))
    test = _test_part(data, paths["test"], lists["test"].positive, grid, size)
    masks = _mask_files(data, paths["test"], lists["test"].positive) if grid == 1 else None
    name = f"{data.resolve().name} {subset}" + (f", {grid} x {grid} patches" if grid > 1 else "")
    files = (*threat_free, *paths["test"], *(path for path in masks or () if path is not None))
    shown = None if masks is None else _masks(masks, size)
    return [ClassData(name, _CLASSES, train, test, frozenset({"threat-free"}), shown, files)]


def _test_part(data: Path, paths: list[Path], positive: Mask, grid: int, size: int) -> Part:
    source = source_of_patches(paths, grid, size)
    if grid == 1:
        return part(source, positive.astype(np.int64))
    annotations = find_annotations(data / "Annotation")
    kept, labels = [], []
    for number, (path, threat) in enumerate(zip(paths, positive.tolist(), strict=True)):
        patches = np.ones(grid**2, bool)
        if threat:
            if path.stem not in annotations:
                raise DataError(
                    f"{data / 'Annotation' / path.stem}.xml: no such file, and patches need the boxes of all test "
                    "images with threats. Copy the annotations, or test whole images (grid 1)."
                )
            boxes = [box for _, box in read_voc_boxes(annotations[path.stem])]
            height, width, _ = read_image(path).shape
            patches = patches_of_boxes(boxes, (height, width), grid)
        chosen = number * grid**2 + np.flatnonzero(patches)
        kept.append(chosen)
        labels.append(np.full(len(chosen), int(threat), np.int64))
    rows = np.concatenate(kept)
    return Part(rows_of(source, rows), np.concatenate(labels), np.arange(len(rows)), image=rows // grid**2)


def _mask_files(data: Path, paths: list[Path], positive: Mask) -> list[Path | None] | None:
    """Mask of each image, as in a simulated data set. None unless all images with threats have a mask."""
    files = [
        data / "Mask" / f"{path.stem}.png" if threat else None
        for path, threat in zip(paths, positive.tolist(), strict=True)
    ]
    if not positive.any() or any(file is not None and not file.is_file() for file in files):
        return None
    return files


def _masks(files: list[Path | None], size: int) -> Masks:
    def mask(row: int) -> Mask:
        file = files[row]
        return np.zeros((size, size), bool) if file is None else load_mask(file, size)

    return mask
