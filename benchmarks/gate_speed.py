"""Speed of the gate on 57,500 rows of two losses, relative to scikit-learn's support vector machine on the same rows.

python benchmarks/gate_speed.py

As many rows as the paper's gate is fitted on: 50,000 threat-free ones and 7,500 with threats, drawn from two broad
clusters that overlap. The machine gets them as the gate's own machine does, logarithmic and standardised. It is fitted
once, since that takes most of a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from table import finish, row

from gbad.phase3_gate import ThreatGate, default_gate

T = TypeVar("T")
Floats = npt.NDArray[np.float64]

FIT = 0.1  # of the machine's seconds, at most
PRECISION = 0.002  # of average precision that the gate may lose
SCORE = 2.0  # seconds for a million rows, at most
MILLION = 1_000_000
THREATS = 0.13


def losses(count: int, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Draw reconstruction and feature-matching losses, (n, 2), and whether there is a threat, (n,)."""
    random = np.random.default_rng(seed)
    threat = (random.random(count) < THREATS).astype(np.int64)
    common = random.normal(size=count)
    logarithms = np.stack([3 + 0.5 * common, 0.4 * common], 1) + random.normal(scale=0.3, size=(count, 2))
    return np.exp(logarithms + 1.5 * threat[:, None] * random.random((count, 2))), threat


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Do something, and give what it gives and the seconds that it took."""
    begun = time.perf_counter()
    done = work()
    return done, time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and score by the machine, by the paper's gate and by the default gate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=57_500)
    parser.add_argument("--test-rows", type=int, default=20_000)
    parser.add_argument("--million", type=int, default=MILLION, help="rows that are scored")
    parser.add_argument("--rounds", type=int, default=3, help="fits of each gate")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    X, y = losses(options.rows, 0)
    test, threat = losses(options.test_rows, 1)
    scaler = StandardScaler().fit(np.log1p(X))

    machine, seconds = timed(lambda: SVC(class_weight="balanced").fit(scaler.transform(np.log1p(X)), y))
    expected = average_precision_score(threat, machine.decision_function(scaler.transform(np.log1p(test))))
    print(f"SVC, {options.rows:,} rows: fit {seconds:.1f} s, average precision {expected:.4f}")
    rows = []
    many = losses(options.million, 2)[0]
    for name, gate in {"default": ThreatGate(), "paper": default_gate("paper")}.items():
        fits = [timed(partial(gate.fit, X, y))[1] / seconds for _ in range(options.rounds)]
        rows.append(row(f"gate ({name}), fit on {options.rows:,} rows, to SVC", "x", fits, at_most=FIT))
        lost = expected - average_precision_score(threat, gate.decision_function(test))
        rows.append(row(f"gate ({name}), average precision that it lacks to SVC", "", [lost], at_most=PRECISION))
        scored = [timed(partial(gate.decision_function, many))[1] for _ in range(options.rounds)]
        most = SCORE * len(many) / MILLION
        rows.append(row(f"gate ({name}), {len(many):,} rows scored", "s", scored, at_most=most))
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
