"""The second look on real threats in real bags: project them, train and score GBAD with and without it.

python studies/second_look_projected.py SIXRAY_SAMPLE --file-size 640 --size 192 --seeds 0 1 2 --out runs/projected-640

The test list has other threats and other bags than the training list, and groups.csv keeps the validation part apart as
well. SIXray100 and SIXray1000 count each threat-free test image ten and a hundred times. A killed study continues;
several processes may share a folder, each with other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gbad.benchmarks.paper.data import SUBSETS_FILE
from gbad.benchmarks.paper.run import run_benchmark
from gbad.benchmarks.paper.scales import scale_of
from gbad.data.project import project_dataset
from gbad.runtime.allocator import keep_freed_memory
from gbad.storage.files import write_json

TRAIN_POSITIVES, TRAIN_RATIO = 1200, 5
TEST_POSITIVES, TEST_RATIO = 300, 10
METHODS = ("gbad_ungated", "gbad_heads", "gbad_first_look", "gbad")


def project(sample: Path, out: Path, file_size: int, positives: tuple[int, int]) -> None:
    """Project threats, unless that is done, and say how the test list stands for three subsets."""
    project_dataset(
        sample, out, subset=10, train_positives=positives[0], test_positives=positives[1],
        negatives_per_positive=TRAIN_RATIO, test_negatives_per_positive=TEST_RATIO, size=file_size, show_progress=True,
    )  # fmt: skip
    subsets = [
        {"name": str(ratio), "list": "10", "negative_weight": ratio // TEST_RATIO, "ratio": ratio}
        for ratio in (10, 100, 1000)
    ]
    note = (
        f"One test list of {positives[1]} images with threats and {TEST_RATIO * positives[1]:,} without: SIXray100 and "
        "SIXray1000 count each threat-free image ten and a hundred times."
    )
    write_json(out / SUBSETS_FILE, {"subsets": subsets, "notes": [note]})


def main(argv: Sequence[str] | None = None) -> None:
    """Project, train, score, and write tables to OUT/results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, help="folder in SIXray's layout with threats/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--file-size", type=int, default=640, help="longer side of the projected images in pixels")
    parser.add_argument("--size", type=int, default=192, help="side of the images of the first look in pixels")
    parser.add_argument("--epochs", type=int, default=9, help="of phase 1")
    parser.add_argument("--region-epochs", type=int, default=6, help="of the second look")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--positives", type=int, nargs=2, default=[TRAIN_POSITIVES, TEST_POSITIVES])
    options = parser.parse_args(argv)
    keep_freed_memory()
    project(options.sample, options.out / "data", options.file_size, tuple(options.positives))
    run_benchmark(
        options.out, scale_of("twice"), data=options.out / "data", methods=METHODS, seeds=options.seeds,
        overrides={"size": options.size, "epochs": options.epochs, "region_epochs": options.region_epochs}, say=print,
        show_progress=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
