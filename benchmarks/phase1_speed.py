"""Speed of training phase 1, from JPEG files, relative to a bare loop of the same backbone on tensors in memory.

python benchmarks/phase1_speed.py --backbones efficientnet_lite0 resnet34

All settings are the defaults of ``gbad train``. The first epoch, which decodes the files, does not count. The bare loop
has the same frozen layers, optimiser, precision and batches, but no pyramid, no random views, no moving average and no
checkpoints. It runs before and after the other: a training does not take turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from table import finish, row

from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.data.source import source_from_paths
from gbad.phase1_classifier import BACKBONES, build_classifier
from gbad.phase1_classifier.optimisation import build_optimiser
from gbad.phase1_classifier.processes import build_accelerator
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import fit_phase1, given
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet

LEAST = 0.9  # of the bare loop's rate


def epochs(data: TrainingSet, settings: Settings) -> list[float]:
    """Images per second of each epoch of phase 1 but the first."""
    with tempfile.TemporaryDirectory() as folder:
        fit_phase1(data, settings, Path(folder), BadImages(len(data.source)))
        history = pd.read_csv(Path(folder) / "phase1" / "history.csv")[1:]
    return list(history["images"] / history["seconds"])


def bare_epoch(settings: Settings, steps: int) -> float:
    """Images per second of so many steps of the backbone with one layer."""
    suits = BACKBONES[settings.backbone]
    model, _ = build_classifier(
        settings.backbone, 5, architecture="plain", pretrained=settings.pretrained, weights=settings.weights,
        frozen_stages=given(settings.frozen_stages, suits.frozen_stages),
        frozen_norm=given(settings.frozen_norm, suits.frozen_norm), seed=0,
    )  # fmt: skip
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = build_optimiser(
        given(settings.optimiser, suits.optimiser), model.parameters(), learning_rate=1e-4,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    precision = build_accelerator(settings.backbone, settings.precision, settings.device).mixed_precision
    images = 255 * torch.rand(settings.batch_size, 3, settings.size, settings.size)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(settings.batch_size, 5)
    begun = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first step warms up
            begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(images, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return steps * settings.batch_size / (time.perf_counter() - begun)


def main(argv: Sequence[str] | None = None) -> int:
    """Train each backbone for a few epochs, between two runs of the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_lite0", "resnet34"])
    parser.add_argument("--images", type=int, default=256, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="that count")
    parser.add_argument("--size", type=int, default=Settings().size)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    keep_freed_memory()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        simulate_dataset(folder, train_positives=options.images // 2, test_positives=0, negatives_per_positive=1)
        bags = read_sixray(folder, 10, "train")
        paths = image_paths(folder, bags.names)
        for backbone in options.backbones:
            settings = Settings(
                backbone=backbone, size=options.size, epochs=1 + options.epochs, device="cpu",
                pretrained=BACKBONES[backbone].lite is not None,  # of the others the weights would be downloaded
            )  # fmt: skip
            source, without = source_from_paths(paths, settings.size), np.zeros(len(paths), bool)
            data = TrainingSet(source, bags.labels, bags.classes, without)
            steps = max(1, options.images // settings.batch_size)
            before = bare_epoch(settings, steps)
            own = epochs(data, settings)
            bare = statistics.mean([before, bare_epoch(settings, steps)])
            print(f"{backbone}, {settings.size} px: bare loop {bare:.1f} images/s, gbad {statistics.median(own):.1f}")
            title = f"training phase 1, to a bare loop ({backbone}, {settings.size} px)"
            rows.append(row(title, "x", [rate / bare for rate in own], at_least=LEAST))
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
