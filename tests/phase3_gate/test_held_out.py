from __future__ import annotations

import numpy as np

from gbad.phase3_gate import ThreatGate, held_out_gate


def test_each_row_is_judged_by_a_gate_that_has_not_seen_it() -> None:
    """Losses that say nothing: the gate's own rows look separable to it, held-out rows do not."""
    random = np.random.default_rng(0)
    losses, anomalous = random.uniform(1, 2, (60, 2)), np.arange(60) % 2
    gate = ThreatGate(monotone=False, clip=False, gamma=300.0, C=100.0)
    own = gate.fit(losses, anomalous).decision_function(losses) > 0
    held_out = held_out_gate(gate, losses, anomalous)
    assert held_out is not None
    score, p_anomalous = held_out
    assert score.shape == p_anomalous.shape == (60,)
    assert (own == anomalous).mean() > 0.9
    assert ((score > 0) == anomalous).mean() < 0.7
    assert ((p_anomalous > 0.5) == anomalous).mean() < 0.7


def test_a_single_row_of_a_kind_cannot_be_left_out() -> None:
    losses = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert held_out_gate(ThreatGate(), losses, np.array([0, 0, 1])) is None
