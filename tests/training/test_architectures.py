"""Pipelines on the peers of the feature pyramid, plain network and CHR, and on a pyramid with a plain network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gbad
from gbad.pipeline import GBADPipeline

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"negatives": "natural"},
    "chr": {"chr_mask": "released", "chr_threshold": -5.0, "chr_prediction": "average"},
    "fpn": {"fusion": "context", "class_heads": True},
}
WIDTH = {"plain": 32, "chr": 32 + 24 + 16, "fpn": 4 * 8 + 32}


@pytest.mark.parametrize("architecture", OPTIONS)
def test_all_phases_run_on_it_and_its_file_gives_the_same_scores(
    architecture: str, make_pipeline: Callable[..., GBADPipeline], pixels: np.ndarray, tmp_path: Path
) -> None:
    labels = np.zeros((40, 2), np.uint8)
    labels[10:20, 0] = labels[15:25, 1] = 1
    options = {"architecture": architecture, "epochs": 1, "size": 32, **OPTIONS[architecture]}
    fitted = make_pipeline(**options).fit(pixels, labels, run=tmp_path / "run")
    fitted.save(tmp_path / "pipeline.joblib")
    loaded = gbad.load(tmp_path / "pipeline.joblib")
    assert loaded.settings.architecture == architecture
    assert type(loaded.fitted_.network) is gbad.phase1_classifier.ARCHITECTURES[architecture]
    assert loaded.fitted_.network.spec == fitted.fitted_.training["phase1"]["classifier"]
    np.testing.assert_array_equal(loaded.explain(pixels).log_gated, fitted.explain(pixels).log_gated)
    features = gbad.phase1_classifier.FeatureFile(tmp_path / "run" / "phase2" / "features")
    assert features.features.shape == (40, WIDTH[architecture])
    if architecture == "chr":
        spec = loaded.fitted_.network.spec
        assert (spec["mask"], spec["threshold"], spec["prediction"]) == ("released", -5.0, "average")

    maps = loaded.heatmaps(pixels)  # every architecture says where it sees a class
    assert maps.shape[:2] == (40, 2)
    assert maps.dtype == np.float32
    highest = maps.max((2, 3))
    assert np.isin(highest.round(6), [0, 1]).all()
    assert highest.any()
    for row, column in ((12, 0), (20, 1)):
        alone = loaded.heatmaps(pixels[row : row + 1])[0, column]  # whatever other images there are
        np.testing.assert_allclose(maps[row, column], alone, atol=1e-4)
