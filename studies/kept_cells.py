"""Keep the scores of a benchmark's finished cells in few bytes, or put them back where a benchmark continues from them.

python studies/kept_cells.py keep runs/twice results/second_look/cells
python studies/kept_cells.py restore results/second_look/cells runs/twice

A kept cell has its scores of the validation part and of the test images, its costs and settings, and versions and
hardware of its run, but no network and no path. ``gbad benchmark --out runs/twice`` takes a cell that was put back as
done, so the cells of one benchmark can be computed on several machines. Scores are kept with 16 bits where their range
allows it: three decimal digits, far finer than seeds differ.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.benchmarks.store import load_arrays, save_arrays
from gbad.storage.files import atomic_path, read_json, write_json

DONE = "done.json"
FILES = ("validation.npz", "test-*/scores.npz", f"test-*/{DONE}", "run/run.json", DONE)

Array = npt.NDArray[Any]


def smaller(array: Array) -> Array:
    """Numbers with 16 bits, or 32 where 16 would be infinite; other types as they are."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if (np.isinf(half) == np.isinf(array)).all() else array.astype(np.float32)


def larger(array: Array) -> Array:
    """Numbers with 64 bits, as a benchmark has them; other types as they are."""
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


def copy_cells(source: Path, target: Path, change: Callable[[Array], Array]) -> list[str]:
    """Copy each finished cell of a folder that another has not yet; give their names."""
    copied = []
    for cell in sorted(source.iterdir()):
        tests = [*cell.glob("test-*")]
        finished = bool(tests) and all((folder / DONE).exists() for folder in (cell, *tests))
        if not finished or (target / cell.name).exists():
            continue
        with atomic_path(target / cell.name) as whole:
            for file in sorted(file for pattern in FILES for file in cell.glob(pattern)):
                new = whole / file.relative_to(cell)
                new.parent.mkdir(parents=True, exist_ok=True)
                if file.suffix == ".npz":
                    save_arrays(new, {name: change(array) for name, array in load_arrays(file).items()})
                elif file.name == "run.json":
                    write_json(new, {name: read_json(file)[name] for name in ("hardware", "versions")})
                else:
                    shutil.copy(file, new)
        copied.append(cell.name)
    return copied


def main(argv: Sequence[str] | None = None) -> None:
    """Copy cells, and name them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["keep", "restore"])
    parser.add_argument("source", type=Path, help="output folder of a benchmark, or folder of kept cells")
    parser.add_argument("target", type=Path, help="the other one")
    options = parser.parse_args(argv)
    if options.what == "keep":
        copied = copy_cells(options.source / "cells", options.target, smaller)
    else:
        copied = copy_cells(options.source, options.target / "cells", larger)
    print(f"{len(copied)} copied", *copied, sep="\n")


if __name__ == "__main__":
    main()
