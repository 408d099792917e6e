"""Training speed of EfficientNet-Lite0 in its settings, as ratios to the plain one (float32, nothing frozen).

python benchmarks/train_speed.py --size 192
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from gbad.phase1_classifier import Classifier, build_classifier
from gbad.runtime.versions import hardware, library_versions

SETTINGS = {
    "float32, contiguous": {"channels_last": False},
    "float32": {},
    "bfloat16": {"bfloat16": True},
    "float32, first stage frozen": {"frozen_stages": 1},
    "float32, norms folded": {"frozen_norm": True},
    "float32, first stage frozen, norms folded": {"frozen_stages": 1, "frozen_norm": True},
    "bfloat16, first stage frozen, norms folded": {"frozen_stages": 1, "frozen_norm": True, "bfloat16": True},
}


def step_seconds(model: Classifier, images: torch.Tensor, labels: torch.Tensor, *, bfloat16: bool) -> float:
    """Seconds of one optimiser step."""
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], 1e-4)
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = model.loss(images, labels)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - begun


def main() -> None:
    """Time all settings in turn, several rounds, so that the machine's noise falls on all of them alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fpn-width", type=int, default=64)
    arguments = parser.parse_args()

    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(arguments.batch_size, 3, arguments.size, arguments.size, generator=generator)
    labels = (torch.rand(arguments.batch_size, 5, generator=generator) < 0.2).float()
    models = {}
    for name, setting in SETTINGS.items():
        model, _ = build_classifier(
            "efficientnet_lite0", 5, frozen_stages=int(setting.get("frozen_stages", 0)), pooling="max",
            frozen_norm=bool(setting.get("frozen_norm", False)), fpn_width=arguments.fpn_width, head_width=64,
        )  # fmt: skip
        layout = torch.channels_last if setting.get("channels_last", True) else torch.contiguous_format
        models[name] = (model.train().to(memory_format=layout), images.contiguous(memory_format=layout))
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for round_ in range(arguments.rounds + 1):
        for name, (model, batch) in models.items():
            elapsed = step_seconds(model, batch, labels, bfloat16=bool(SETTINGS[name].get("bfloat16", False)))
            if round_:  # the first round warms up
                seconds[name].append(elapsed)
    plain = statistics.median(seconds["float32"])
    print(f"{arguments.size} px, batch {arguments.batch_size}, FPN width {arguments.fpn_width}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:<45} {arguments.batch_size / middle:6.0f} images/s   {plain / middle:5.2f} x")
    print(hardware(), library_versions())


if __name__ == "__main__":
    main()
