"""No gate, hard gates and the soft gate on the validation parts of finished runs; no test image is looked at.

python benchmarks/gates_on_validation.py runs/demo RUN...

The validation part is cut into five folds. Gate and strength are fitted without the fold that they are applied to; the
letter's gate is fitted on the training rows. mAP in percent over all folds together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from gbad.metrics import average_precision_per_class, mean_average_precision
from gbad.phase3_gate import choose_alpha, held_out_gate
from gbad.runs import open_run
from gbad.training import default_gate, gate_predictions, read_losses

EPSILON = 1e-3


def compare(folder: Path) -> dict[str, float]:
    """MAP in percent of each gate on the validation part of a run."""
    data = open_run(folder).data
    rows, held_out, losses, logits = read_losses(folder, data.classes)
    labels, threat = data.labels[rows], data.positive[rows].astype(int)
    paper = default_gate("paper").fit(losses[~held_out], threat[~held_out])
    losses, logits, labels, threat = losses[held_out], logits[held_out], labels[held_out], threat[held_out]

    gated = {"none": logits, "hard, letter's": gate_predictions(logits, losses, paper, "hard", EPSILON)[0]}
    gated |= {name: np.empty_like(logits) for name in ("hard, held-out", "soft, held-out")}
    for fit, apply in StratifiedKFold(5, shuffle=True, random_state=0).split(losses, threat):
        gate = default_gate("held-out").fit(losses[fit], threat[fit])
        held = held_out_gate(gate, losses[fit], threat[fit])
        alpha = 0.0 if held is None else choose_alpha(logits[fit], labels[fit], held[1])
        for name, kind, strength in (("hard, held-out", "hard", EPSILON), ("soft, held-out", "soft", alpha)):
            gated[name][apply] = gate_predictions(logits[apply], losses[apply], gate, kind, strength)[0]
    return {
        name: 100 * mean_average_precision(average_precision_per_class(labels, score, data.classes))
        for name, score in gated.items()
    }


def main() -> None:
    """Print one row per run, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    table = pd.DataFrame({str(run): compare(run) for run in parser.parse_args().runs}).T
    table.loc["mean"] = table.mean()
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
