"""Images per second and peak memory of gbad and of what one could take instead: anomalib and ultralytics.

pip install anomalib ultralytics
python benchmarks/peers_speed.py

All see the same simulated bags on the same machine, in batches of 32. Each has a process of its own, and they take
turns in each round. GANomaly is trained and scores at 64 px, with equal widths, in both packages. Phase 1 trains a
plain ResNet-18 at 224 px as ultralytics does, from files and from random weights. PatchCore and EfficientAD have the
settings of anomalib but random weights: none are downloaded, and time does not depend on them. The first epoch of a
training and the first batch of a scoring do not count. Neither anomalib nor ultralytics is part of ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from table import finish, row

from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths, read_image
from gbad.data.labels import LabelList, read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.data.source import source_from_paths
from gbad.phase2_anomaly.images.ganomaly import GANomalyDetector
from gbad.pipeline import load
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import fit_phase1
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet

BATCH = 32
EPOCHS = 3  # the first does not count
SMALL = 64  # px, of GANomaly
WHOLE = 512  # px, of the files

Found = dict[str, float]


# ---- gbad -----------------------------------------------------------------------------------------------------------


def gbad_pipeline(data: Path) -> Found:
    """Both looks of the model that comes with gbad, on pixels at the resolution of the files."""
    pipeline, pixels = load("simulated-bags"), _pixels(data, WHOLE)
    return {"score": _rate(pipeline.explain, [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)])}


def gbad_ganomaly(data: Path) -> Found:
    """GANomaly of gbad."""
    pixels = _pixels(data, SMALL)
    clock = _Clock(len(pixels))
    detector = GANomalyDetector(image_size=SMALL, batch_size=BATCH, epochs=EPOCHS, device="cpu")
    detector.fit(pixels, callback=lambda *_: clock.tick())
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    return {"train": clock.rate, "score": _rate(detector.score_samples, batches)}


def gbad_plain(data: Path) -> Found:
    """Phase 1 with the network of ultralytics, in float32."""
    return _gbad_phase1(data, Settings(architecture="plain", precision="no", **_RESNET))


def gbad_default(data: Path) -> Found:
    """Phase 1 with its pyramid and the precision that it chooses itself."""
    return _gbad_phase1(data, Settings(**_RESNET))


_RESNET: dict[str, Any] = {
    "backbone": "resnet18", "size": 224, "batch_size": BATCH, "epochs": EPOCHS, "pretrained": False, "device": "cpu",
}  # fmt: skip


def _gbad_phase1(data: Path, settings: Settings) -> Found:
    listed, paths = _list(data)
    bags = TrainingSet(
        source_from_paths(paths, settings.size), listed.labels, listed.classes, np.zeros(len(paths), bool)
    )
    with tempfile.TemporaryDirectory() as folder:
        fit_phase1(bags, settings, Path(folder), BadImages(len(paths)))
        history = pd.read_csv(Path(folder) / "phase1" / "history.csv")[1:]
    return {"train": float((history["images"] / history["seconds"]).median())}


# ---- others ---------------------------------------------------------------------------------------------------------


def anomalib_ganomaly(data: Path) -> Found:
    """GANomaly of anomalib, by its own engine."""
    clock = _Clock(len(_list(data)[1]))
    model = _anomalib("Ganomaly", pre_processor=_anomalib("Ganomaly").configure_pre_processor((SMALL, SMALL)))

    class Ticks(import_module("lightning").Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, *_: Any) -> None:
            clock.tick()

    engine = import_module("anomalib.engine").Engine(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, default_root_dir=data / "anomalib", callbacks=[Ticks()],
        enable_progress_bar=False, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    folder = import_module("anomalib.data").Folder(
        name="bags", root=data, normal_dir="JPEGImage", train_batch_size=BATCH, num_workers=0,
        val_split_mode="none", test_split_mode="none",
    )  # fmt: skip
    engine.fit(model=model, datamodule=folder)
    return {"train": clock.rate, "score": _scoring(model, data)}


def anomalib_patchcore(data: Path) -> Found:
    """PatchCore of anomalib; its memory bank holds patches of 64 threat-free images."""
    model = _anomalib("Patchcore", pre_trained=False)
    listed, paths = _list(data)
    free = [path for path, positive in zip(paths, listed.positive, strict=True) if not positive][:64]
    model.model.train()
    with torch.no_grad():
        for start in range(0, len(free), BATCH):
            model.model(model.pre_processor(_tensor([read_image(path, WHOLE) for path in free[start : start + BATCH]])))
    model.model.subsample_embedding(0.1)
    return {"score": _scoring(model, data)}


def anomalib_efficient_ad(data: Path) -> Found:
    """EfficientAD of anomalib, its small size."""
    return {"score": _scoring(_anomalib("EfficientAd"), data)}


def ultralytics_resnet(data: Path) -> Found:
    """ResNet-18 with a layer of two classes, trained by ultralytics."""
    network = data / "resnet18-cls.yaml"
    backbone, head = "[-1, 1, TorchVision, [512, resnet18, None, True, 2]]", "[-1, 1, Classify, [nc]]"
    lines = ["nc: 2", "backbone:", f"  - {backbone}", "head:", f"  - {head}", ""]
    network.write_text("\n".join(lines))
    clock = _Clock(len(_list(data)[1]))
    model = import_module("ultralytics").YOLO(network, task="classify")
    model.add_callback("on_train_epoch_end", lambda _: clock.tick())
    model.train(
        data=data / "of_classes", imgsz=224, epochs=EPOCHS, batch=BATCH, device="cpu", pretrained=False, plots=False,
        val=False, verbose=False, project=str(data / "ultralytics"), workers=os.cpu_count(),
    )  # fmt: skip
    return {"train": clock.rate}


def _anomalib(name: str, **options: Any) -> Any:
    return getattr(import_module("anomalib.models"), name)(
        evaluator=False, visualizer=False, post_processor=False, **options
    )


def _scoring(model: Any, data: Path) -> float:
    model.eval()
    pixels = _pixels(data, WHOLE)
    batches = [_tensor(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    with torch.inference_mode():
        return _rate(model, batches)


def _tensor(pixels: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))).float() / 255


CONTESTANTS: dict[str, Callable[[Path], Found]] = {
    "gbad, its model, both looks": gbad_pipeline,
    "anomalib, PatchCore": anomalib_patchcore,
    "anomalib, EfficientAD": anomalib_efficient_ad,
    "gbad, GANomaly": gbad_ganomaly,
    "anomalib, GANomaly": anomalib_ganomaly,
    "gbad, plain ResNet-18": gbad_plain,
    "gbad, ResNet-18 as by default": gbad_default,
    "ultralytics, ResNet-18": ultralytics_resnet,
}


# ---- measuring ------------------------------------------------------------------------------------------------------


class _Clock:
    """Images per second between the end of the first epoch and the end of the last."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.ticks: list[float] = []

    def tick(self) -> None:
        self.ticks.append(time.perf_counter())

    @property
    def rate(self) -> float:
        return self.images * (len(self.ticks) - 1) / (self.ticks[-1] - self.ticks[0])


def _rate(score: Callable[[Any], object], batches: Sequence[Any]) -> float:
    score(batches[0])
    begun = time.perf_counter()
    for batch in batches[1:]:
        score(batch)
    return sum(map(len, batches[1:])) / (time.perf_counter() - begun)


def _list(data: Path) -> tuple[LabelList, list[Path]]:
    listed = read_sixray(data, 10, "train")
    return listed, image_paths(data, listed.names)


def _pixels(data: Path, size: int) -> np.ndarray:
    return np.stack([read_image(path, size) for path in _list(data)[1]])


def make_data(data: Path, images: int) -> None:
    """Simulate bags, half of them with threats, and link them to where the others look for them."""
    simulate_dataset(data, train_positives=images // 2, test_positives=0, negatives_per_positive=1, size=WHOLE)
    listed, paths = _list(data)
    for path, positive in zip(paths, listed.positive, strict=True):
        for part in ("train", "val"):
            folder = data / "of_classes" / part / ("threat" if positive else "free")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all in turn, in several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=[*CONTESTANTS], default=[*CONTESTANTS], metavar="NAME")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "DATA"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.run:
        name, data = options.run
        if name.startswith("gbad"):
            keep_freed_memory()  # as its commands do
        found = CONTESTANTS[name](Path(data))
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("\n" + json.dumps(found))
        return 0
    measured: dict[str, list[Found]] = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder).resolve()
        make_data(data, options.images)
        for _ in range(options.rounds):
            for name, found_of_name in measured.items():
                command = [sys.executable, __file__, "--run", name, folder]
                done = subprocess.run(command, capture_output=True, check=False, text=True)
                if done.returncode:
                    raise RuntimeError(f"{name}: exit status {done.returncode}: {done.stderr[-2000:]}")
                found_of_name.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{name}: {found_of_name[-1]}", flush=True)
    units = {"train": ("training", "images/s"), "score": ("scoring", "images/s"), "peak": ("peak memory", "MiB")}
    rows = [
        row(f"{title}, {name}", unit, [found[what] for found in all_found])
        for what, (title, unit) in units.items()
        for name, all_found in measured.items()
        if what in all_found[0]
    ]
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
