"""Test whether features without shapes tell simulated or projected scans with threats from threat-free scans.

python studies/simulator_shortcuts.py --positives 600 --size 256 --seeds 3
python studies/simulator_shortcuts.py --data PROJECTED... --out shortcuts.csv

Simulates as many threat-free scans as scans with threats, numbered as in a simulated data set. Gradient boosting and
logistic regression learn on half of the scans from one set of features that hold no shapes. The AUC on the other half
must be at most 0.60. It need not be 0.50, since a threat has a size, a mass and a colour. With --data, the halves are
the training and the test list of subset 10 in folders in SIXray's layout, one folder for each seed.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from gbad.evaluation.bootstrap import percentiles
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import atomic_path

REQUIRED = 0.60
METAL = 16.0  # effective atomic number from which matter counts as metal
THIN = 0.15  # optical depth below which the atomic number is mostly noise

Features = dict[str, npt.NDArray[np.float64]]
"""Vectors of one image by the names of the sets of features."""

Test = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Truth (0 or 1) and score of each test image."""

DataSet = tuple[list[Features], npt.NDArray[np.int64], npt.NDArray[np.bool_]]
"""Features of n images; 1 for an image with a threat, else 0 (n); True for the images to train on (n)."""

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "gradient boosting": lambda: HistGradientBoostingClassifier(
        max_iter=60, min_samples_leaf=10, l2_regularization=1.0, random_state=0
    ),
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
}


def image_features(jpeg: bytes) -> Features:
    """Compute the features of an image file.

    Parameters
    ----------
    jpeg : bytes
        Content of the file.

    Returns
    -------
    dict of str to ndarray of shape (n_features,)
        Histograms hold square roots of shares of the pixels. Metal: share of blue pixels (hue 165 to 300 degrees,
        saturation above 40 and value from 70, both of 255).
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


def scan_features(scan: Scan) -> Features:
    """Compute the features of a simulated scan: those of its file, and the share of metal in the raw channels.

    Metal has an effective atomic number of `METAL` or more. The logarithm of each channel is averaged over 3 x 3 pixels
    first.
    """
    return image_features(encode_image(scan.image)) | {"metal share, raw channels": np.array([_metal(scan.raw).mean()])}


def _metal(raw: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Mask of the pixels of metal, without the outermost row and column on each side."""
    depth = -np.log(np.minimum(raw, WHITE_LEVEL).astype(float) / WHITE_LEVEL)
    height, width = depth.shape[1:]
    shifted = [depth[:, r : height - 2 + r, c : width - 2 + c] for r in range(3) for c in range(3)]
    low, high = np.sum(shifted, axis=0) / 9
    return np.asarray((effective_atomic_number(low, high) >= METAL) & ((low + high) / 2 > THIN), dtype=bool)


def simulated_features(seed: int, numbers: range, positive: bool, size: int) -> list[Features]:
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
    """Compute the features of one simulated data set for each seed."""
    stretches = [range(start, min(start + 25, options.positives + 1)) for start in range(1, options.positives + 1, 25)]
    jobs = [(seed, part, threat) for seed in range(options.seeds) for threat in (True, False) for part in stretches]
    run = Parallel(n_jobs=options.workers)
    done = run(delayed(simulated_features)(*job, options.size) for job in jobs)
    truth = np.repeat([1, 0], options.positives)
    train = np.tile(np.arange(options.positives) < options.positives // 2, 2)
    return [
        ([found for job, part in zip(jobs, done, strict=True) if job[0] == seed for found in part], truth, train)
        for seed in range(options.seeds)
    ]


def stored(folder: Path) -> DataSet:
    """Compute the features of all images of a folder in SIXray's layout."""
    lists = [read_sixray(folder, 10, part) for part in ("train", "test")]
    paths = [path for part in lists for path in image_paths(folder, part.names)]
    truth = np.concatenate([part.positive for part in lists]).astype(int)
    return [image_features(path.read_bytes()) for path in paths], truth, np.arange(len(truth)) < len(lists[0])


def bootstrap_auc(tests: Sequence[Test], resamples: int) -> tuple[float, float]:
    """95 % interval of the mean AUC over the seeds.

    Parameters
    ----------
    tests : sequence of (truth, scores)
        Test half of each seed. Positives and negatives are drawn with replacement, separately.
    resamples : int
        Number of resamples.

    Returns
    -------
    low, high : float
        Chance of the test images only, since the classifiers are not trained again.
    """
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        aucs = []
        for truth, scores in tests:
            drawn = np.concatenate([rng.choice(np.flatnonzero(truth == k), (truth == k).sum()) for k in (0, 1)])
            aucs.append(roc_auc_score(truth[drawn], scores[drawn]))
        means.append(np.mean(aucs))
    return percentiles(means)


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate, train and test; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positives", type=int, default=600, help="scans with threats, and as many without")
    parser.add_argument("--data", type=Path, nargs="+", help="folders in SIXray's layout instead of simulated scans")
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels")
    parser.add_argument("--seeds", type=int, default=3, help="data sets with the seeds 0, 1, ...")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap resamples")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/simulator/shortcuts.csv"))
    options = parser.parse_args(argv)

    sets = [stored(folder) for folder in options.data] if options.data else simulated(options)

    rows = []
    for name_of_set in sets[0][0][0]:
        tests: dict[str, list[Test]] = {name: [] for name in CLASSIFIERS}
        for found, truth, train in sets:
            values = np.array([each[name_of_set] for each in found])
            for name, make in CLASSIFIERS.items():
                model = make().fit(values[train], truth[train])
                tests[name].append((truth[~train], model.predict_proba(values[~train])[:, 1]))
        aucs = {name: [float(roc_auc_score(*test)) for test in tests[name]] for name in tests}
        best = max(aucs, key=lambda name: np.mean(aucs[name]))
        low, high = bootstrap_auc(tests[best], options.resamples)
        rows.append(
            {
                "feature": name_of_set,
                "classifier": best,
                "AUC": float(np.mean(aucs[best])),
                "95 % low": low,
                "95 % high": high,
            }
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
