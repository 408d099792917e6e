from __future__ import annotations

import numpy as np

from gbad.phase3_gate import ThreatGate, cross_fitted_gate


def test_each_row_is_judged_by_a_gate_that_has_not_seen_it() -> None:
    """With losses that say nothing, a gate separates its own rows, but not new rows."""
    random = np.random.default_rng(0)
    losses, anomalous = random.uniform(1, 2, (60, 2)), np.arange(60) % 2
    gate = ThreatGate(monotone=False, clip=False, gamma=300.0, C=100.0)
    own = gate.fit(losses, anomalous).decision_function(losses) > 0
    fitted = cross_fitted_gate(gate, losses, anomalous)
    assert fitted is not None
    score, p_anomalous = fitted
    assert score.shape == p_anomalous.shape == (60,)
    assert (own == anomalous).mean() > 0.9
    assert ((score > 0) == anomalous).mean() < 0.7
    assert ((p_anomalous > 0.5) == anomalous).mean() < 0.7


def test_a_single_row_with_a_threat_cannot_be_left_out() -> None:
    losses = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert cross_fitted_gate(ThreatGate(), losses, np.array([0, 0, 1])) is None
