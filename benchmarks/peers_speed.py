"""Images per second and peak memory of gbad and of what one could take instead: anomalib and ultralytics.

pip install anomalib ultralytics
python benchmarks/peers_speed.py

All see the same simulated bags on the same machine. Each has a process of its own, and they take turns in each round.

- Time: the first epoch of a training and the first batch of a scoring do not count, nor do validation and checkpoints.
  Of the other epochs, the median counts. GANomaly trains on decoded pixels in memory. ResNet-18 trains from pixels that
  were decoded before, with augmentation: gbad's at 224 px from its cache on disk, those of ultralytics at 512 px in
  memory. Scoring starts from pixels, and what resizes or normalises them counts.
- Memory: the peak of the whole process, with its imports, the decoded images, and what a training does besides.
- Threads: one for each core, unless OMP_NUM_THREADS says otherwise. On a CPU ultralytics takes one less; it gets what
  the others have. No one loads images in other processes.
- Precision: float32, except for "ResNet-18 as by default": there gbad takes bfloat16 on CPUs with AMX by itself.
- GANomaly: 64 px and equal widths in both packages. anomalib pads its first layer more, to 35 x 35 places, not 32 x 32.
- ResNet-18: 224 px, random weights, SGD, a step for each batch, a moving average of the weights. ultralytics crops and
  flips; gbad flips, turns, zooms, shifts and changes the contrast. What else ultralytics would do to images by default
  is off, and so are its deterministic algorithms: both make it faster. The parameters, which are counted too, are
  those of ResNet-18 with an output for each class: two for ultralytics, five for gbad.
- PatchCore and EfficientAD: the settings of anomalib, 256 px, from random weights: none are downloaded, and time does
  not depend on them. The memory bank of PatchCore comes from 16 images, because to choose it takes minutes with more.
  A real bank is larger, and then PatchCore is slower. No threshold is applied to scores of anomalib.
- The model of gbad: both looks, a first one at 224 px, and up to four regions of the files, at 384 px at most.

The script itself imports gbad in all processes, some megabytes that the others do not need. No package goes online.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from table import finish, row

from gbad.data.arrays import Pixels
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths, read_image
from gbad.data.labels import LabelList, read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.data.source import source_from_paths
from gbad.phase2_anomaly.images.ganomaly import GANomalyDetector
from gbad.pipeline import load
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import fit_phase1, load_classifier
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet

EPOCHS = 3  # the first does not count
SMALL = 64  # px, of GANomaly
RESNET = 224  # px, of ResNet-18
WHOLE = 512  # px, of the files
BANK = 16  # images that fill the memory bank of PatchCore

Found = dict[str, float]
UNITS = {
    "train": ("training", "images/s"), "score": ("scoring", "images/s"), "parameters": ("parameters", "million"),
    "peak": ("peak memory", "MiB"),
}  # fmt: skip


# ---- gbad -----------------------------------------------------------------------------------------------------------


def gbad_pipeline(data: Path, batch: int) -> Found:
    """Both looks of the model that comes with gbad, on pixels of whole files."""
    return {"score": scoring_rate(load("simulated-bags").explain, read_pixels(data, WHOLE), batch)}


def gbad_ganomaly(data: Path, batch: int) -> Found:
    """GANomaly of gbad."""
    pixels = read_pixels(data, SMALL)
    detector = GANomalyDetector(image_size=SMALL, batch_size=batch, epochs=EPOCHS, device="cpu")
    times = [time.perf_counter()]
    detector.fit(pixels, callback=lambda *_: times.append(time.perf_counter()))
    return {
        "train": training_rate(len(pixels), np.diff(times).tolist()),
        "score": scoring_rate(detector.prepared_scorer(batch), pixels, batch),
        "parameters": detector.n_parameters_ / 1e6,
    }


def gbad_plain(data: Path, batch: int) -> Found:
    """Phase 1 with the network of ultralytics, in float32."""
    return gbad_phase1(data, batch, architecture="plain", precision="no")


def gbad_default(data: Path, batch: int) -> Found:
    """Phase 1 with its pyramid and the precision that it chooses itself."""
    return gbad_phase1(data, batch)


def gbad_phase1(data: Path, batch: int, **options: Any) -> Found:
    """Phase 1 from random weights."""
    settings = Settings(
        backbone="resnet18", size=RESNET, batch_size=batch, epochs=EPOCHS, optimiser="sgd", pretrained=False,
        device="cpu", **options,
    )  # fmt: skip
    listed, paths = read_list(data)
    bags = TrainingSet(source_from_paths(paths, RESNET), listed.labels, listed.classes, np.zeros(len(paths), bool))
    with tempfile.TemporaryDirectory(dir=data) as folder:
        run = Path(folder)
        fit_phase1(bags, settings, run, BadImages(len(paths)))
        history = pd.read_csv(run / "phase1" / "history.csv")
        parameters = count_parameters(load_classifier(run))
    return {
        "train": training_rate(int(history["images"].iloc[-1]), history["seconds"].tolist()), "parameters": parameters
    }  # fmt: skip


# ---- anomalib -------------------------------------------------------------------------------------------------------


def anomalib_ganomaly(data: Path, batch: int) -> Found:
    """GANomaly of anomalib."""
    pixels = read_pixels(data, SMALL)
    small = import_module("anomalib.models").Ganomaly.configure_pre_processor((SMALL, SMALL))
    model = anomalib_model("Ganomaly", pre_processor=small)
    seconds = anomalib_fit(model, pixels, batch, data, max_epochs=EPOCHS)
    return {
        "train": training_rate(len(pixels), seconds),
        "score": anomalib_scoring_rate(model, pixels, batch),
        "parameters": count_parameters(model.model),
    }


def anomalib_patchcore(data: Path, batch: int) -> Found:
    """PatchCore of anomalib."""
    model, pixels = anomalib_model("Patchcore", pre_trained=False), read_pixels(data, WHOLE)
    anomalib_fit(model, pixels[~read_list(data)[0].positive][:BANK], batch, data)
    return {"score": anomalib_scoring_rate(model, pixels, batch)}


def anomalib_efficient_ad(data: Path, batch: int) -> Found:
    """EfficientAD of anomalib, its small size."""
    return {"score": anomalib_scoring_rate(anomalib_model("EfficientAd"), read_pixels(data, WHOLE), batch)}


def anomalib_model(name: str, **options: Any) -> Any:
    """Build a model without what comes behind its scores."""
    model = getattr(import_module("anomalib.models"), name)
    return model(evaluator=False, visualizer=False, post_processor=False, **options)


def anomalib_fit(model: Any, pixels: Pixels, batch: int, data: Path, **options: Any) -> list[float]:
    """Fit a model by the engine of anomalib, and give the seconds of each epoch."""
    items = import_module("anomalib.data")
    begun: list[float] = []
    ended: list[float] = []
    clock = import_module("lightning.pytorch.callbacks").LambdaCallback(
        on_train_epoch_start=lambda *_: begun.append(time.perf_counter()),
        on_train_epoch_end=lambda *_: ended.append(time.perf_counter()),
    )
    engine = import_module("anomalib.engine").Engine(
        accelerator="cpu", logger=False, default_root_dir=data / "anomalib", callbacks=[clock],
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    images: Any = [items.ImageItem(image=image) for image in to_tensor(pixels)]
    loader = torch.utils.data.DataLoader(images, batch, shuffle=True, collate_fn=items.ImageBatch.collate)
    engine.fit(model=model, train_dataloaders=loader)
    seconds: list[float] = np.subtract(ended, begun).tolist()
    return seconds


def anomalib_scoring_rate(model: Any, pixels: Pixels, batch: int) -> float:
    """Images per second of a model, from pixels: it resizes and normalises them itself."""
    model.eval()
    with torch.inference_mode():
        return scoring_rate(lambda some: model(to_tensor(some)), pixels, batch)


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """Pixels as anomalib takes them, float32 (n, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255


# ---- ultralytics ----------------------------------------------------------------------------------------------------


def ultralytics_resnet(data: Path, batch: int) -> Found:
    """ResNet-18 with a last layer of two classes, trained by ultralytics."""
    layers = ["TorchVision, [512, resnet18, None, True, 1]", "nn.Flatten, []"]  # all but torchvision's last layer
    backbone = "".join(f"  - [-1, 1, {layer}]\n" for layer in layers)
    network = data / "resnet18-cls.yaml"
    network.write_text(f"nc: 2\nbackbone:\n{backbone}head:\n  - [-1, 1, nn.Linear, [512, nc]]\n")
    threads = torch.get_num_threads()
    begun: list[float] = []
    ended: list[float] = []

    def start_epoch(_: Any) -> None:
        torch.set_num_threads(threads)  # ultralytics has taken one away
        begun.append(time.perf_counter())

    model = import_module("ultralytics").YOLO(str(network), task="classify")
    parameters = count_parameters(model.model)
    model.add_callback("on_train_epoch_start", start_epoch)
    model.add_callback("on_train_epoch_end", lambda _: ended.append(time.perf_counter()))
    model.train(
        data=str(data / "of_classes"), imgsz=RESNET, epochs=EPOCHS, batch=batch, nbs=batch, optimizer="SGD",
        pretrained=False, device="cpu", amp=False, deterministic=False, cache=True, flipud=0.5, auto_augment="",
        erasing=0.0, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, val=False, plots=False, project=str(data / "ultralytics"),
    )  # fmt: skip
    return {
        "train": training_rate(len(read_list(data)[1]), np.subtract(ended, begun).tolist()),
        "parameters": parameters,
    }


# ---- measuring ------------------------------------------------------------------------------------------------------


CONTESTANTS: dict[str, Callable[[Path, int], Found]] = {
    "gbad, its model, both looks": gbad_pipeline,
    "anomalib, PatchCore": anomalib_patchcore,
    "anomalib, EfficientAD": anomalib_efficient_ad,
    "gbad, GANomaly": gbad_ganomaly,
    "anomalib, GANomaly": anomalib_ganomaly,
    "gbad, plain ResNet-18": gbad_plain,
    "gbad, ResNet-18 as by default": gbad_default,
    "ultralytics, ResNet-18": ultralytics_resnet,
}


def training_rate(images: int, seconds: Sequence[float]) -> float:
    """Images per second of a training, from the seconds of its epochs; the first does not count."""
    return images / median(seconds[1:])


def scoring_rate(score: Callable[[Any], object], pixels: Pixels, batch: int) -> float:
    """Images per second of a scoring; the first batch does not count."""
    score(pixels[:batch])
    begun = time.perf_counter()
    for start in range(batch, len(pixels), batch):
        score(pixels[start : start + batch])
    return (len(pixels) - batch) / (time.perf_counter() - begun)


def count_parameters(network: torch.nn.Module) -> float:
    """Millions of parameters."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def read_list(data: Path) -> tuple[LabelList, list[Path]]:
    """Labels and files of the simulated bags."""
    listed = read_sixray(data, 10, "train")
    return listed, image_paths(data, listed.names)


def read_pixels(data: Path, size: int) -> Pixels:
    """Decode all bags, uint8 (n, size, size, 3)."""
    return np.stack([read_image(path, size) for path in read_list(data)[1]])


def make_data(data: Path, images: int) -> None:
    """Simulate bags, half of them with threats, and link them to folders of classes, where ultralytics looks."""
    simulate_dataset(data, train_positives=images // 2, test_positives=0, negatives_per_positive=1, size=WHOLE)
    listed, paths = read_list(data)
    for path, positive in zip(paths, listed.positive, strict=True):
        name = "threat" if positive else "free"
        for part in ("train", "val"):
            folder = data / "of_classes" / part / name
            if part == "val" and folder.exists():
                continue  # ultralytics validates at its end, which does not count: an image of each class will do
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path)


def run_one(name: str, data: Path, batch: int) -> Found:
    """Run a contestant in a process of its own."""
    offline = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "HF_HUB_OFFLINE": "1"}
    settings = {"YOLO_CONFIG_DIR": str(data)}  # leave the user's own as they are
    command = [sys.executable, str(Path(__file__).resolve()), "--batch-size", str(batch), "--run", name, str(data)]
    done = subprocess.run(
        command, env={**os.environ, **offline, **settings}, cwd=data, capture_output=True, check=False, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{name}: exit status {done.returncode}: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def with_version(name: str) -> str:
    """Name of a contestant with the version of its package, which is not among those that a table has anyway."""
    package, rest = name.split(",", 1)
    return name if package == "gbad" else f"{package} {version(package)},{rest}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all in turn, in several rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=256, help="an even number, more than a batch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--only", nargs="+", choices=[*CONTESTANTS], default=[*CONTESTANTS], metavar="NAME")
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "DATA"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.run:
        name, data = options.run
        if name.startswith("gbad"):
            keep_freed_memory()  # as its commands do
        found = CONTESTANTS[name](Path(data), options.batch_size)
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("\n" + json.dumps(found))
        return 0
    if options.images % 2 or options.images <= options.batch_size:
        parser.error(f"--images must be even and more than a batch of {options.batch_size}, not {options.images}")
    for package in sorted({name.split(",")[0] for name in options.only}):
        if importlib.util.find_spec(package) is None:
            needs_none = ", ".join(repr(name) for name in CONTESTANTS if name.startswith("gbad"))
            parser.error(f"no {package} here: pip install anomalib ultralytics, or choose with --only: {needs_none}")
    measured: dict[str, list[Found]] = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder).resolve()
        make_data(data, options.images)
        for _ in range(options.rounds):
            for name, all_found in measured.items():
                all_found.append(run_one(name, data, options.batch_size))
                print(f"{name}: {all_found[-1]}", flush=True)
    rows = [
        row(f"{title}, {with_version(name)}", unit, [found[what] for found in all_found])
        for what, (title, unit) in UNITS.items()
        for name, all_found in measured.items()
        if what in all_found[0]
    ]
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
