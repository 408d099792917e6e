"""Speed and memory with and without `gbad.runtime.allocator.keep_freed_memory`, in one process.

python benchmarks/allocator_speed.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from table import finish, row

from gbad.phase1_classifier import build_classifier, classifier_from_state, classifier_state
from gbad.runtime.allocator import keep_freed_memory


def rates(work: Callable[[], object], images: int, rounds: int) -> list[float]:
    """Images per second of each of `rounds` calls, after one to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return [images / each for each in seconds]


def largest_memory() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Time scoring and training before and after the call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)

    model, _ = build_classifier(
        options.backbone, 5, architecture="fpn", pretrained=False, weights=None, frozen_stages=0, frozen_norm=False,
        seed=0, pooling="max", fusion="hidden", fpn_width=64, head_width=64, position_weight=0.0,
    )  # fmt: skip
    model = model.to(memory_format=torch.channels_last).train()
    fixed = classifier_from_state(classifier_state(model))
    images = 255 * torch.rand(64, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.zeros(32, 5)

    def score(count: int) -> None:
        with torch.inference_mode():
            fixed(images[:count])

    def train() -> None:
        torch.autograd.backward(model.loss(images[:32], labels))

    work = {"score 32 at a time": (lambda: score(32), 32), "score 64 at a time": (lambda: score(64), 64),
            "train 32 at a time": (train, 32)}  # fmt: skip
    before = {name: rates(*job, options.rounds) for name, job in work.items()}
    memory = largest_memory()
    kept = keep_freed_memory()
    rows = []
    for name, job in work.items():
        after = rates(*job, options.rounds)
        rows.append(row(f"{name}, memory given back", "images/s", before[name]))
        rows.append(row(f"{name}, memory kept", "images/s", after))
        ratios = [each / statistics.median(before[name]) for each in after]
        rows.append(row(f"{name}, kept to given back", "x", ratios))
    rows.append(row("largest memory, given back", "MiB", [memory]))
    rows.append(row("largest memory, kept", "MiB", [largest_memory()]))
    if not kept:
        print("memory could not be kept: no glibc")
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
