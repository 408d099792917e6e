"""Train the pipeline that comes with gbad, `gbad.load("simulated-bags")`, and measure the file itself.

python studies/simulated_bags_model.py --out runs/simulated-bags --sample SIXRAY_SAMPLE

It simulates bags with the five threats, trains both looks with boxes and strong augmentation, and rounds the weights to
half precision. Then it fits phases 2 and 3 once more, to the rounded networks: their file loses nothing. It scores
simulated test lists and, with a sample of SIXray that has cut-out threats, real threats that are projected into real
bags. ``--networks PIPELINE`` takes the networks of a pipeline as they are, in the place of training. A killed study
continues.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_sample_images

from gbad.data.labels import read_sixray
from gbad.data.original import warp
from gbad.data.project import project_dataset
from gbad.data.simulate import simulate_dataset
from gbad.phase2_anomaly import BiGANDetector
from gbad.pipeline import GBADPipeline, load
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import read_json, write_json
from gbad.training.run_folder import start_run, training_seconds
from gbad.training.settings import Settings
from gbad.workflows.evaluate import evaluate
from gbad.workflows.train import train

SUBSET = 10
SEED = 2026
SIMULATION: dict[str, Any] = {
    "train_positives": 1500, "negatives_per_positive": 3, "test_positives": 200, "test_negatives_per_positive": 10,
    "size": 512,
}  # fmt: skip
SETTINGS = Settings(
    backbone="efficientnet_lite0", start="imagenet", size=224, epochs=7, position_weight=1.0,
    # Narrower than by default: with the default's BiGANs the file would be a third larger.
    detector=BiGANDetector(hidden_sizes=(128,), discriminator_sizes=(128, 128, 128), random_state=SEED),
    augmentation="strong", random_state=SEED,
)  # fmt: skip
PROJECTION: dict[str, Any] = {
    "train_positives": 20, "test_positives": 200, "negatives_per_positive": 5, "test_negatives_per_positive": 10,
    "size": 640,
}  # fmt: skip


def rounded(out: Path, data: Path, settings: Settings) -> Path:
    """Train on `data`, round the weights, and give the path of the pipeline in half precision."""
    train(start_run(out / "run", data, SUBSET, settings), show_progress=True)
    path = out / "networks.joblib"
    load(out / "run" / "pipeline.joblib").in_half_precision().save(path)
    return path


def refitted(out: Path, data: Path, networks: Path) -> GBADPipeline:
    """Fit phases 2 and 3 to the networks of a pipeline in half precision, with its settings but for the detector."""
    settings = load(networks).settings.changed(detector=SETTINGS.detector)
    keeping = settings.changed(start=str(networks), epochs=0, region_epochs=0)
    train(start_run(out / "refit", data, SUBSET, keeping), show_progress=True)
    return GBADPipeline.from_fitted(settings, load(out / "refit" / "pipeline.joblib").check_fitted())


def rounding(pipeline: GBADPipeline, halved: GBADPipeline, paths: Sequence[Path]) -> dict[str, float]:
    """How much rounding the weights changes the log-odds of any threat: median and largest difference."""
    difference = np.abs(halved.any_threat_score(paths) - pipeline.any_threat_score(paths))
    return {"median": float(np.median(difference)), "largest": float(difference.max()), "images": len(paths)}


def measured(pipeline: GBADPipeline, data: Path, out: Path) -> dict[str, Any]:
    """Evaluate on the test list of `data`, unless `out` has that; what the model card states of it."""
    if not (out / "metrics.json").exists():
        evaluate(pipeline, data, SUBSET, out, show_progress=True)
    metrics = read_json(out / "metrics.json")
    unfamiliar = pd.read_csv(out / "scores.csv")["unfamiliarity"] > 1
    names = ("ungated", "first_look", "gbad", "intervals", "any_threat", "n_images", "n_positive", "looked_twice")
    return {name: metrics[name] for name in names} | {"unfamiliar": float(unfamiliar.mean())}


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate, train, round, measure; write OUT/simulated-bags.joblib and OUT/simulated-bags.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", type=Path, help="pipeline whose networks are taken as they are")
    parser.add_argument("--sample", type=Path, help="folder in SIXray's layout with threats/")
    options = parser.parse_args(argv)
    keep_freed_memory()
    out: Path = options.out
    simulate_dataset(out / "data", SUBSET, **SIMULATION, seed=SEED, show_progress=True)
    networks = options.networks or rounded(out, out / "data", SETTINGS)
    full, path = refitted(out, out / "data", networks), out / "simulated-bags.joblib"
    full.in_half_precision().save(path)
    pipeline = load(path)
    test = read_sixray(out / "data", SUBSET, "test")
    photographs = np.stack([warp(image, SETTINGS.size) for image in load_sample_images().images])
    found: dict[str, Any] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
        "rounding": rounding(full, pipeline, [out / "data" / "JPEGImage" / f"{name}.jpg" for name in test.names[:400]]),
        "photographs": pipeline.explain(photographs).unfamiliarity.tolist(),
        "simulated": measured(pipeline, out / "data", out / "evaluation"),
    }  # fmt: skip
    if options.sample is not None:
        project_dataset(options.sample, out / "projected", subset=SUBSET, **PROJECTION, seed=SEED, show_progress=True)
        found["projected"] = measured(pipeline, out / "projected", out / "evaluation-projected")
    seconds = {name: training_seconds(out / name) for name in ("run", "refit")}
    made_with = {"versions": library_versions(), "hardware": hardware(), "seconds": seconds}
    write_json(out / "simulated-bags.json", found | made_with)


if __name__ == "__main__":
    main()
