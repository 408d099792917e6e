"""Where threats are, for pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from gbad.data.arrays import Labels
from gbad.data.boxes import read_boxes
from gbad.errors import DataError
from gbad.report.drawing import TrueBox

_log = logging.getLogger(__name__)


def true_boxes(
    data: str | Path, names: Sequence[str], paths: Sequence[Path], labels: Labels, classes: Sequence[str]
) -> dict[int, list[TrueBox]]:
    """Boxes of the threats by row, see `gbad.data.boxes.read_boxes`.

    A damaged annotation leaves all of them out, with a warning: it costs pictures, but no figure.
    """
    try:
        boxes = read_boxes(data, names, paths, labels, classes, required=False)
    except DataError as error:
        _log.warning("no true boxes are shown: %s", error)
        return {}
    return {row: [TrueBox(classes[int(box[0])], box[1:]) for box in own] for row, own in boxes.items()}
