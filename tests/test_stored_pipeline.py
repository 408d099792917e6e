"""The promise of compatibility: every later version of gbad loads files of formats 1 to 3, and scores alike.

``tests/stored`` holds such files with all that they can hold: a pyramid beside a plain network, class heads, BiGAN, a
soft gate; in format 1 GANomaly, in format 2 a second look; format 3 has the pipeline of format 2 with a digest. They
were trained on 40 of the noisy images of the fixture ``pixels``; afterwards the weights of the classifiers were
replaced by a short pattern, so that the files are small.
Never make them anew: a version that cannot read them breaks the promise. A new format gets a file of its own beside
them.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

import gbad

pytestmark = pytest.mark.usefixtures("real_resnet18")
STORED = Path(__file__).parent / "stored"


@pytest.mark.parametrize("name", ["pipeline-format-1", "pipeline-format-2", "pipeline-format-3"])
def test_a_stored_pipeline_loads_and_scores_as_when_it_was_made(name: str, pixels: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "pipeline.joblib").write_bytes(lzma.decompress((STORED / f"{name}.joblib.xz").read_bytes()))
    expected = json.loads((STORED / f"{name}.json").read_text())
    pipeline = gbad.load(tmp_path / "pipeline.joblib")
    assert list(pipeline.classes_) == expected["classes"]
    np.testing.assert_allclose(pipeline.thresholds_, expected["thresholds"], atol=1e-6)
    explained = pipeline.explain(pixels[8:26:4])
    for values in ("ungated", "losses", "gate_score", "gated", "any_threat"):
        np.testing.assert_allclose(getattr(explained, values), expected[values], rtol=1e-3, atol=1e-4, err_msg=values)
    assert pipeline.fitted_.decision.heads is not None
    assert pipeline.settings.backbone == "resnet18"
    assert explained.looked_twice.tolist() == expected.get("looked_twice", [False] * 5)
    if "regions" in expected:
        second = np.array(expected["second_look"], float)
        np.testing.assert_allclose(explained.second_look, second, rtol=1e-3, atol=1e-4)
        for values, of_regions in expected["regions"].items():
            found = getattr(explained.regions, values)
            np.testing.assert_allclose(found, of_regions, rtol=1e-3, atol=1e-4, err_msg=values)
