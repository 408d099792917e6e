"""How much accuracy a second of training, and of use, buys: image sizes of the first look, with and without the second.

python studies/second_look_curve.py runs/twice --sizes 160 224 320 --seed 2 --out results/second_look/curve.csv

Trains GBAD on the training list of ``gbad benchmark --scale twice`` with each size of the first look, unless that is
done, and takes the benchmark's CNN beside them. The figures are of the validation part: sizes are chosen there, not on
a test list. Training is timed as it ran; run all sizes on one machine with equal company. Use is timed here, on
threat-free images of the test list, with one thread and the machine idle (``--time``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from gbad.benchmarks.paper.data import BenchmarkData, existing_data
from gbad.benchmarks.paper.figures import save_figures
from gbad.benchmarks.paper.inference import Scores, at_prevalence, score_images
from gbad.benchmarks.paper.methods import chosen_methods
from gbad.benchmarks.paper.network_cells import NetworkCell
from gbad.benchmarks.paper.run import make_plan
from gbad.benchmarks.paper.scales import scale_of
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.evaluation.bootstrap import bootstrap_intervals
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase3_gate import prevalence_weights
from gbad.pipeline import load
from gbad.report.style import GATED, TEXT_SIZE, THREAT, UNGATED, legend_above, new_axes
from gbad.runtime.allocator import keep_freed_memory
from gbad.storage.tables import write_table

RATIOS = (10, 100, 1000)
TIMED = 256
"""Threat-free images whose scoring is timed."""


def cell_of(benchmark: Path, data: BenchmarkData, method: str, size: int, seed: int) -> NetworkCell:
    """The cell of a method at one image size."""
    scale = scale_of("twice")
    methods, (backbone,) = chosen_methods([method]), scale.backbones
    plan = make_plan(benchmark.resolve() / "cells", data, scale, methods, (backbone,), [seed], {"size": size})
    (cell,) = plan.networks
    return cell


def rankings(cell: NetworkCell, ratio: int) -> tuple[Scores, Iterator[tuple[str, np.ndarray]]]:
    """Scores of the validation part, and the ranking of each look, as phase 3 chooses for a prevalence."""
    found = cell.validation_scores()
    _, found = at_prevalence(found, found, cell.settings, 1 / (1 + ratio))
    if found.first_look is None or found.log_gated is None:
        return found, iter([("one look", found.logits)])
    return found, iter([("first look alone", found.first_look), ("both looks", found.log_gated)])


def accuracy(cell: NetworkCell, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """MAP of the validation part by look, with intervals over its images, in percent."""
    rows: dict[str, dict[str, float]] = {}
    for ratio in RATIOS:
        found, looks = rankings(cell, ratio)
        assert found.labels is not None
        weights = prevalence_weights(found.labels.any(1), 1 / (1 + ratio))
        for look, scores in looks:
            value = mean_average_precision(
                average_precision_per_class(found.labels, scores, classes, sample_weight=weights)
            )
            bounds = bootstrap_intervals(found.labels, {look: scores}, classes, sample_weight=weights)[look]["map"]
            of_ratio = zip(("", " low", " high"), (value, *bounds), strict=True)
            rows.setdefault(look, {}).update({f"mAP {ratio}{name}": round(100 * x, 2) for name, x in of_ratio})
    return rows


def milliseconds(cell: NetworkCell, data: BenchmarkData, look: str) -> float:
    """Processor time of scoring an image, decoded from its file, in milliseconds; the second of two runs."""
    free = ~cell.lists.test.positive
    names = [name for name, is_free in zip(cell.lists.test.names, free, strict=True) if is_free][:TIMED]
    paths, spent = image_paths(data.folder, names), []
    pipeline = load(cell.run / "pipeline.joblib") if cell.phases == 3 else None
    if pipeline is not None and look == "first look alone":
        pipeline.fitted_ = replace(pipeline.check_fitted(), second=None)
    for _ in range(2):
        begun = time.process_time()
        if pipeline is None:
            score_images(cell.run, cell.phases, names, paths, cell.settings.size, BadImages(len(names), 0.0))
        else:
            pipeline.explain(paths)
        spent.append(time.process_time() - begun)
    return 1000 * spent[1] / len(names)


def rows_of(cell: NetworkCell, data: BenchmarkData, *, timed: bool) -> Iterator[dict[str, object]]:
    """A row for each look of a cell."""
    seconds = cell.entry.result["seconds"]
    classes = data.read(cell.lists.subset, "test").classes
    for look, figures in accuracy(cell, classes).items():
        both = look == "both looks"
        # Without the second look, phase 2 and the gate are left: the class heads are theirs.
        trained = sum(value for name, value in seconds.items() if both or name != "second_look")
        in_use = milliseconds(cell, data, look) if timed else float("nan")
        yield {
            "network": cell.name, "size": cell.settings.size, "look": look, "epochs": cell.entry.result["epochs"],
            "region epochs": cell.settings.region_epochs if both else None, "training minutes": round(trained / 60, 1),
            "milliseconds an image": round(in_use, 1), **figures,
        }  # fmt: skip


def curve_figure(table: pd.DataFrame, ratio: int = 100) -> Figure:
    """MAP against minutes of training and milliseconds of use, a point for each size, with intervals."""
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    looks = {"first look alone": (UNGATED, "--", "s"), "both looks": (GATED, "-", "o"), "one look": (THREAT, ":", "^")}
    below = np.floor(table[f"mAP {ratio} low"].min() / 10) * 10
    for number, column in enumerate(("training minutes", "milliseconds an image"), 1):
        axes = new_axes(figure, (1, 2, number), column, f"mAP in %, {ratio} threat-free to 1 with a threat")
        for look, (colour, line, marker) in looks.items():
            rows = table[(table["look"] == look) & table[column].notna()]
            value, low, high = (rows[f"mAP {ratio}{end}"] for end in ("", " low", " high"))
            axes.errorbar(
                rows[column], value, (value - low, high - value), color=colour, linestyle=line, marker=marker,
                capsize=3, linewidth=1.6, label="plain CNN" if look == "one look" else f"GBAD, {look}",
            )  # fmt: skip
            for x, y, size in zip(rows[column], value, rows["size"], strict=True):
                axes.annotate(f"{size} px", (x, y), (6, -11), textcoords="offset points", color=colour, size=TEXT_SIZE)
        axes.set(xlim=(0, 1.2 * np.nan_to_num(table[column]).max() or 1), ylim=(below, 100))
        legend_above(axes, columns=1)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path, help="folder of gbad benchmark --scale twice, with its data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 224, 320])
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--time", action="store_true", help="time the scoring of images, too")
    parser.add_argument("--out", type=Path, help="table to write, with that of the CNN")
    options = parser.parse_args(argv)
    keep_freed_memory()
    torch.set_num_threads(1)
    data = existing_data(options.benchmark / "data")
    cells = [cell_of(options.benchmark, data, "gbad", size, options.seed) for size in options.sizes]
    for cell in cells:
        cell.train(data, show_progress=True)
    if options.out is not None:
        cnn = cell_of(options.benchmark, data, "cnn_balanced", 320, options.seed)
        cnn.train(data, show_progress=True)
        table = pd.DataFrame([row for cell in (*cells, cnn) for row in rows_of(cell, data, timed=options.time)])
        write_table(table, options.out)
        save_figures(options.out.parent, {options.out.stem: curve_figure(table)})
        print(table.to_string(index=False))


if __name__ == "__main__":
    main()
