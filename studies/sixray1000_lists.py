"""SIXray1000 on many test lists instead of one: the intervals of a list of 15 images with threats decide nothing.

python studies/sixray1000_lists.py runs/twice --seeds 0 1 2 --out results/second_look/sixray1000_lists

Takes the scores of a finished ``gbad benchmark --scale twice``. The 150 images with threats of SIXray100 make ten lists
in the order of the file, each with all 15,000 threat-free images: one threat in a thousand. The first is the list
SIXray1000 of the benchmark. Phase 3 chooses for this prevalence, on the validation part. The average precision of a
class is the mean over the lists that show it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.paper.data import existing_data
from gbad.benchmarks.paper.groups import Group, make_group
from gbad.benchmarks.paper.methods import DIFFERENCES, chosen_methods
from gbad.benchmarks.paper.network_cells import provenance
from gbad.benchmarks.paper.run import make_plan
from gbad.benchmarks.paper.scales import Subset, scale_of
from gbad.benchmarks.paper.statistics import intervals, with_seed_deviations
from gbad.data.arrays import Mask, Rows
from gbad.evaluation.bootstrap import binned_average_precision, mean_over_classes, positive_bins
from gbad.evaluation.metrics import average_precision
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.storage.tables import write_table

LIST_SIZE = 15
SUBSET = Subset("1000", "100", 1, 1000)
"""All images of SIXray100's test list, with what phase 3 chooses for one threat in a thousand."""


def lists_of(y_true: Mask, size: int) -> list[Rows]:
    """Rows of each list: `size` images with threats in their order, and all threat-free ones."""
    threats, free = np.flatnonzero(y_true.any(1)), np.flatnonzero(~y_true.any(1))
    starts = range(0, len(threats) - size + 1, size)
    return [np.concatenate([threats[start : start + size], free]) for start in starts]


def mean_over_lists(values: Floats) -> Floats:
    """Mean over the first axis, lists, without the NaN of lists that do not show a class."""
    return mean_over_classes(np.moveaxis(values, 0, -1))


def average_precisions(y_true: Mask, scores: Floats, lists: Sequence[Rows]) -> Floats:
    """Average precision of each ranking and class, mean over the lists: (R, n, C) -> (R, C)."""
    values = [
        [[average_precision(y_true[rows, c], ranking[rows, c]) if y_true[rows, c].any() else np.nan
          for c in range(y_true.shape[1])] for ranking in scores]
        for rows in lists
    ]  # fmt: skip
    return mean_over_lists(np.array(values))


def resampled(y_true: Mask, scores: Floats, lists: Sequence[Rows], size: int, resamples: int, seed: int = 0) -> Floats:
    """The same on resamples of the images, (B, R, C): threats are drawn in each list, threat-free images for all."""
    n_rankings, _, n_classes = scores.shape
    found = [
        (k, r, c, rows, positive_bins(scores[r, of_list, c], rows))
        for k, of_list in enumerate(lists)
        for c in range(n_classes)
        if len(rows := np.flatnonzero(y_true[of_list, c]))
        for r in range(n_rankings)
    ]
    generator = np.random.default_rng(seed)
    n_free = len(lists[0]) - size
    result = np.full((resamples, n_rankings, n_classes), np.nan)
    for b in range(resamples):
        free = np.bincount(generator.integers(n_free, size=n_free), minlength=n_free)
        weights = [
            np.concatenate([np.bincount(generator.integers(size, size=size), minlength=size), free]).astype(float)
            for _ in lists
        ]
        values = np.full((len(lists), n_rankings, n_classes), np.nan)
        for k, r, c, rows, bins in found:
            if weights[k][rows].any():
                values[k, r, c] = binned_average_precision(bins, rows, weights[k])
        result[b] = mean_over_lists(values)
    return result


def estimates(group: Group, size: int, resamples: int) -> pd.DataFrame:
    """Rows as in a benchmark's ``estimates.csv``, with intervals over images and seeds."""
    lists = lists_of(group.y_true, size)
    names, n_seeds = list(group.scores), len(group.seeds)
    scores = np.concatenate([group.scores[name] for name in names])
    ap = average_precisions(group.y_true, scores, lists).reshape(len(names), n_seeds, -1).mean(1)
    samples = resampled(group.y_true, scores, lists, size, resamples)
    mean = with_seed_deviations(samples.reshape(resamples, len(names), n_seeds, -1))
    bounds = intervals({name: mean[:, m] for m, name in enumerate(names)}, group.classes, DIFFERENCES)
    values = dict(zip(names, ap, strict=True))
    values |= {f"{a} - {b}": values[a] - values[b] for a, b in DIFFERENCES if a in values and b in values}
    rows = []
    for row, of_classes in values.items():
        for label, value in zip((*group.classes, "mean"), (*of_classes, mean_over_classes(of_classes)), strict=True):
            low, high = bounds[row][label]
            rows.append({"subset": group.subset.name, "backbone": group.backbone, "row": row, "class": label,
                         "value": float(value), "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``estimates.csv`` of methods whose cells are finished, and ``about.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path, help="folder of gbad benchmark --scale twice, with data and cells")
    parser.add_argument("--methods", nargs="+", help="default: those of the scale")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=LIST_SIZE, help="images with threats in a list")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    scale = scale_of("twice")
    methods = chosen_methods(options.methods or scale.methods)
    data = existing_data(options.benchmark / "data")
    (backbone,) = scale.backbones
    plan = make_plan(options.benchmark.resolve() / "cells", data, scale, methods, (backbone,), options.seeds, {})
    group = make_group(data, SUBSET, backbone, plan.cells[data.train_digest(SUBSET), backbone], methods)
    table = estimates(group, options.size, options.resamples)
    write_table(table, options.out / "estimates.csv")
    counts = [dict(zip(group.classes, group.y_true[rows].sum(0).tolist(), strict=True))
              for rows in lists_of(group.y_true, options.size)]  # fmt: skip
    about = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "threats_by_list": counts,
        "trained_on": provenance(plan.networks)["trained_on"], "versions": library_versions(), "hardware": hardware(),
    }  # fmt: skip
    write_json(options.out / "about.json", about)
    shown = table[table["class"] == "mean"].set_index("row")[["value", "low", "high"]]
    print((100 * shown).round(1).to_string())


if __name__ == "__main__":
    main()
