"""A list of SIXray's full size: seconds to read it, to start a run on it and to open that again, and peak memory.

python benchmarks/list_speed.py --rows 1000000

The files are small JPEGs with different contents, in numbered folders as SIXray has them; none is decoded here. They
take some 4 GB and minutes to write: ``--data FOLDER`` keeps them for another time. Each step has a process of its own.
Not part of ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from table import finish, row

from gbad.data.images import image_paths
from gbad.data.labels import SIXRAY_CLASSES, LabelList, list_path, read_sixray, write_list
from gbad.training.run_folder import open_run, start_run
from gbad.training.settings import Settings

IN_FOLDER = 100_000
SETTINGS = Settings(size=64, start="imagenet")
MOST_SECONDS, MOST_MIB = 60, 3072


def make_files(data: Path, rows: int) -> None:
    """Write a training list of so many rows, one in a thousand with a threat, and an image for each."""
    rng = np.random.default_rng(0)
    buffer = BytesIO()
    Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(buffer, "JPEG")
    paddings = rng.integers(0, 3000, rows)
    for start in range(0, rows, IN_FOLDER):
        folder = data / "JPEGImage" / f"{start // IN_FOLDER:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(start, min(start + IN_FOLDER, rows)):
            # Behind its end, a JPEG may have anything: here what makes it another file.
            (folder / f"P{number:07d}.jpg").write_bytes(
                buffer.getvalue() + b"%d" % number + bytes(int(paddings[number]))
            )
    labels = np.zeros((rows, len(SIXRAY_CLASSES)), np.uint8)
    shown = rng.choice(rows, max(5, rows // 1000), replace=False)
    labels[shown, rng.integers(0, len(SIXRAY_CLASSES), len(shown))] = 1
    names = tuple(f"P{number:07d}" for number in range(rows))
    write_list(LabelList(names, labels, SIXRAY_CLASSES), list_path(data, 10, "train"))


def read(data: Path, run: Path) -> None:
    """Read the list, and find the files."""
    image_paths(data, read_sixray(data, 10, "train").names)


def start(data: Path, run: Path) -> None:
    """Begin a run: as `read`, then divide the list and look for files with the same bytes."""
    start_run(run, data, 10, SETTINGS)


def again(data: Path, run: Path) -> None:
    """Open the run."""
    open_run(run)


STEPS: dict[str, Callable[[Path, Path], None]] = {"read the list": read, "start a run": start, "open a run": again}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files, then take the steps in turn, in several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder for the files, kept; default: a temporary one")
    parser.add_argument("--cold", action="store_true", help="with no file in memory: needs Linux, and root")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "DATA", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.step:
        step, data, run = options.step
        begun = time.perf_counter()
        STEPS[step](Path(data), Path(run))
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak": peak}))
        return 0
    found: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
    with tempfile.TemporaryDirectory() as temporary:
        data = options.data or Path(temporary) / "data"
        if not list_path(data, 10, "train").exists():
            make_files(data, options.rows)
        for number in range(options.rounds):
            for step, of_step in found.items():
                if options.cold:
                    os.sync()
                    Path("/proc/sys/vm/drop_caches").write_text("3")
                command = [sys.executable, __file__, "--step", step, data, Path(temporary) / f"run{number}"]
                done = subprocess.run(command, capture_output=True, check=True, text=True)
                of_step.append(json.loads(done.stdout))
    title = ", no file in memory" if options.cold else ""
    rows = [
        row(f"{step}{title}", "s", [one["seconds"] for one in of_step], at_most=MOST_SECONDS)
        for step, of_step in found.items()
    ]
    rows += [
        row(f"{step}{title}, memory", "MiB", [one["peak"] for one in of_step], at_most=MOST_MIB)
        for step, of_step in found.items()
    ]
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
