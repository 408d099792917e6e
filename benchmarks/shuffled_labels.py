"""The demonstration trained on shuffled labels: its average precision must be that of chance, the prevalence.

python benchmarks/shuffled_labels.py --out runs/shuffled --seed 1
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from gbad.cli import ap_table
from gbad.data.labels import list_path, read_sixray, write_list
from gbad.data.simulate import simulate_dataset
from gbad.demo import SIMULATION, SUBSET, demo_pipeline
from gbad.persistence import load
from gbad.runs import finish, start_run
from gbad.scoring import evaluate_list


def main() -> None:
    """Simulate, give the training images each other's labels, train, evaluate on the true test list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/shuffled"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    data = options.out / "data"
    simulate_dataset(data, SUBSET, **SIMULATION, seed=options.seed, show_progress=True)
    truth = read_sixray(data, SUBSET, "train")
    order = np.random.default_rng(options.seed).permutation(len(truth.names))
    write_list(replace(truth, labels=truth.labels[order]), list_path(data, SUBSET, "train"))
    finish(start_run(options.out, data, SUBSET, demo_pipeline(options.seed)), show_progress=True)
    Console().print(ap_table(evaluate_list(load(options.out / "pipeline.joblib"), data, SUBSET, options.out)))


if __name__ == "__main__":
    main()
