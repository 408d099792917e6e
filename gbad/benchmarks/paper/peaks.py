"""Whether a heat-map points at the threat: its maximum lies in the box or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.arrays import Floats
from gbad.data.boxes import read_boxes
from gbad.data.images import image_paths
from gbad.data.labels import LabelList
from gbad.data.pictures import read_picture
from gbad.errors import ImageError
from gbad.phase1_classifier import class_heatmap
from gbad.pipeline import load
from gbad.workflows.locate import peaks


def peaks_in_boxes(run: Path, data: Path, labels: LabelList) -> dict[tuple[str, int], bool]:
    """Look at the heat-map of each threat that has a box.

    Parameters
    ----------
    run : Path
        A finished run folder.
    data : Path
        In SIXray's layout; boxes in ``Annotation``.
    labels : LabelList
        The images.

    Returns
    -------
    dict
        By image name and class: whether the maximum of the class's heat-map lies in a box of that class. Empty if no
        image has a box.

    Raises
    ------
    DataError
        If an annotation is damaged.
    """
    pipeline, paths, found = load(run / "pipeline.joblib"), image_paths(data, labels.names), {}
    boxes = read_boxes(data, labels.names, paths, labels.labels, labels.classes, required=False)
    for row, own in boxes.items():
        try:
            pixels = read_picture(paths[row], pipeline.settings.size)
        except ImageError:
            continue  # scoring has counted it
        for column in sorted({int(box[0]) for box in own}):
            heatmap = class_heatmap(pipeline.fitted_.network, pixels, column)
            found[labels.names[row], column] = lies_in(peaks(heatmap[None, None])[0, 0], own[own[:, 0] == column, 1:])
    return found


def lies_in(place: Floats, boxes: Floats | npt.NDArray[np.float32]) -> bool:
    """Whether a place (x, y) lies in one of some boxes, (k, 4): left, top, right, bottom, in the same unit.

    Examples
    --------
    >>> boxes = np.array([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 1.0, 0.8]])
    >>> lies_in(np.array([0.6, 0.7]), boxes), lies_in(np.array([0.6, 0.1]), boxes)
    (True, False)
    """
    return bool(((boxes[:, :2] <= place) & (place <= boxes[:, 2:])).all(axis=1).any())
