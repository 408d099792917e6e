"""Training beside other work: how fast a step is while a process spins on one core, by how threads wait.

python benchmarks/busy_speed.py

A step of EfficientNet-Lite0 at 192 px with a pyramid of 64. Each way of waiting has a process of its own, since OpenMP
reads it when PyTorch is imported. They take turns in each round, idle and beside the spinning process, so that noise of
the machine affects all of them alike. Ratios are to the idle rate of PyTorch as it is, in the same round. Exit status
1 if what is asked of the way that commands take is missed. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from table import finish, row

PLAIN, CHOSEN = "as PyTorch has it", "asleep"
WAYS = {
    PLAIN: {},
    CHOSEN: {"OMP_WAIT_POLICY": "passive"},  # what `wait_asleep` sets
    "spin 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
ASKED = {"idle": 0.97, "busy": 0.55}
"""Least share of the idle rate of PyTorch as it is: nothing lost when idle, up to noise, and beside other work."""

_OWN = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Run processes that do nothing but count, each on a core of its own if there are as many."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Trainer:
    """A process that takes steps when it is told to."""

    def __init__(self, environment: dict[str, str], options: Sequence[str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in _OWN}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--trainer", *options], env=kept | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._read()  # the network is built, and the first steps are done

    def rate(self, steps: int) -> float:
        """Images a second of some steps."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process that trains has ended with status {self.process.wait()}")
        return float(json.loads(line))

    def close(self) -> None:
        """End the process."""
        with self.process:  # closes its pipes, and waits
            self.process.kill()


def serve(size: int, batch_size: int, fpn_width: int) -> None:
    """Build a network, then take as many steps as each line of standard input says, and print images a second."""
    import torch
    from train_speed import step_seconds

    from gbad.phase1_classifier import build_classifier

    model, _ = build_classifier(
        "efficientnet_lite0", 5, architecture="fpn", pretrained=False, weights=None, frozen_stages=0,
        frozen_norm=False, seed=0, pooling="max", fusion="hidden", fpn_width=fpn_width, head_width=64,
        position_weight=0.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(batch_size, 3, size, size, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = (torch.rand(batch_size, 5, generator=generator) < 0.2).float()
    model = model.train().to(memory_format=torch.channels_last)

    def rate(steps: int) -> float:
        seconds = [step_seconds(model, images, labels, bfloat16=False) for _ in range(steps)]
        return batch_size * steps / sum(seconds)

    print(rate(2), flush=True)
    for line in sys.stdin:
        print(rate(int(line)), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps of a measurement")
    parser.add_argument("--busy", type=int, default=1, help="processes that spin")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--fpn-width", type=int, default=64)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help="of waiting")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    parser.add_argument("--trainer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.trainer:
        serve(options.size, options.batch_size, options.fpn_width)
        return 0
    names = dict.fromkeys([PLAIN, *options.ways])
    network = [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in ("size", "batch-size", "fpn-width")]
    trainers: dict[str, Trainer] = {}
    rates: dict[tuple[str, str], list[float]] = {(name, when): [] for name in names for when in ASKED}
    try:
        for name in names:
            trainers[name] = Trainer(WAYS[name], network)
        for _ in range(options.rounds):
            for name, trainer in trainers.items():
                rates[name, "idle"].append(trainer.rate(options.steps))
                with spinning(options.busy):
                    rates[name, "busy"].append(trainer.rate(options.steps))
    finally:
        for trainer in trainers.values():
            trainer.close()
    rows = []
    for name in names:
        rows.append(row(f"training, {name}, idle", "images/s", rates[name, "idle"]))
        for when, least in ASKED.items():
            ratios = [rate / plain for rate, plain in zip(rates[name, when], rates[PLAIN, "idle"], strict=True)]
            what = f"training, {name}, {when}, over {PLAIN} idle ({options.busy} of {os.cpu_count()} cores taken)"
            rows.append(row(what, "x", ratios, at_least=least if name == CHOSEN else math.nan))
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
