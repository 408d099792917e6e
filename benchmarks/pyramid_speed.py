"""Speed of the average-pooled pyramid from nine sums a channel, beside its maps and the bare backbone.

python benchmarks/pyramid_speed.py --backbone resnet34 --size 224
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.versions import hardware, library_versions

CLASSES = 5


def variants(backbone: str, width: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Logits of images by the backbone with one layer, by the pyramid's maps, and by nine sums a channel."""
    plain = PlainClassifier(backbone, CLASSES)
    model = ThreatClassifier(
        backbone, CLASSES, fpn_width=width, head_width=width, pooling="average", fusion="hidden", position_weight=0.0
    )
    for network in (plain, model):
        network.to(memory_format=torch.channels_last)
    return {
        "backbone with one layer": lambda images: plain(images).logits,
        "pyramid, maps": lambda images: model.classify_levels(model.levels(images)).logits,
        "pyramid, nine sums": lambda images: model(images).logits,
    }


def score(of_images: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Score a batch."""
    with torch.inference_mode():
        of_images(images)


def train(of_images: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Compute the gradients of a batch."""
    torch.autograd.backward(bce(of_images(images), torch.zeros(len(images), CLASSES)))


def main(argv: Sequence[str] | None = None) -> None:
    """Time all variants in turn, in several rounds, so that noise of the machine affects all of them alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    keep_freed_memory()
    torch.manual_seed(0)
    images = 255 * torch.rand(options.batch_size, 3, options.size, options.size)
    images = images.contiguous(memory_format=torch.channels_last)
    of_name = variants(options.backbone, options.width)
    print(f"{options.backbone}, {options.size} px, pyramid of {options.width}, batches of {options.batch_size}")
    for kind, work in (("scoring", score), ("gradients", train)):
        seconds: dict[str, list[float]] = {name: [] for name in of_name}
        for round_ in range(options.rounds + 1):
            for name, of_images in of_name.items():
                begun = time.perf_counter()
                work(of_images, images)
                if round_:  # the first round warms up
                    seconds[name].append(time.perf_counter() - begun)
        bare = seconds["backbone with one layer"]
        for name, own in seconds.items():
            ratios = sorted(one / other for one, other in zip(bare, own, strict=True))
            rate = options.batch_size / statistics.median(own)
            print(
                f"{kind:<10} {name:<24} {rate:7.1f} images/s   {statistics.median(ratios):.2f} x "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
    print(hardware(), library_versions())


if __name__ == "__main__":
    main()
