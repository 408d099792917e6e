"""What a second look costs: seconds of an image with it, and of finding its places, relative to the first look alone.

python benchmarks/second_look_speed.py

By the model that comes with gbad on simulated threat-free bags, read from their files. For another pipeline and other
images: --pipeline RUN/pipeline.joblib --data DATA, whose threat-free test images then stand for the images in use.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from table import finish, row

from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.phase1_classifier import (
    Classifier,
    build_classifier,
    classifier_from_state,
    classifier_state,
    evidence_peaks,
    see,
)
from gbad.pipeline import GBADPipeline, load
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import architecture_options

MOST = 1.3  # seconds of an image with a second look, for each second without


def seconds_of_image(pipeline: GBADPipeline, paths: Sequence[Path]) -> tuple[float, float]:
    """Time the scoring of images: seconds of an image, and the share of images that were looked at twice."""
    begun, twice = time.perf_counter(), 0
    for _, explanation, _ in pipeline.stream(pipeline.image_source(paths)):
        twice += int(explanation.looked_twice.sum())
    return (time.perf_counter() - begun) / len(paths), twice / len(paths)


def without_boxes(pipeline: GBADPipeline) -> Classifier:
    """The network of a pipeline's first look as it would be without boxes, with random weights.

    Its evidence then comes from gradients, as phase 2 of a training without boxes needs it for all images of the list.
    """
    settings = pipeline.settings.changed(position_weight=0.0)
    network, _ = build_classifier(
        settings.backbone, len(pipeline.classes_), architecture=settings.architecture, pretrained=False, weights=None,
        frozen_stages=0, frozen_norm=False, seed=0, **architecture_options(settings),
    )  # fmt: skip
    return classifier_from_state(classifier_state(network))


def places_to_features(network: Classifier, size: int, extent: float) -> float:
    """Seconds of finding the places of all classes, for each second of the features, on random images of a size."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)
    begun = time.perf_counter()
    levels = see(network, pixels).levels
    seen = time.perf_counter()
    evidence_peaks(network, levels, extent)
    return (time.perf_counter() - seen) / (seen - begun)


def threat_free(data: Path, subset: str, most: int) -> list[Path]:
    """Threat-free test images of a data set in SIXray's layout, at most so many."""
    test = read_sixray(data, subset, "test")
    return image_paths(data, test.select(~test.positive).names)[:most]


def simulated_bags(folder: Path, subset: str, images: int, size: int) -> None:
    """Simulate so many threat-free test images of a size, and the few others that a data set has."""
    simulate_dataset(
        folder, int(subset), train_positives=1, test_positives=1, negatives_per_positive=1,
        test_negatives_per_positive=images, size=size, seed=2,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Time both in turn, in several rounds, so that noise of the machine affects both alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=Path("simulated-bags"))
    parser.add_argument("--data", type=Path, help="default: bags are simulated")
    parser.add_argument("--subset", default="10")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--size", type=int, default=640, help="longer side of the simulated bags in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    keep_freed_memory()
    both, first = load(options.pipeline), load(options.pipeline)
    first.fitted_ = replace(first.check_fitted(), second=None)
    if (second := both.check_fitted().second) is None:
        raise SystemExit(f"{options.pipeline} has no second look")
    network, size, extent = without_boxes(both), both.settings.size, second.model.shape.extent
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder)
        if options.data is None:
            simulated_bags(data, options.subset, options.images, options.size)
        paths = threat_free(data, options.subset, options.images)
        ratios, once, twice, share, places = [], [], [], 0.0, []
        for round_ in range(options.rounds + 1):
            alone, _ = seconds_of_image(first, paths)
            with_second, share = seconds_of_image(both, paths)
            of_places = places_to_features(network, size, extent)
            if round_:  # the first round warms up
                once.append(alone)
                twice.append(with_second)
                ratios.append(with_second / alone)
                places.append(of_places)
    print(f"{len(paths)} threat-free images, {share:.1%} looked at twice")
    print(f"first look alone {1 / statistics.median(once):.1f} images/s, both {1 / statistics.median(twice):.1f}")
    title = f"{share:.0%} of {len(paths)} threat-free images looked at twice"
    rows = [
        row(f"second look, to the first alone ({title})", "x", ratios, at_most=MOST),
        row(f"finding the places of all classes without boxes, to the features ({size} px)", "x", places),
    ]
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
