"""The classifier as an ONNX file, and long lists that ONNX Runtime scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gbad
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.source import stream
from gbad.phase1_classifier.exported import PACKAGES
from gbad.workflows import scores_csv

for _package in PACKAGES:
    pytest.importorskip(_package, reason="the extra onnx is not installed")


def test_a_file_gives_the_logits_in_any_program(
    gbad_command: Callable[..., Any], pipeline_file: Path, dataset: Path, tmp_path: Path
) -> None:
    import onnxruntime

    out = tmp_path / "made" / "classifier.onnx"
    assert str(out) in gbad_command("export", pipeline_file, "--out", out).out.replace("\n", "")
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    pipeline = gbad.load(pipeline_file)
    assert json.loads(notes["classes"]) == list(pipeline.classes_)
    assert int(notes["size"]) == pipeline.settings.size
    assert notes["gbad"] == gbad.__version__
    paths = image_paths(dataset, read_sixray(dataset, 10, "test").names)[:3]
    ((_, pixels, _),) = stream(pipeline.image_source(paths), range(3), 3)
    (logits,) = session.run(["logits"], {"images": pixels.transpose(0, 3, 1, 2).astype(np.float32)})
    np.testing.assert_allclose(logits, pipeline.explain(paths).logits, atol=1e-4)


def test_it_takes_the_place_of_its_own_kind_alone(
    gbad_command: Callable[..., Any], pipeline_file: Path, tmp_path: Path
) -> None:
    notes, out = tmp_path / "notes.txt", tmp_path / "classifier.onnx"
    notes.write_text("Do not lose me.")
    assert "since it is no ONNX file of gbad" in gbad_command("export", pipeline_file, "--out", notes).err
    assert notes.read_text() == "Do not lose me."
    assert "since it is read as" in gbad_command("export", pipeline_file, "--out", pipeline_file).err
    for _ in range(2):
        assert gbad_command("export", pipeline_file, "--out", out).status == 0


def test_many_images_are_scored_by_onnx_runtime_with_the_same_scores(
    gbad_command: Callable[..., Any], pipeline_file: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    paths = image_paths(dataset, read_sixray(dataset, 10, "test").names)
    used = []
    use_onnx = gbad.GBADPipeline.use_onnx
    monkeypatch.setattr(gbad.GBADPipeline, "use_onnx", lambda self: used.append(use_onnx(self)) or used[-1])
    tables = []
    for many, expected in ((len(paths) + 1, []), (len(paths), [True])):
        monkeypatch.setattr(scores_csv, "MANY", many)
        out = tmp_path / f"{many}.csv"
        assert gbad_command("predict", pipeline_file, *paths, "--out", out).status == 0
        assert used == expected
        tables.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-6)
