"""Speed and memory with and without `gbad.runtime.allocator.keep_freed_memory`, in one process.

python benchmarks/allocator_speed.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from gbad.phase1_classifier import build_classifier, classifier_from_state, classifier_state
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.versions import hardware, library_versions


def rate(work: Callable[[], object], images: int, rounds: int) -> float:
    """Images per second: the median of `rounds` calls after one to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return images / statistics.median(seconds)


def largest_memory() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Time scoring and training before and after the call, and print images per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=7)
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
    before = {name: rate(*job, options.rounds) for name, job in work.items()}
    memory = largest_memory()
    print("kept" if keep_freed_memory() else "could not be set: no glibc")
    print(f"{'':20}{'before':>12}{'after':>12}{'ratio':>8}   images/s")
    for name, job in work.items():
        after = rate(*job, options.rounds)
        print(f"{name:20}{before[name]:12.0f}{after:12.0f}{after / before[name]:8.2f}")
    print(f"largest memory: {memory:.0f} MiB before, {largest_memory():.0f} MiB after")
    print(library_versions() | hardware())


if __name__ == "__main__":
    main()
