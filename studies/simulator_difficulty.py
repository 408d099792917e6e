"""Measure how hard the simulated subsets are, and how well a classifier of simulated bags ranks real bags.

python studies/simulator_difficulty.py --out runs/difficulty --real DATA

Trains a plain EfficientNet-Lite0 (or one with a pyramid, --architecture fpn) on a simulated, balanced training list for
each seed. (a) Its mAP on simulated SIXray10, 100 and 1000 test lists, beside ResNet-34 of Dumagpi et al. 2020 (74.8,
52.7, 33.3). The lists share their positives, and their negatives are nested. If there are fewer negatives than a list
needs, each counts several times (average precision with sample weights). (b) With --real, how it ranks the real images
with threats of a data set in SIXray's layout, class against class. (c) With --remove-threats, the control: the threats
are removed from the training images, and the labels stay.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logsumexp

from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.data.source import source_from_paths, stream
from gbad.evaluation.bootstrap import bootstrap_intervals
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase1_classifier import predict_batch
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.progress import progress_bar
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.training.phase1 import load_classifier
from gbad.training.run_folder import start_run
from gbad.training.settings import Settings
from gbad.workflows.train import train

PUBLISHED = {10: 74.8, 100: 52.7, 1000: 33.3}
"""mAP in percent of the plain ResNet-34 of Dumagpi et al. 2020 on SIXray, which are other data."""
TEST_SEED = 90_000


def train_phase1(options: argparse.Namespace, seed: int) -> Path:
    """Simulate a training set and train phase 1 on it. Finished parts are not made again."""
    folder = Path(options.out, f"seed{seed}")
    simulate_dataset(
        folder / "data", 10, options.train_positives, 0, options.negatives_per_positive, options.image_size,
        seed=seed, remove_threats=options.remove_threats, show_progress=True,
    )  # fmt: skip
    settings = Settings(
        backbone="efficientnet_lite0", start="imagenet", size=options.size, architecture=options.architecture,
        pooling="max", fusion="hidden", epochs=options.epochs, negatives="fresh", augmentation=options.augmentation,
        random_state=seed,
    )  # fmt: skip
    train(start_run(folder, folder / "data", 10, settings), last=1, show_progress=True)
    return folder


def scores(run: Path, paths: list[Path], size: int) -> npt.NDArray[np.float64]:
    """Compute the logits of images: float64 (n, C)."""
    network = load_classifier(run)
    source = source_from_paths(paths, size)
    parts = []
    with progress_bar("scoring", len(paths), show=True) as advance:
        for rows, images, errors in stream(source, np.arange(len(paths)), 64):
            for error in errors.values():
                raise error
            parts.append(predict_batch(network, images)[0])
            advance(len(rows))
    return np.concatenate(parts)


def difficulty(
    truth: npt.NDArray[np.uint8], logits: npt.NDArray[np.float64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """MAP in percent with a bootstrap interval, on nested lists of 10, 100 and 1,000 negatives per positive."""
    positive, negative = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(~truth.any(axis=1))
    found = {}
    for ratio, published in PUBLISHED.items():
        rows = np.concatenate([positive, negative[: ratio * len(positive)]])
        counts = ratio * len(positive) / (len(rows) - len(positive))
        weight = np.where(np.arange(len(rows)) < len(positive), 1.0, counts)
        per_class = average_precision_per_class(truth[rows], logits[rows], classes, sample_weight=weight)
        interval = bootstrap_intervals(
            truth[rows], {"cnn": logits[rows]}, classes, resamples=200, sample_weight=weight
        )["cnn"]["map"]
        found[str(ratio)] = {
            "each_negative_counts": counts,
            "map": round(100 * mean_average_precision(per_class), 1),
            "interval": [round(100 * bound, 1) for bound in interval],
            "ap": {name: round(100 * value, 1) for name, value in per_class.items()},
            "published_map_resnet34": published,
        }
    return found


def transfer(run: Path, data: Path, size: int) -> dict[str, Any]:
    """AP in percent of each class among the real images with threats, and its chance level.

    Images are ranked twice: by the logits, and by the log odds of a class against the other classes of the data. The
    second ranking leaves out how unusual an image is in general.
    """
    lists = [read_sixray(data, 10, part) for part in ("train", "test")]
    truth = np.concatenate([part.labels for part in lists])
    rows = np.flatnonzero(truth.any(axis=1))
    paths = [path for part in lists for path in image_paths(data, part.names)]
    logits = scores(run, [paths[row] for row in rows], size)
    truth = truth[rows]
    classes = lists[0].classes
    known = [name for name in classes if truth[:, classes.index(name)].any()]
    found: dict[str, Any] = {
        "images": len(truth),
        "chance": {name: round(100 * float(truth[:, classes.index(name)].mean()), 1) for name in known},
    }
    compared = np.zeros_like(logits)
    columns = [classes.index(name) for name in known]
    compared[:, columns] = relative(logits[:, columns])
    for prefix, values in (("", logits), ("relative_", compared)):
        per_class = average_precision_per_class(truth, values, classes)
        found[f"{prefix}macro_ap"] = round(100 * mean_average_precision(per_class), 1)
        found[f"{prefix}ap"] = {name: round(100 * per_class[name], 1) for name in known}
    return found


def relative(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log odds of each class against the other classes of the same row: float64 (n, C)."""
    others = [logsumexp(np.delete(logits, column, axis=1), axis=1) for column in range(logits.shape[1])]
    return np.asarray(logits - np.stack(others, axis=1))


def main(argv: Sequence[str] | None = None) -> None:
    """Train for each seed, evaluate, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/difficulty"))
    parser.add_argument("--results", type=Path, help="JSON file for the figures. Default: OUT/difficulty.json.")
    parser.add_argument("--real", type=Path, help="Real data in SIXray's layout.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--train-positives", type=int, default=1500)
    parser.add_argument("--negatives-per-positive", type=int, default=4)
    parser.add_argument("--test-positives", type=int, default=100)
    parser.add_argument("--test-ratio", type=int, default=100, help="Negatives per positive in the largest test list.")
    parser.add_argument("--architecture", choices=("plain", "fpn"), default="plain")
    parser.add_argument("--augmentation", choices=("standard", "strong"), default="standard")
    parser.add_argument("--image-size", type=int, default=192)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--remove-threats", action="store_true")
    options = parser.parse_args(argv)
    keep_freed_memory()
    found: dict[str, Any] = {"hardware": hardware(), "versions": library_versions()}
    test = None
    if options.test_positives:
        simulate_dataset(
            options.out / "test", options.test_ratio, 0, options.test_positives, size=options.image_size,
            seed=TEST_SEED, remove_threats=options.remove_threats, show_progress=True,
        )  # fmt: skip
        test = read_sixray(options.out / "test", options.test_ratio, "test")
    for seed in options.seeds:
        run = train_phase1(options, seed)
        result: dict[str, Any] = {}
        if test is not None:
            logits = scores(run, image_paths(options.out / "test", test.names), options.size)
            result["simulated"] = difficulty(test.labels, logits, test.classes)
        if options.real:
            result["real"] = transfer(run, options.real, options.size)
        found[f"seed {seed}"] = result
        print(json.dumps(result, indent=1))
    write_json(options.results or options.out / "difficulty.json", found)
    seeds = {seed: result for seed, result in found.items() if seed.startswith("seed")}
    maps = {
        seed: {f"simulated {ratio}": value["map"] for ratio, value in result.get("simulated", {}).items()}
        | ({"real": result["real"]["macro_ap"]} if "real" in result else {})
        for seed, result in seeds.items()
    }
    print(pd.DataFrame(maps).T.round(1).to_string())


if __name__ == "__main__":
    main()
