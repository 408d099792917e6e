"""Explanations of a pipeline that looks once, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from gbad.explanation import Explanation, SeenRegions


def one_look(
    logits: np.ndarray, losses: np.ndarray, gate_score: np.ndarray, anomalous: np.ndarray, log_gated: np.ndarray,
    any_threat: np.ndarray, **others: Any,
) -> Explanation:  # fmt: skip
    """Explanation without class heads and second look."""
    values: dict[str, Any] = {
        "logits": logits, "ungated": 1 / (1 + np.exp(-logits)), "losses": losses, "gate_score": gate_score,
        "anomalous": anomalous, "heads": logits, "first_ranking": logits, "ranking": logits, "first_look": log_gated,
        "looked_twice": np.zeros(len(logits), bool), "second_look": np.full(logits.shape, np.nan),
        "regions": SeenRegions.empty(logits.shape[1]), "log_gated": log_gated, "any_threat": any_threat,
        "unfamiliarity": np.full(len(logits), np.nan),
    }  # fmt: skip
    return Explanation(**values | others)
