"""GBAD trained on shuffled labels: its average precision must be that of chance, the prevalence.

python studies/shuffled_labels.py --out runs/shuffled --seed 1
python studies/shuffled_labels.py --out runs/shuffled-benchmark --data runs/benchmark/data

The first trains the demonstration's pipeline on its data, the second the small benchmark's on SIXray10 of a folder.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from gbad.benchmarks.paper.run import run_benchmark
from gbad.benchmarks.paper.scales import scale_of
from gbad.cli.terminal import ap_table
from gbad.data.labels import list_path, read_sixray, write_list
from gbad.data.simulate import simulate_dataset
from gbad.pipeline import load
from gbad.storage.files import atomic_path
from gbad.training.run_folder import start_run
from gbad.workflows.demo import SIMULATION, SUBSET, demo_settings
from gbad.workflows.evaluate import evaluate
from gbad.workflows.train import train


def shuffle(data: Path, subset: int, seed: int) -> None:
    """Give the training images each other's labels."""
    truth = read_sixray(data, subset, "train")
    order = np.random.default_rng(seed).permutation(len(truth.names))
    write_list(replace(truth, labels=truth.labels[order]), list_path(data, subset, "train"))


def of_demo(out: Path, seed: int) -> None:
    """Simulate, shuffle, train, evaluate on the true test list."""
    simulate_dataset(out / "data", SUBSET, **SIMULATION, seed=seed, show_progress=True)
    shuffle(out / "data", SUBSET, seed)
    train(start_run(out, out / "data", SUBSET, demo_settings(seed)), show_progress=True)
    Console().print(ap_table(evaluate(load(out / "pipeline.joblib"), out / "data", SUBSET, out)))


def of_benchmark(out: Path, seed: int, data: Path) -> None:
    """Shuffle a copy of the lists, train and evaluate as `gbad benchmark --scale small` does."""
    shuffled = out / f"data-seed{seed}"
    if not shuffled.exists():
        with atomic_path(shuffled) as folder:
            shutil.copytree(data / "ImageSet" / "10", folder / "ImageSet" / "10")
            (folder / "JPEGImage").symlink_to((data / "JPEGImage").resolve(), target_is_directory=True)
            shuffle(folder, 10, seed)
    run_benchmark(
        out, scale_of("small"), data=shuffled, methods=["gbad", "gbad_ungated"], seeds=[seed], say=print,
        show_progress=True,
    )  # fmt: skip
    test = read_sixray(shuffled, 10, "test")
    prevalence = pd.Series(test.labels.mean(axis=0), test.classes)
    prevalence["mean"] = prevalence.mean()
    found = pd.read_csv(out / "results" / "results.csv").pivot_table(index="class", columns="method", values="ap")
    print((100 * found.assign(prevalence=prevalence)).round(1))


def main() -> None:
    """Train on shuffled labels and print average precision beside prevalence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/shuffled"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="folder of gbad benchmark, in SIXray's layout")
    options = parser.parse_args()
    if options.data is None:
        of_demo(options.out, options.seed)
    else:
        of_benchmark(options.out, options.seed, options.data)


if __name__ == "__main__":
    main()
