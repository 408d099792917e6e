"""What it costs to stop the BiGAN early: the same rows trained to the end and until no gain. No test image is used.

python studies/bigan_length.py RUN... --rows 100 500 2400 --out results/bigan_length.csv

Each detector learns from threat-free training rows of a run whose phase 2 is done, drawn by the seed. Judged on the
run's validation part: the area under the ROC curve of both losses for any threat, the average precision of a gate on
them, and the mAP behind the soft gate, whose strength is chosen. Gates judge folds that they were not fitted on. The
table holds means over runs and seeds, and the differences of pairs with Student's 95 % interval. Seconds are those of
the processor, which other work hardly changes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from gbad.evaluation.measures import t_interval
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase1_classifier import FeatureFile
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase2_anomaly.detectors import detector_input
from gbad.phase3_gate import fit_decision
from gbad.runtime.randomness import derived_seed
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import atomic_path
from gbad.training.run_folder import open_run

MEASURES = ("cpu_seconds", "epochs", "roc_auc_reconstruction", "roc_auc_feature_matching", "gate_ap", "map")


def compare(folder: Path, rows: Sequence[int], seeds: Sequence[int], min_steps: int) -> list[dict[str, Any]]:
    """Train on each number of rows from each seed, to the end and stopped early, and judge on the validation part."""
    data = open_run(folder).data
    file = FeatureFile(folder / "phase2" / "features")
    logits = np.asarray(file.logits)
    inputs = detector_input(np.asarray(file.features), logits)
    labels, threat, validation = data.labels[file.rows], data.positive[file.rows], data.validation[file.rows]
    free = np.flatnonzero(~validation & ~threat)
    found = []
    for number in dict.fromkeys(min(number, len(free)) for number in rows):
        for seed in seeds:
            draw = np.random.default_rng(derived_seed(seed, "rows", number))
            learnt = inputs[np.sort(draw.permutation(free)[:number])]
            for early_stopping in (False, True):
                detector = BiGANDetector(random_state=seed, min_steps=min_steps, early_stopping=early_stopping)
                begun = time.process_time()
                detector.fit(learnt)
                seconds = time.process_time() - begun
                losses = detector.losses(inputs[validation])
                decided = fit_decision(
                    logits[validation], None, losses, labels[validation], np.ones(len(losses), bool), gate=None,
                    gate_fit="held-out", suppression="soft", strength=None, prevalence=None,
                )[1]  # fmt: skip
                by_class = average_precision_per_class(labels[validation], decided.log_gated, data.classes)
                found.append(
                    {
                        "run": str(folder), "rows": number, "seed": seed, "early_stopping": early_stopping,
                        "cpu_seconds": seconds, "epochs": detector.n_epochs_, "max_epochs": detector.max_epochs_,
                        "roc_auc_reconstruction": roc_auc_score(threat[validation], losses[:, 0]),
                        "roc_auc_feature_matching": roc_auc_score(threat[validation], losses[:, 1]),
                        "gate_ap": average_precision_score(threat[validation], decided.gate_score),
                        "map": mean_average_precision(by_class),
                    }
                )  # fmt: skip
                print(found[-1], flush=True)
    return found


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Means of both trainings by number of rows, and of "stopped early minus to the end" with its interval."""
    shown = []
    for number, part in table.groupby("rows"):
        pairs = part.pivot(index=["run", "seed"], columns="early_stopping", values=list(MEASURES))
        for name in MEASURES:
            full, early = pairs[name][False].to_numpy(float), pairs[name][True].to_numpy(float)
            low, high = t_interval(early - full)
            shown.append(
                {
                    "rows": number, "measure": name, "to the end": full.mean(), "stopped early": early.mean(),
                    "difference": (early - full).mean(), "low": low, "high": high,
                }
            )  # fmt: skip
    return pd.DataFrame(shown)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the means and differences, and write all values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders in which phase 2 is done")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 500, 2400], help="threat-free rows, at most all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--min-steps", type=int, default=BiGANDetector().min_steps)
    parser.add_argument("--out", type=Path, help="CSV file for all values")
    options = parser.parse_args(argv)
    table = pd.DataFrame(
        [one for run in options.runs for one in compare(run, options.rows, options.seeds, options.min_steps)]
    )
    print(differences(table).round(4).to_string(index=False))
    print(library_versions() | hardware())
    if options.out:
        with atomic_path(options.out) as path:
            table.round(4).to_csv(path, index=False)


if __name__ == "__main__":
    main()
