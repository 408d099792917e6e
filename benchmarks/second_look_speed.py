"""What a second look costs in use: seconds of an image with it, relative to the first look alone.

python benchmarks/second_look_speed.py RUN/pipeline.joblib DATA --subset 10

Images are read from their files. Threat-free test images stand for the images in use.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.pipeline import GBADPipeline, load
from gbad.runtime.versions import hardware, library_versions


def seconds_of_image(pipeline: GBADPipeline, paths: Sequence[Path]) -> tuple[float, float]:
    """Time the scoring of images: seconds of an image, and the share of images that were looked at twice."""
    begun, twice = time.perf_counter(), 0
    for _, explanation, _ in pipeline.stream(pipeline.image_source(paths)):
        twice += int(explanation.looked_twice.sum())
    return (time.perf_counter() - begun) / len(paths), twice / len(paths)


def main(argv: Sequence[str] | None = None) -> None:
    """Time both in turn, in several rounds, so that noise of the machine affects both alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--subset", default="10")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    test = read_sixray(options.data, options.subset, "test")
    paths = image_paths(options.data, test.select(~test.positive).names)[: options.images]
    both, first = load(options.pipeline), load(options.pipeline)
    first.fitted_ = replace(first.check_fitted(), second=None)
    ratios, once, twice, share = [], [], [], 0.0
    for round_ in range(options.rounds + 1):
        alone, _ = seconds_of_image(first, paths)
        with_second, share = seconds_of_image(both, paths)
        if round_:  # the first round warms up
            once.append(alone)
            twice.append(with_second)
            ratios.append(with_second / alone)
    print(f"{len(paths)} threat-free images, {share:.1%} looked at twice, {options.rounds} rounds")
    print(f"first look alone  {1 / statistics.median(once):6.1f} images/s")
    print(f"both looks        {1 / statistics.median(twice):6.1f} images/s")
    print(f"cost: {statistics.median(ratios):.2f} x one look ({min(ratios):.2f} to {max(ratios):.2f})")
    print(hardware(), library_versions())


if __name__ == "__main__":
    main()
