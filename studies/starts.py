"""Is a trained pipeline a better start than ImageNet weights? Train both ways on projected threats, and compare.

python studies/starts.py SIXRAY_SAMPLE --start simulated-bags --seeds 0 1 2 --out runs/starts --results results/starts

Both trainings have the same images, settings, steps and seeds; only the weights that they start from differ. The test
list has other threats and other bags than the training list. A killed study continues; several processes may share a
folder, each with other seeds, and the last call, with all of them, writes the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from second_look_projected import METHODS, project

from gbad.benchmarks.paper.data import BenchmarkData, existing_data
from gbad.benchmarks.paper.groups import Group, make_group
from gbad.benchmarks.paper.methods import chosen_methods
from gbad.benchmarks.paper.run import make_plan, run_benchmark
from gbad.benchmarks.paper.scales import Scale, scale_of
from gbad.benchmarks.paper.statistics import intervals, seed_mean_samples
from gbad.evaluation.metrics import mean_average_precision
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.storage.tables import write_table

IMAGENET = "ImageNet"


def groups_of(
    out: Path, data: BenchmarkData, scale: Scale, seeds: Sequence[int], overrides: Mapping[str, Any]
) -> tuple[list[Group], pd.DataFrame]:
    """Train and score what is not there yet: all methods on each subset, and what the cells cost."""
    run_benchmark(
        out, scale, data=data.folder, methods=METHODS, seeds=seeds, overrides=overrides, say=print, show_progress=True
    )
    methods = chosen_methods(METHODS)
    (backbone,) = scale.backbones
    plan = make_plan(out.resolve() / "cells", data, scale, methods, scale.backbones, seeds, overrides)
    groups = [
        make_group(data, subset, backbone, plan.cells[data.train_digest(subset), backbone], methods)
        for subset in data.subsets
    ]
    return groups, pd.DataFrame([cell.costs() for cell in plan.all])


def compare(groups: Mapping[str, Group], resamples: int) -> pd.DataFrame:
    """Mean average precision by start and method, and the differences between the starts.

    Parameters
    ----------
    groups : mapping of str to Group
        By start, one subset: the same images and seeds.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Rows of ``subset, method, start, seed, map, low, high``; ``seed`` is a number, or "mean" with an interval.
    """
    (first, one), *others = groups.items()
    rows: list[tuple[str, str, str, float, float, float]] = []
    value: dict[str, float] = {}
    samples = {}
    for start, group in groups.items():
        for method, ap in group.ap.items():
            of_seeds = [mean_average_precision(dict(zip(group.classes, seed, strict=True))) for seed in ap]
            rows += [
                (method, start, str(seed), one_map, np.nan, np.nan)
                for seed, one_map in zip(group.seeds, of_seeds, strict=True)
            ]
            name = f"{method} {start}"
            value[name], samples[name] = float(np.mean(of_seeds)), group.scores[method]
    pairs = [(f"{method} {start}", f"{method} {first}") for method in one.ap for start, _ in others]
    means = seed_mean_samples(one.y_true, samples, one.weights, resamples=resamples)
    bounds = {name: of_name["mean"] for name, of_name in intervals(means, one.classes, pairs).items()}
    for method in one.ap:
        rows += [(method, start, "mean", value[f"{method} {start}"], *bounds[f"{method} {start}"]) for start in groups]
        for start, _ in others:
            a, b = f"{method} {start}", f"{method} {first}"
            rows.append((method, f"{start} - {first}", "mean", value[a] - value[b], *bounds[f"{a} - {b}"]))
    frame = pd.DataFrame(rows, columns=["method", "start", "seed", "map", "low", "high"])
    frame.insert(0, "subset", one.subset.name)
    return frame


def main(argv: Sequence[str] | None = None) -> None:
    """Project, train, score, and write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, help="folder in SIXray's layout with threats/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="folder for the tables; default: OUT/results")
    parser.add_argument("--start", default="simulated-bags", help="a model that comes with gbad, or a pipeline.joblib")
    parser.add_argument("--file-size", type=int, default=320, help="longer side of the projected images in pixels")
    parser.add_argument("--size", type=int, default=192, help="side of the images of the first look in pixels")
    parser.add_argument("--epochs", type=int, default=6, help="of phase 1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--positives", type=int, nargs=2, default=[600, 200], help="to train and to test")
    options = parser.parse_args(argv)
    keep_freed_memory()
    project(options.sample, options.out / "data", options.file_size, tuple(options.positives))
    data, scale = existing_data(options.out / "data"), scale_of("twice")
    settings = {"size": options.size, "epochs": options.epochs}
    found, costs = {}, []
    for start, of_start in ((IMAGENET, {}), (options.start, {"start": options.start})):
        folder = options.out / Path(start).stem
        found[start], cost = groups_of(folder, data, scale, options.seeds, settings | of_start)
        cost.insert(0, "start", start)
        costs.append(cost)
    tables = [
        compare({start: groups[k] for start, groups in found.items()}, scale.resamples)
        for k in range(len(data.subsets))
    ]
    results = options.results or options.out / "results"
    results.mkdir(parents=True, exist_ok=True)
    write_table(pd.concat(tables, ignore_index=True), results / "starts.csv")
    write_table(pd.concat(costs, ignore_index=True), results / "cells.csv")
    about = {
        "options": {
            name: str(value) for name, value in vars(options).items() if name not in ("sample", "out", "results")
        }
    }
    write_json(
        results / "about.json",
        about | {"notes": list(data.notes), "versions": library_versions(), "hardware": hardware()},
    )
    print(pd.concat(tables)[lambda table: table["seed"] == "mean"].to_string(index=False))


if __name__ == "__main__":
    main()
