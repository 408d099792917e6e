"""Settings of phase 1 side by side: train with each, and look at the validation part and at the seconds.

python studies/phase1_variants.py DATA --variant "fpn_width=64" --variant "fpn_width=256" --out results/phase1_variants

DATA is in SIXray's layout; a variant is settings as of ``gbad train --set``. Where DATA has boxes, the study also
counts how often the blurred evidence for a class has its highest place in one: that is where a second look would go. No
test image is read. A killed study continues where RUNS has its run folders still.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gbad.benchmarks.paper.peaks import lies_in
from gbad.data.boxes import read_boxes
from gbad.data.images import image_paths
from gbad.data.labels import LabelList, read_sixray
from gbad.data.maps import smooth
from gbad.data.pictures import read_picture
from gbad.phase1_classifier import class_heatmaps
from gbad.phase1_classifier.checkpoints import read_history
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.storage.tables import write_table
from gbad.training.phase1 import load_classifier
from gbad.training.run_folder import Run, start_run
from gbad.training.settings import Settings
from gbad.training.settings_file import read_assignments
from gbad.workflows.locate import peaks
from gbad.workflows.train import train

COLUMNS = ("variant", "seed", "validation_map", "seconds", "images", "threats", "peaks_in_box")


def pointing(run: Run, data: Path, labels: LabelList) -> tuple[int, int]:
    """Threats of the validation part that have a box, and how many of them the classifier's evidence points at."""
    shown = labels.select(run.data.validation & labels.positive)
    paths = image_paths(data, shown.names)
    boxes = read_boxes(data, shown.names, paths, shown.labels, shown.classes, required=False)
    model, threats, hits = load_classifier(run.folder), 0, 0
    for row, own in boxes.items():
        columns = sorted({int(column) for column in own[:, 0]})
        maps = class_heatmaps(model, read_picture(paths[row], run.settings.size)[None], columns)[0]
        places = peaks(np.array([[smooth(one) for one in maps]]))[0]
        threats += len(columns)
        hits += sum(lies_in(place, own[own[:, 0] == column, 1:]) for column, place in zip(columns, places, strict=True))
    return threats, hits


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write a row for each variant and seed: the last epoch's validation mAP, and seconds of training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder in SIXray's layout")
    parser.add_argument("--subset", default="10")
    parser.add_argument(
        "--base", default="backbone=efficientnet_lite0 start=imagenet size=192 epochs=6", help="settings of all"
    )
    parser.add_argument("--variant", action="append", required=True, help="settings of one variant; several times")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/phase1-variants"))
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    options = parser.parse_args(argv)
    keep_freed_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    about = {
        "base": options.base,
        "data": options.data.resolve().name,
        "versions": library_versions(),
        "hardware": hardware(),
    }
    write_json(options.out / "about.json", about)
    rows = []
    for seed in options.seeds:
        for variant in options.variant:
            chosen = read_assignments(shlex.split(f"{options.base} {variant}"))
            folder = options.runs / f"{variant.replace(' ', ',')}-seed{seed}"
            run = start_run(
                folder, options.data, options.subset, Settings(second_look=False, random_state=seed).changed(**chosen)
            )
            train(run, last=1, show_progress=True)
            history = read_history(folder / "phase1")
            if history is None:
                raise SystemExit(f"{folder}: no history.csv. Delete the folder and run again.")
            last = history["validation_map"].iloc[-1]
            labels = read_sixray(options.data, options.subset, "train")
            of_history = last, history["seconds"].sum(), int(history["images"].sum())
            rows.append((variant, seed, *of_history, *pointing(run, options.data, labels)))
            print(*rows[-1], flush=True)
            write_table(pd.DataFrame(rows, columns=COLUMNS), options.out / "variants.csv")


if __name__ == "__main__":
    main()
