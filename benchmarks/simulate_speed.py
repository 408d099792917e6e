"""Speed of simulating a data set, writing of its files included.

python benchmarks/simulate_speed.py --images 600 --size 256

Images per second with one worker and with all cores; as a yardstick, the rate of reading the same images back, as any
training does; and the peak memory of this process and of its largest worker.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from joblib.externals.loky import get_reusable_executor
from table import finish, row

from gbad.data.images import read_image
from gbad.data.simulate import simulate_dataset


def images_per_second(images: int, size: int, workers: int, seed: int) -> tuple[float, float]:
    """Simulate `images` images, then read them back: images per second of each."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        simulate_dataset(
            folder,
            train_positives=images // 2,
            test_positives=0,
            negatives_per_positive=1,
            size=size,
            seed=seed,
            workers=workers,
        )
        written = time.perf_counter()
        files = sorted(Path(folder, "JPEGImage").iterdir())
        for file in files:
            read_image(file)
        return len(files) / (written - start), len(files) / (time.perf_counter() - written)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each rate once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    images, size = options.images, options.size
    cores = os.cpu_count() or 1
    images_per_second(min(images, 64), size, cores, seed=1)  # starts the worker processes
    one, read = images_per_second(images, size, 1, seed=0)
    every, _ = images_per_second(images, size, cores, seed=0)
    get_reusable_executor().shutdown(wait=True)  # the memory of workers is known when they have ended
    largest, of_workers = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    title = f"{images} images of {size} px"
    return finish(
        [
            row(f"simulating with one worker, {title}", "images/s", [one]),
            row(f"simulating on {cores} cores, {title}", "images/s", [every]),
            row(f"reading back, {title}", "images/s", [read]),
            row("largest memory of the process", "MiB", [largest]),
            row("largest memory of a worker", "MiB", [of_workers]),
        ],
        options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
