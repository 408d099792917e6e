from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gbad.benchmarks.paper.peaks import peaks_in_boxes
from gbad.data.labels import read_sixray
from gbad.errors import DataError


def test_a_damaged_annotation_is_told_and_none_at_all_is_no_error(own_dataset: Path, pipeline_file: Path) -> None:
    test = read_sixray(own_dataset, 10, "test")
    assert peaks_in_boxes(pipeline_file.parent, own_dataset, test)
    one = next(path for path in (own_dataset / "Annotation").rglob("*.xml") if path.stem in test.names)
    one.write_bytes(one.read_bytes()[:50])
    with pytest.raises(DataError, match=one.name):
        peaks_in_boxes(pipeline_file.parent, own_dataset, test)
    shutil.rmtree(own_dataset / "Annotation")
    assert peaks_in_boxes(pipeline_file.parent, own_dataset, test) == {}
