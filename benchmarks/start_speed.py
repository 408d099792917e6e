"""How long commands take to start: seconds of a new process.

python benchmarks/start_speed.py

The first score is that of `gbad predict` on one simulated bag by the model that comes with gbad, from the shell to the
end of the process. Run it on an idle machine: a first round warms the disk's cache up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from table import finish, row

from gbad.data.simulate import simulate_dataset


def commands(folder: Path) -> dict[str, tuple[list[str], float, int]]:
    """Command line of each start, the most seconds that are asked for, and its exit status; a bag in `folder`."""
    simulate_dataset(folder / "bags", 10, train_positives=1, test_positives=1, negatives_per_positive=1, size=512)
    bag = next((folder / "bags" / "JPEGImage").glob("P*.jpg"))
    gbad = [sys.executable, "-m", "gbad.cli"]
    return {
        "import gbad": ([sys.executable, "-c", "import gbad"], 0.1, 0),
        "gbad --help": ([*gbad, "--help"], 0.3, 0),
        "a wrong path": ([*gbad, "predict", str(folder / "nothing.joblib"), str(bag)], 1.0, 1),
        "first score": ([*gbad, "predict", str(bag), "--out", str(folder / "scores.csv"), "--quiet"], 3.0, 0),
    }


def seconds_of(command: Sequence[str], status: int) -> float:
    """Time a process from its start to its end; RuntimeError if it ends otherwise than it should."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    elapsed = time.perf_counter() - begun
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}, not {status}: {done.stderr[-500:]}")
    return elapsed


def main(argv: Sequence[str] | None = None) -> int:
    """Time all commands in turn, in several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        asked = commands(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in asked}
        for round_ in range(options.rounds + 1):
            for name, (command, _, status) in asked.items():
                elapsed = seconds_of(command, status)
                if round_:  # the first round reads the files from the disk
                    seconds[name].append(elapsed)
    rows = [row(name, "s", seconds[name], at_most=most) for name, (_, most, _) in asked.items()]
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
