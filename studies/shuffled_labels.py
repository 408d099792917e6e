"""Train GBAD on shuffled labels: its average precision must be the prevalence, as of random scores.

python studies/shuffled_labels.py --out runs/shuffled --seed 1
python studies/shuffled_labels.py --out runs/shuffled-benchmark --data runs/benchmark/data

The first command trains with the demonstration's settings and data, the second with the settings of the small benchmark
on SIXray10 of a folder.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from gbad.benchmarks.paper.run import run_benchmark
from gbad.benchmarks.paper.scales import scale_of
from gbad.cli.terminal import ap_table
from gbad.data.labels import list_path, read_sixray, write_list
from gbad.pipeline import load
from gbad.runtime.allocator import keep_freed_memory
from gbad.storage.files import atomic_path
from gbad.training.run_folder import start_run
from gbad.training.settings import Settings
from gbad.workflows.demo import SUBSET, demo_settings, simulate_demo_data
from gbad.workflows.evaluate import evaluate
from gbad.workflows.train import train


def shuffle(data: Path, subset: int, seed: int) -> None:
    """Give the training images each other's labels."""
    truth = read_sixray(data, subset, "train")
    order = np.random.default_rng(seed).permutation(len(truth.names))
    write_list(replace(truth, labels=truth.labels[order]), list_path(data, subset, "train"))


def as_demo(out: Path, data: Path, settings: Settings) -> dict[str, Any]:
    """Shuffle the training list of a data set, train, and evaluate on the true test list."""
    shuffle(data, SUBSET, settings.random_state)
    train(start_run(out, data, SUBSET, settings), show_progress=True)
    metrics = evaluate(load(out / "pipeline.joblib"), data, SUBSET, out)
    Console().print(ap_table(metrics))
    return metrics


def shuffled_copy(out: Path, data: Path, seed: int) -> Path:
    """Copy the lists of SIXray10 with the training labels shuffled; the images stay where they are."""
    copy = out / f"data-seed{seed}"
    if not copy.exists():
        with atomic_path(copy) as folder:
            shutil.copytree(data / "ImageSet" / "10", folder / "ImageSet" / "10")
            (folder / "JPEGImage").symlink_to((data / "JPEGImage").resolve(), target_is_directory=True)
            shuffle(folder, 10, seed)
    return copy


def as_benchmark(out: Path, data: Path, seed: int) -> None:
    """Shuffle a copy of the lists, train and evaluate as `gbad benchmark --scale small` does."""
    shuffled = shuffled_copy(out, data, seed)
    run_benchmark(
        out, scale_of("small"), data=shuffled, methods=["gbad", "gbad_ungated"], seeds=[seed], say=print,
        show_progress=True,
    )  # fmt: skip
    test = read_sixray(shuffled, 10, "test")
    prevalence = pd.Series(test.labels.mean(axis=0), test.classes)
    prevalence["mean"] = prevalence.mean()
    found = pd.read_csv(out / "results" / "results.csv").pivot_table(index="class", columns="method", values="ap")
    print((100 * found.assign(prevalence=prevalence)).round(1))


def main(argv: Sequence[str] | None = None) -> None:
    """Train on shuffled labels, and print average precision beside prevalence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/shuffled"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="folder of gbad benchmark, in SIXray's layout")
    options = parser.parse_args(argv)
    keep_freed_memory()
    if options.data is None:
        simulate_demo_data(options.out / "data", options.seed)
        as_demo(options.out, options.out / "data", demo_settings(options.seed))
    else:
        as_benchmark(options.out, options.data, options.seed)


if __name__ == "__main__":
    main()
