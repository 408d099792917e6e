"""Run a benchmark: data, one cell after the other, then all tables."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmarks.paper.cells import Cell, Lists
from gbad.benchmarks.paper.data import BenchmarkData, existing_data, simulated_data, without_mislabelled
from gbad.benchmarks.paper.detector_cells import DetectorCell, make_detector_cell
from gbad.benchmarks.paper.groups import make_group
from gbad.benchmarks.paper.methods import METHODS, Method, chosen_methods, needed_networks
from gbad.benchmarks.paper.needs import without_unusable
from gbad.benchmarks.paper.network_cells import NetworkCell, make_network_cell, provenance
from gbad.benchmarks.paper.planning import plan_table, planned_data, work_of
from gbad.benchmarks.paper.results import TABLE_4, shown_groups, write_results
from gbad.benchmarks.paper.scales import Scale, Subset
from gbad.data.labels import LabelList
from gbad.errors import GbadError
from gbad.evaluation.metrics import Rule, check_rule
from gbad.phase1_classifier.backbones import build_backbone, load_imagenet_weights
from gbad.report.tables import Table
from gbad.runtime.progress import progress_bar
from gbad.runtime.text import counted
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.targets import check_apart
from gbad.training.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """All cells that a benchmark trains and scores.

    Attributes
    ----------
    cells : mapping of (str, str) to mapping of str to tuple of NetworkCell
        By digest of the training list and backbone, then by network: one cell a seed.
    detectors : mapping of str to tuple of DetectorCell
        Image-level detectors by method: one cell a seed.
    """

    cells: Mapping[tuple[str, str], Mapping[str, tuple[NetworkCell, ...]]]
    detectors: Mapping[str, tuple[DetectorCell, ...]]

    @property
    def networks(self) -> list[NetworkCell]:
        """All cells of networks, in the order of the tables."""
        return [cell for networks in self.cells.values() for cells in networks.values() for cell in cells]

    @property
    def all(self) -> list[Cell]:
        """All cells, in the order of the tables."""
        return [*self.networks, *(cell for cells in self.detectors.values() for cell in cells)]


def run_benchmark(
    out: Path,
    scale: Scale,
    *,
    data: Path | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    backbones: Sequence[str] | None = None,
    data_seed: int = 0,
    mislabelled: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    rule: Rule = "all_points",
    say: Callable[[str], object] = lambda text: None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Train and score all cells that are not done yet, then write ``OUT/results``.

    A killed benchmark continues. Runs into one folder share its cells: methods, seeds and backbones can be added
    later, or divided between several processes.

    Parameters
    ----------
    out : Path
        Folder for ``data`` (if simulated), ``cells`` and ``results``.
    scale : Scale
    data : Path, optional
        Folder in SIXray's layout. Default: simulated data.
    methods : sequence of str, optional
        Names in `gbad.benchmarks.paper.methods.METHODS`. Default: those of the scale.
    seeds : sequence of int
        Seeds of the trainings; the data stay the same.
    backbones : sequence of str, optional
        Default: those of the scale.
    data_seed : int
        Seed of the simulation.
    mislabelled : Path, optional
        Text file of image names to leave out of all lists.
    overrides : mapping, optional
        Settings for all networks, such as ``epochs``. GBAD as in the paper keeps its own.
    rule : {"all_points", "voc07", "voc10"}
        Of average precision, see `gbad.evaluation.metrics.average_precision`.
    say : callable
        Is told what comes next.
    show_progress : bool
        Show progress bars.

    Returns
    -------
    dict
        The content of ``summary.json``.
    """
    chosen, out = chosen_methods(methods or scale.methods), Path(out).resolve()
    check_rule(rule)
    _check_seeds(seeds)
    backbones = tuple(backbones or scale.backbones)
    if data is None:
        say(f"Data: simulated bags in {out / 'data'}")
        found = simulated_data(out / "data", scale, data_seed, show_progress=show_progress)
    else:
        check_apart(out, data)
        found = existing_data(data)
    if mislabelled is not None:
        found = without_mislabelled(found, mislabelled, out / "without-mislabelled")
    chosen, left_out = without_unusable(found, chosen)
    for name, reason in left_out.items():
        note = f"{METHODS[name].label} is left out: {reason}"
        say(note)
        found = replace(found, notes=(*found.notes, note))
    plan = make_plan(out / "cells", found, scale, chosen, backbones, seeds, overrides or {})
    _compute(plan, found, say, show_progress)
    say("Tables, plots and report")
    by_class = {name: method for name, method in chosen.items() if method.knows_classes}
    groups = [
        make_group(found, subset, backbone, plan.cells[found.train_digest(subset), backbone], by_class, rule)
        for backbone in backbones
        for subset in found.subsets
    ]
    order = [subset.name for subset in found.subsets]
    groups.sort(key=lambda group: order.index(group.subset.name))
    shown = shown_groups(groups)[0].names
    detectors = {
        chosen[name].label: [cell.seed_scores(shown) for cell in cells] for name, cells in plan.detectors.items()
    }
    info = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "data": "simulated bags" if data is None or "simulation" in found.origin else Path(data).resolve().name,
        "settings": {
            **scale.settings,
            **(overrides or {}),
            "seeds": list(seeds),
            "ap_rule": rule,
            "data_seed": data_seed,
            "image_detectors": dict(scale.image_detectors),
        },
        **provenance(plan.networks),
        "versions": library_versions(),
        "hardware": hardware(),
    }
    costs = pd.DataFrame([cell.costs() for cell in plan.all])
    return write_results(out / "results", found, groups, costs, info, resamples=scale.resamples, detectors=detectors)


def plan_benchmark(
    out: Path,
    scale: Scale,
    *,
    data: Path | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    backbones: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> tuple[Table[dict[str, Any]], list[str]]:
    """Say what `run_benchmark` would do with the same arguments, and how long it would take; nothing is written.

    Returns
    -------
    table : Table
        A row for each network that has cells to do.
    notes : list of str
        Totals, methods that cannot be run, and what the estimate leaves out.
    """
    chosen, out = chosen_methods(methods or scale.methods), Path(out).resolve()
    _check_seeds(seeds)
    backbones = tuple(backbones or scale.backbones)
    found = planned_data(out / "data", scale) if data is None else existing_data(data)
    is_there = (found.folder / "ImageSet").is_dir()
    chosen, left_out = without_unusable(found, chosen) if is_there else (chosen, {})
    plan = make_plan(out / "cells", found, scale, chosen, backbones, seeds, overrides or {})
    work = work_of(plan.cells, found)
    with progress_bar("timing networks", len(work), "networks", show=show_progress) as advance:
        table, notes = plan_table(work, found, lambda: advance(1))
    if not is_there:
        sizes = scale.simulation()
        train = sizes["train_positives"] * (1 + sizes["negatives_per_positive"])
        test = sizes["test_positives"] * (1 + sizes["test_negatives_per_positive"])
        notes.append(f"{train + test:,} images of {scale.image_size} px are simulated first.")
    notes += [f"{METHODS[name].label} would be left out: {reason}" for name, reason in left_out.items()]
    if plan.detectors:
        cells = sum(map(len, plan.detectors.values()))
        notes.append(f"On top: {counted(cells, 'cell')} of image-level detectors ({', '.join(plan.detectors)}).")
    return table, notes


def make_plan(
    root: Path, data: BenchmarkData, scale: Scale, methods: Mapping[str, Method], backbones: Sequence[str],
    seeds: Sequence[int], overrides: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """List the cells: each network once for each training list, backbone and seed."""
    starts: dict[str, dict[str, Any]] = {backbone: {} for backbone in backbones}
    if scale.any_weights and {**scale.settings, **overrides}.get("pretrained", True):
        for backbone in backbones:
            weights = load_imagenet_weights(build_backbone(backbone), backbone, overrides.get("weights"))
            starts[backbone] = {"pretrained": weights is not None}
    sharing: dict[str, list[Subset]] = {}
    for subset in data.subsets:
        sharing.setdefault(data.train_digest(subset), []).append(subset)
    lists = {
        key: Lists(subsets[0], key, _united([data.read(subset, "test") for subset in subsets]))
        for key, subsets in sharing.items()
    }
    cells = {
        (key, backbone): {
            name: tuple(
                make_network_cell(
                    root, data, of_key, name, network, backbone, seed, scale, {**overrides, **starts[backbone]}
                )
                for seed in seeds
            )
            for name, network in needed_networks(methods).items()
        }
        for key, of_key in lists.items()
        for backbone in backbones
    }  # fmt: skip
    names = [subset.name for subset in data.subsets]
    subset = data.subsets[names.index(TABLE_4) if TABLE_4 in names else -1]
    of_table_4 = replace(lists[data.train_digest(subset)], subset=subset)
    default = Settings().validation_fraction
    # Networks may do without held-out images; the threshold of a detector is chosen on some.
    fraction = {**scale.settings, **overrides}.get("validation_fraction") or default
    detectors = {
        name: tuple(make_detector_cell(root, data, of_table_4, method.network, seed, scale, fraction) for seed in seeds)
        for name, method in methods.items()
        if not method.knows_classes
    }
    return Plan(cells, detectors)


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise GbadError(f"seeds must be different numbers, at least one, not {', '.join(map(str, seeds)) or 'none'}")


def _united(lists: Sequence[LabelList]) -> LabelList:
    """All images of some lists, each once."""
    labels = {name: row for one in lists for name, row in zip(one.names, one.labels, strict=True)}
    return LabelList(tuple(labels), np.stack(list(labels.values())), lists[0].classes)


def _compute(plan: Plan, data: BenchmarkData, say: Callable[[str], object], show_progress: bool) -> None:
    """Train and score cell by cell, the first seed of all networks and detectors first."""
    cells = plan.all
    for network in {network.backbone: network for network in reversed(plan.networks)}.values():
        network.require_weights()  # found now, not after hours of other cells
    order = list(dict.fromkeys(cell.seed for cell in cells))
    cells.sort(key=lambda cell: order.index(cell.seed))
    begun, computed = time.monotonic(), 0
    for number, cell in enumerate(cells, start=1):
        say(f"Cell {number} of {len(cells)}: {cell.label}")
        was_trained = cell.train(data, show_progress=show_progress)
        if cell.score(data, show_progress=show_progress) or was_trained:
            computed += 1
            each = (time.monotonic() - begun) / computed
            _log.info("%.0f s a cell so far; %d cells to look at", each, len(cells) - number)
