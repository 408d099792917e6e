"""Whether simulated or projected scans with threats can be told from others without looking at the threats.

python benchmarks/simulator_shortcuts.py --positives 600 --size 256 --seeds 3
python benchmarks/simulator_shortcuts.py --data PROJECTED... --out shortcuts.csv

Simulates as many threat-free scans as scans with threats, under the indices and labels of a simulated data set, and
trains gradient boosting and logistic regression on half of them with one kind of feature that knows no shapes. The
AUC on the other half must be at most 0.60. It need not be 0.50: a threat has a size, a mass and a colour of its own.
With --data, the halves are the training and the test list 10 of folders in SIXray's layout, one for each seed.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.simulate import Scan
from gbad.data.simulate.dataset import numbered_scan
from gbad.data.simulate.physics import WHITE_LEVEL, effective_atomic_number
from gbad.data.sixray_writer import JPEG_QUALITY, encode_image
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import atomic_path

REQUIRED = 0.60
METAL = 16.0  # effective atomic number from which matter counts as metal
THIN = 0.15  # optical depth below which the atomic number is mostly noise

DataSet = tuple[list[dict[str, np.ndarray]], np.ndarray, np.ndarray]
"""Features of n images by kind, whether they show a threat (int, n), and which of them to train on (bool, n)."""

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "gradient boosting": lambda: HistGradientBoostingClassifier(
        max_iter=60, min_samples_leaf=10, l2_regularization=1.0, random_state=0
    ),
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
}


def image_features(jpeg: bytes) -> dict[str, np.ndarray]:
    """Features of an image file by kind.

    Parameters
    ----------
    jpeg : bytes
        Content of the file.

    Returns
    -------
    dict of str to ndarray of shape (n_features,)
        Histograms are square roots of shares of the pixels. Metal: share of the pixels that are blue (hue 165 to 300
        degrees, saturation above 40 and value of 70 or more, both out of 255).
    """
    with Image.open(io.BytesIO(jpeg)) as picture:
        rgb, hsv = np.asarray(picture), np.asarray(picture.convert("HSV"))
    height, width, _ = rgb.shape
    codes = (rgb.reshape(-1, 3) >> 5).astype(np.intp) @ [64, 8, 1]
    channels = [np.bincount(hsv[..., k].ravel() >> 3, minlength=32) for k in range(3)]
    hue, saturation, value = np.moveaxis(hsv, 2, 0)
    blue = (hue * (360 / 256) >= 165) & (hue * (360 / 256) < 300) & (saturation > 40) & (value >= 70)
    return {
        "RGB histogram, 8 x 8 x 8": np.sqrt(np.bincount(codes, minlength=512) / codes.size),
        "HSV histograms, 3 x 32": np.sqrt(np.concatenate(channels) / codes.size),
        "width, height, area": np.array([width, height, width * height], dtype=float),
        f"JPEG file size, quality {JPEG_QUALITY}": np.array([len(jpeg)], dtype=float),
        "metal share, blue in the picture": np.array([blue.mean()]),
    }


def scan_features(scan: Scan) -> dict[str, np.ndarray]:
    """Features of a simulated scan by kind: those of its file, and the share of metal in the raw channels.

    Metal has an effective atomic number of `METAL` or more; each channel is averaged over 3 x 3 pixels with its
    logarithm taken before.
    """
    return image_features(encode_image(scan.image)) | {"metal share, raw channels": np.array([_metal(scan.raw).mean()])}


def _metal(raw: np.ndarray) -> np.ndarray:
    """Mask of the pixels of metal, without the outermost row and column on each side."""
    depth = -np.log(np.minimum(raw, WHITE_LEVEL).astype(float) / WHITE_LEVEL)
    height, width = depth.shape[1:]
    low, high = sum(depth[:, r : height - 2 + r, c : width - 2 + c] for r in range(3) for c in range(3)) / 9
    return (effective_atomic_number(low, high) >= METAL) & ((low + high) / 2 > THIN)


def simulated_features(seed: int, numbers: range, positive: bool, size: int) -> list[dict[str, np.ndarray]]:
    """Simulate scans as `gbad.data.simulate.simulate_dataset` does, and keep their features.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    numbers : range
        Numbers of the images, from 1.
    positive : bool
        Whether they hold threats.
    size : int
        Longer side in pixels.

    Returns
    -------
    list of dict
        As in `scan_features`, one for each number.
    """
    return [scan_features(numbered_scan(seed, number, positive, size)) for number in numbers]


def simulated(options: argparse.Namespace) -> list[DataSet]:
    """Features of one simulated data set for each seed."""
    stretches = [range(start, min(start + 25, options.positives + 1)) for start in range(1, options.positives + 1, 25)]
    jobs = [(seed, part, kind) for seed in range(options.seeds) for kind in (True, False) for part in stretches]
    run = Parallel(n_jobs=options.workers)
    done = run(delayed(simulated_features)(*job, options.size) for job in jobs)
    truth = np.repeat([1, 0], options.positives)
    train = np.tile(np.arange(options.positives) < options.positives // 2, 2)
    return [
        ([found for job, part in zip(jobs, done, strict=True) if job[0] == seed for found in part], truth, train)
        for seed in range(options.seeds)
    ]


def stored(folder: Path) -> DataSet:
    """Features of the images of a folder in SIXray's layout."""
    lists = [read_sixray(folder, 10, part) for part in ("train", "test")]
    paths = [path for part in lists for path in image_paths(folder, part.names)]
    truth = np.concatenate([part.positive for part in lists]).astype(int)
    return [image_features(path.read_bytes()) for path in paths], truth, np.arange(len(truth)) < len(lists[0])


def bootstrap_auc(tests: list[tuple[np.ndarray, np.ndarray]], resamples: int) -> list[float]:
    """95 % interval of the mean AUC over the seeds.

    Parameters
    ----------
    tests : list of (truth, scores)
        Of the test half of each seed. Positives and negatives are drawn with replacement apart.
    resamples : int
        Number of resamples.

    Returns
    -------
    list of float
        Lower and upper end. Chance of the test images only: the classifiers are not trained again.
    """
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        aucs = []
        for truth, scores in tests:
            drawn = np.concatenate([rng.choice(np.flatnonzero(truth == k), (truth == k).sum()) for k in (0, 1)])
            aucs.append(roc_auc_score(truth[drawn], scores[drawn]))
        means.append(np.mean(aucs))
    return np.quantile(means, [0.025, 0.975]).tolist()


def main() -> None:
    """Simulate, train and test; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positives", type=int, default=600, help="scans with threats, and as many without")
    parser.add_argument("--data", type=Path, nargs="+", help="folders in SIXray's layout, instead of simulated scans")
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels")
    parser.add_argument("--seeds", type=int, default=3, help="data sets with the seeds 0, 1, ...")
    parser.add_argument("--resamples", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/simulator/shortcuts.csv"))
    options = parser.parse_args()

    sets = [stored(folder) for folder in options.data] if options.data else simulated(options)

    rows = []
    for kind in sets[0][0][0]:
        tests: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in CLASSIFIERS}
        for found, truth, train in sets:
            values = np.array([each[kind] for each in found])
            for name, make in CLASSIFIERS.items():
                model = make().fit(values[train], truth[train])
                tests[name].append((truth[~train], model.predict_proba(values[~train])[:, 1]))
        aucs = {name: [float(roc_auc_score(*test)) for test in tests[name]] for name in tests}
        best = max(aucs, key=lambda name: np.mean(aucs[name]))
        low, high = bootstrap_auc(tests[best], options.resamples)
        rows.append(
            {"feature": kind, "classifier": best, "AUC": float(np.mean(aucs[best])), "95 % low": low, "95 % high": high}
            | {"lowest seed": min(aucs[best]), "highest seed": max(aucs[best])}
            | {f"at most {REQUIRED:.2f}": "yes" if np.mean(aucs[best]) <= REQUIRED else "no"}
        )

    made_with = ", ".join(f"{name} {value}" for name, value in (library_versions() | hardware()).items())
    if options.data:
        counts = f"{int(train.sum()):,} training and {int((~train).sum()):,} test images, {len(sets)} folders"
    else:
        counts = f"{options.positives} + {options.positives} scans, {options.size} px, {options.seeds} seeds"
    settings = f"{counts}; {made_with}"
    with atomic_path(options.out) as path:
        pd.DataFrame(rows).round(4).assign(made_with=settings).to_csv(path, index=False)
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()) + " |"
        )
    print(f"\n{settings}")


if __name__ == "__main__":
    main()
