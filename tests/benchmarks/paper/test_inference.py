from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gbad.benchmarks.paper import inference
from gbad.benchmarks.paper.inference import validation_scores
from gbad.phase3_gate import AnyThreat, ClassHeads, Decision
from gbad.training.settings import Settings

N, HELD_OUT = 12, np.arange(12) % 2 == 0


class Gate:
    """Says the same of every image."""

    def decision_function(self, losses: np.ndarray) -> np.ndarray:
        return np.ones(len(losses))

    def probability(self, score: np.ndarray) -> np.ndarray:
        return np.full(len(score), 0.5)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What phases 2 and 3 leave, of images whose features and logits are their row numbers."""
    pd.DataFrame({"name": [f"P{row}" for row in range(N)]}).to_csv(tmp_path / "split.csv", index=False)
    (tmp_path / "phase2" / "features").mkdir(parents=True)
    table = {"name": "", "row": range(N), "part": np.where(HELD_OUT, "validation", "train"), "generator": 0.0}
    pd.DataFrame(table | {"logit_Gun": range(N)}).to_csv(tmp_path / "phase2" / "losses.csv", index=False)
    labels = (np.arange(N) < 4).astype(np.uint8)[:, None]
    data = SimpleNamespace(classes=("Gun",), labels=labels, positive=labels.any(1))
    heads = ClassHeads(np.zeros(1), np.full((1, 1), 2.0), np.zeros(1))
    gate: Any = Gate()
    decision = Decision(gate, "soft", 1.0, heads, 0.5, AnyThreat.identity(1), np.full(1, 0.5))
    pipeline = SimpleNamespace(fitted_=SimpleNamespace(decision=decision, second=None, thresholds=decision.thresholds))
    monkeypatch.setattr(inference, "load", lambda path: pipeline)
    return SimpleNamespace(folder=tmp_path, data=data, settings=Settings(gate_fit="paper"))


@pytest.mark.parametrize("order", [np.arange(N), np.arange(N)[::-1], np.r_[6:N, 99, :6]], ids=["same", "back", "more"])
def test_heads_read_the_features_of_their_own_images(run: Any, order: np.ndarray) -> None:
    """Losses and features of phase 2 are two files: rows belong together by their numbers."""
    folder = run.folder / "phase2" / "features"
    order.astype(np.int64).tofile(folder / "rows.i64")
    order.astype(np.float32).tofile(folder / "features.f32")
    order.astype(np.float64).tofile(folder / "logits.f64")
    (folder / "done.json").write_text(json.dumps({"rows": len(order), "features": 1, "classes": 1}))
    scores = validation_scores(run, 3)
    held_out = np.flatnonzero(HELD_OUT)
    assert scores.names.tolist() == [f"P{row}" for row in held_out]
    assert scores.heads is not None
    assert scores.ranking is not None
    np.testing.assert_array_equal(scores.heads[:, 0], 2.0 * held_out)
    np.testing.assert_array_equal(scores.ranking[:, 0], 1.5 * held_out)
