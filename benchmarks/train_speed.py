"""Training speed of EfficientNet-Lite0 in several settings, relative to float32 with nothing frozen.

python benchmarks/train_speed.py --size 160
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from table import finish, row

from gbad.phase1_classifier import Classifier, build_classifier


@dataclass(frozen=True)
class Setting:
    """How the network is trained; the defaults are the reference."""

    channels_last: bool = True
    bfloat16: bool = False
    frozen_stages: int = 0
    frozen_norm: bool = False


SETTINGS = {
    "float32, contiguous": Setting(channels_last=False),
    "float32": Setting(),
    "bfloat16": Setting(bfloat16=True),
    "float32, first stage frozen": Setting(frozen_stages=1),
    "float32, norms folded": Setting(frozen_norm=True),
    "float32, first stage frozen, norms folded": Setting(frozen_stages=1, frozen_norm=True),
    "bfloat16, first stage frozen, norms folded": Setting(frozen_stages=1, frozen_norm=True, bfloat16=True),
}


def step_seconds(model: Classifier, images: torch.Tensor, labels: torch.Tensor, *, bfloat16: bool) -> float:
    """Time one optimiser step, in seconds."""
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], 1e-4)
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = model.loss(images, labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Time all settings in turn, in several rounds, so that noise of the machine affects all of them alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fpn-width", type=int, default=64)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    arguments = parser.parse_args(argv)

    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(arguments.batch_size, 3, arguments.size, arguments.size, generator=generator)
    labels = (torch.rand(arguments.batch_size, 5, generator=generator) < 0.2).float()
    models = {}
    for name, setting in SETTINGS.items():
        model, _ = build_classifier(
            "efficientnet_lite0", 5, architecture="fpn", pretrained=True, weights=None,
            frozen_stages=setting.frozen_stages, frozen_norm=setting.frozen_norm, seed=0, pooling="max",
            fusion="hidden", fpn_width=arguments.fpn_width, head_width=64, position_weight=0.0,
        )  # fmt: skip
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        models[name] = (model.train().to(memory_format=layout), images.contiguous(memory_format=layout))
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for round_ in range(arguments.rounds + 1):
        for name, (model, batch) in models.items():
            elapsed = step_seconds(model, batch, labels, bfloat16=SETTINGS[name].bfloat16)
            if round_:  # the first round warms up
                seconds[name].append(elapsed)
    print(f"float32: {arguments.batch_size / statistics.median(seconds['float32']):.1f} images/s")
    title = f"{arguments.size} px, batches of {arguments.batch_size}, pyramid of {arguments.fpn_width}"
    rows = []
    for name, own in seconds.items():
        ratios = [one / other for one, other in zip(seconds["float32"], own, strict=True)]
        rows.append(row(f"training step, {name}, to float32 ({title})", "x", ratios))
    return finish(rows, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
