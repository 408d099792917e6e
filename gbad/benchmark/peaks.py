"""Whether a heat-map points at the threat: its maximum lies in the box or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gbad.data.annotations import find_annotations, read_voc_boxes
from gbad.data.images import read_image
from gbad.errors import DataError, ImageError
from gbad.persistence import load
from gbad.phase1_classifier import class_heatmap


def peak_of(heatmap: np.ndarray) -> tuple[float, float]:
    """Centre of the largest value of a map (h, w), as shares of width and height, in (0, 1).

    Examples
    --------
    >>> peak_of(np.array([[0.0, 0.0], [0.0, 1.0]]))
    (0.75, 0.75)
    """
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return (float(column) + 0.5) / heatmap.shape[1], (float(row) + 0.5) / heatmap.shape[0]


def peaks_in_boxes(
    run: Path, data: Path, classes: Sequence[str], paths: Mapping[str, Path]
) -> dict[tuple[str, int], bool]:
    """Look at the heat-map of each threat that has a box.

    Parameters
    ----------
    run : Path
        A finished run folder.
    data : Path
        Holds ``Annotation`` with Pascal VOC boxes in pixels of the image file.
    classes : sequence of C str
    paths : mapping of str to Path
        Images by their names.

    Returns
    -------
    dict
        By image name and class: whether the maximum of the class's heat-map lies in a box of that class. Images
        without annotation or that cannot be read are left out.
    """
    pipeline = load(run / "pipeline.joblib")
    network, annotations, found = pipeline.network(), find_annotations(data / "Annotation"), {}
    for name, path in paths.items():
        if name not in annotations:
            continue
        try:
            boxes = read_voc_boxes(annotations[name])
            pixels = read_image(path, pipeline.size)
            with Image.open(path) as image:
                width, height = image.size
        except (DataError, ImageError, OSError):
            continue
        for column in sorted({classes.index(label) for label, _ in boxes if label in classes}):
            x, y = peak_of(class_heatmap(network, pixels, column))
            found[name, column] = any(
                box[0] <= x * width <= box[2] and box[1] <= y * height <= box[3]
                for label, box in boxes
                if label == classes[column]
            )
    return found
