"""Speed of decoding JPEGs of about 1000 px to the size of the network, relative to Pillow's open, convert, resize.

python benchmarks/decode_speed.py

One thread reads simulated bags from the disk's cache. gbad also refuses damaged files, which Pillow does not.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from table import finish, row

from gbad.data.arrays import Pixels
from gbad.data.images import read_image
from gbad.data.simulate import simulate_dataset

LEAST = 2.0  # times Pillow's rate


def by_pillow(path: Path, size: int) -> Pixels:
    """Open, convert and resize as gbad does, bilinearly, but from all pixels of the file."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def seconds_of(read: Callable[[Path, int], Pixels], paths: Sequence[Path], size: int) -> float:
    """Time the reading of all files, in seconds."""
    begun = time.perf_counter()
    for path in paths:
        read(path, size)
    return time.perf_counter() - begun


def likeness(paths: Sequence[Path], size: int) -> float:
    """Peak signal-to-noise ratio between both readings of the files, in dB."""
    theirs, own = (np.stack([read(path, size) for path in paths]).astype(float) for read in (by_pillow, read_image))
    return 10 * math.log10(255**2 / max(float(np.mean((theirs - own) ** 2)), 1e-12))


def main(argv: Sequence[str] | None = None) -> int:
    """Time both in turn, in several rounds, so that noise of the machine affects both alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--file-size", type=int, default=1000, help="longer side of the files in pixels")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        simulate_dataset(
            folder, train_positives=0, test_positives=1, negatives_per_positive=1,
            test_negatives_per_positive=options.images - 1, size=options.file_size, seed=3,
        )  # fmt: skip
        paths = sorted(Path(folder, "JPEGImage").iterdir())
        ratios = []
        for round_ in range(options.rounds + 1):
            pillow, own = (seconds_of(read, paths, options.size) for read in (by_pillow, read_image))
            if round_:  # the first round reads the files from the disk
                ratios.append(pillow / own)
        alike = likeness(paths, options.size)
    title = f"{len(paths)} JPEGs of {options.file_size} px to {options.size} px"
    return finish(
        [
            row(f"decoding, to Pillow ({title})", "x", ratios, at_least=LEAST),
            row("decoding, likeness to Pillow's pictures", "dB", [alike]),
        ],
        options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
