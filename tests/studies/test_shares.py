from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from gbad.benchmarks.paper.inference import Scores


def test_weights_of_the_share(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((80, 2)) < 0.2).astype(np.uint8)
    logits, heads = (generator.standard_normal(labels.shape) + 2 * labels for _ in range(2))
    for name in ("gbad-a", "gbad-b"):
        (tmp_path / name).mkdir()
        Scores(np.arange(80).astype(str), logits, heads=heads, labels=labels).save(tmp_path / name / "validation.npz")
    module, out = script("studies/weights_of_the_share.py"), tmp_path / "out.csv"
    parts = [str(tmp_path / name / "validation.npz") for name in ("gbad-a", "gbad-b")]
    module.main([*parts, "--repeats", "1", "--out", str(out)])
    table = pd.read_csv(out, index_col="network")
    assert list(table.index) == ["gbad-a", "gbad-b", "mean"]
    assert [float(limit) for limit in table.columns] == list(module.LIMITS)
    assert table.gt(0).all(axis=None)
    assert table.le(100).all(axis=None)
    assert "gbad-b" in capsys.readouterr().out
