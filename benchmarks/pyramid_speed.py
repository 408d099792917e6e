"""Speed of the classifier relative to its bare backbone: by averages, from nine sums a channel, and by maxima.

python benchmarks/pyramid_speed.py --backbone resnet34 --size 224
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from table import finish, row
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gbad.phase1_classifier import Classifier
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import architecture_options
from gbad.training.settings import Settings

CLASSES = 5
BARE, MAPS, SUMS, DEFAULT = "bare backbone", "averages, maps", "averages, nine sums", "maxima beside a plain layer"
LIGHT = "maxima of a light pyramid"
ASKED = {("scoring", SUMS): 0.95, ("scoring", DEFAULT): 0.85}


def variants(backbone: str, width: int) -> dict[str, tuple[Classifier, Callable[[Tensor], Tensor]]]:
    """The backbone with one layer, the paper's pyramid in two forms, and the default in two: networks and logits."""
    plain = PlainClassifier(backbone, CLASSES)
    model = ThreatClassifier(
        backbone, CLASSES, fpn_width=width, head_width=width, pooling="average", fusion="hidden", position_weight=0.0
    )
    options = architecture_options(Settings(backbone=backbone))  # type: ignore[arg-type]
    default = ThreatClassifier(backbone, CLASSES, **options)
    light = ThreatClassifier(backbone, CLASSES, **options | {"fpn_form": "light"})
    for network in (plain, model, default, light):
        network.to(memory_format=torch.channels_last)
    return {
        BARE: (plain, lambda images: plain(images).logits),
        MAPS: (model, lambda images: model.classify_levels(model.levels(images)).logits),
        SUMS: (model, lambda images: model(images).logits),
        DEFAULT: (default, lambda images: default(images).logits),
        LIGHT: (light, lambda images: light(images).logits),
    }


def score(of_images: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Score a batch."""
    with torch.inference_mode():
        of_images(images)


def train(of_images: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Compute the gradients of a batch."""
    torch.autograd.backward(bce(of_images(images), torch.zeros(len(images), CLASSES)))


def main(argv: Sequence[str] | None = None) -> int:
    """Time all variants in turn, in several rounds, so that noise of the machine affects all of them alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=int, default=256, help="of the paper's pyramid")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    keep_freed_memory()
    torch.manual_seed(0)
    images = 255 * torch.rand(options.batch_size, 3, options.size, options.size)
    images = images.contiguous(memory_format=torch.channels_last)
    of_name = variants(options.backbone, options.width)
    title, rows = f"{options.backbone}, {options.size} px", []
    for kind, work in (("scoring", score), ("gradients", train)):
        seconds: dict[str, list[float]] = {name: [] for name in of_name}
        for round_ in range(options.rounds + 1):
            for name, (network, of_images) in of_name.items():
                network.train(work is train)
                begun = time.perf_counter()
                work(of_images, images)
                if round_:  # the first round warms up
                    seconds[name].append(time.perf_counter() - begun)
        rate = options.batch_size / statistics.median(seconds[BARE])
        print(f"{title}, {kind}: {rate:.1f} images/s by the bare backbone")
        for name, own in seconds.items():
            ratios = [one / other for one, other in zip(seconds[BARE], own, strict=True)]
            if name != BARE:
                asked = ASKED.get((kind, name), float("nan"))
                rows.append(row(f"{kind}, {name}, to the bare backbone ({title})", "x", ratios, at_least=asked))
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
