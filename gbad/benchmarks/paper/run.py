"""Run a benchmark: data, one cell after the other, then all tables."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmarks.paper.cells import Cell, cell_costs, make_cell, provenance, score_cell, train_cell
from gbad.benchmarks.paper.data import BenchmarkData, existing_data, simulated_data, without_mislabelled
from gbad.benchmarks.paper.detector_cells import (
    DetectorCell,
    detector_costs,
    detector_scores,
    make_detector_cell,
    score_detector_cell,
    train_detector_cell,
)
from gbad.benchmarks.paper.groups import make_group
from gbad.benchmarks.paper.methods import Method, chosen_methods, needed_networks
from gbad.benchmarks.paper.results import TABLE_4, shown_groups, write_results
from gbad.benchmarks.paper.scales import Scale, Subset
from gbad.data.labels import LabelList
from gbad.errors import GbadError
from gbad.pipeline import GBADPipeline
from gbad.runtime.versions import hardware, library_versions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What will be trained and scored.

    Attributes
    ----------
    cells : mapping of (str, str) to mapping of str to tuple of Cell
        By fingerprint of the training list and backbone, then by network: one cell a seed.
    tests : mapping of str to LabelList
        By fingerprint of the training list: the test images of all subsets that share it.
    detectors : mapping of str to tuple of DetectorCell
        Image-level detectors by method: one cell a seed.
    shown : str
        Fingerprint of the training list that they learn from: that of the subset of Table 4.
    """

    cells: Mapping[tuple[str, str], Mapping[str, tuple[Cell, ...]]]
    tests: Mapping[str, LabelList]
    detectors: Mapping[str, tuple[DetectorCell, ...]]
    shown: str


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
    say: Callable[[str], object] = lambda text: None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Train and score what is not done yet, then write ``OUT/results``.

    A benchmark that was killed continues. Cells are shared by runs into one folder, so methods, seeds and backbones
    can be added later, or computed by several processes that each take some of them.

    Parameters
    ----------
    out : Path
        Folder for ``data`` (if simulated), ``cells`` and ``results``.
    scale : Scale
    data : Path, optional
        Data in SIXray's layout, instead of simulated ones.
    methods : sequence of str, optional
        Of `gbad.benchmarks.paper.methods.METHODS`; by default those of the scale.
    seeds : sequence of int
        Of the trainings; the data stay the same.
    backbones : sequence of str, optional
        Instead of the scale's.
    data_seed : int
        Of the simulation.
    mislabelled : Path, optional
        Text file of image names to leave out of all lists.
    overrides : mapping, optional
        Parameters of `GBADPipeline` for all networks, such as ``epochs``.
    say : callable
        Told what comes next.
    show_progress : bool
        Show progress bars.

    Returns
    -------
    dict
        The content of ``summary.json``.
    """
    chosen, out = chosen_methods(methods or scale.methods), Path(out).resolve()
    if not seeds or len(set(seeds)) < len(seeds):
        raise GbadError(f"seeds must be different numbers, at least one, not {', '.join(map(str, seeds)) or 'none'}")
    backbones = tuple(backbones or scale.backbones)
    if data is None:
        say(f"Data: simulated bags in {out / 'data'}")
        found = simulated_data(out / "data", scale, data_seed, show_progress=show_progress)
    else:
        found = existing_data(data)
    if mislabelled is not None:
        found = without_mislabelled(found, mislabelled, out / "without-mislabelled")
    plan = make_plan(out / "cells", found, scale, chosen, backbones, seeds, overrides or {})
    _compute(plan, found, say, show_progress)
    say("Tables, plots and report")
    by_class = {name: method for name, method in chosen.items() if method.knows_classes}
    groups = [
        make_group(
            found, subset, backbone, plan.cells[key, backbone], by_class, plan.tests[key].names
        )
        for backbone in backbones
        for subset in found.subsets
        for key in (found.fingerprint(subset),)
    ]  # fmt: skip
    order = [subset.name for subset in found.subsets]
    groups.sort(key=lambda group: order.index(group.subset.name))
    costs = pd.DataFrame(
        [cell_costs(cell, plan.tests[key].names) for (key, _), networks in plan.cells.items()
         for cells in networks.values() for cell in cells]
        + [detector_costs(cell, plan.tests[plan.shown].names) for cells in plan.detectors.values() for cell in cells]
    )  # fmt: skip
    detectors = {
        chosen[name].label: detector_scores(cells, plan.tests[plan.shown].names, shown_groups(groups)[0].names)
        for name, cells in plan.detectors.items()
    }
    info = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "data": "simulated bags" if data is None or "simulation" in found.origin else Path(data).resolve().name,
        "settings": {
            **scale.settings,
            **(overrides or {}),
            "seeds": list(seeds),
            "data_seed": data_seed,
            "image_detectors": dict(scale.image_detectors),
        },
        **provenance(cell for networks in plan.cells.values() for cells in networks.values() for cell in cells),
        "versions": library_versions(),
        "hardware": hardware(),
    }
    return write_results(out / "results", found, groups, costs, info, resamples=scale.resamples, detectors=detectors)


def make_plan(
    root: Path, data: BenchmarkData, scale: Scale, methods: Mapping[str, Method], backbones: Sequence[str],
    seeds: Sequence[int], overrides: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """List the cells: each network once for each training list, backbone and seed."""
    sharing: dict[str, list[Subset]] = {}
    for subset in data.subsets:
        sharing.setdefault(data.fingerprint(subset), []).append(subset)
    networks = needed_networks(methods)
    cells = {
        (key, backbone): {
            name: tuple(
                make_cell(root, data, subsets[0], name, network, backbone, seed, scale, overrides) for seed in seeds
            )
            for name, network in networks.items()
        }
        for key, subsets in sharing.items()
        for backbone in backbones
    }
    tests = {key: _united([data.read(subset, "test") for subset in of]) for key, of in sharing.items()}
    names = [subset.name for subset in data.subsets]
    subset = data.subsets[names.index(TABLE_4) if TABLE_4 in names else -1]
    default = GBADPipeline().validation_fraction
    fraction = {**scale.settings, **overrides}.get("validation_fraction", default)
    detectors = {
        name: tuple(make_detector_cell(root, data, subset, method.network, seed, scale, fraction) for seed in seeds)
        for name, method in methods.items()
        if not method.knows_classes
    }
    return Plan(cells, tests, detectors, data.fingerprint(subset))


def _united(lists: Sequence[LabelList]) -> LabelList:
    """All images of some lists, each once."""
    labels = {name: row for one in lists for name, row in zip(one.names, one.labels, strict=True)}
    return LabelList(tuple(labels), np.stack(list(labels.values())), lists[0].classes)


def _compute(plan: Plan, data: BenchmarkData, say: Callable[[str], object], show_progress: bool) -> None:
    """Train and score cell by cell, the first seed of all networks and detectors first."""
    work: list[tuple[Cell | DetectorCell, LabelList]] = [
        (cell, plan.tests[key])
        for (key, _), networks in plan.cells.items()
        for cells in networks.values()
        for cell in cells
    ]
    work += [(cell, plan.tests[plan.shown]) for cells in plan.detectors.values() for cell in cells]
    order = list(dict.fromkeys(cell.seed for cell, _ in work))
    work.sort(key=lambda item: order.index(item[0].seed))
    begun, computed = time.monotonic(), 0
    for number, (cell, test) in enumerate(work, start=1):
        say(f"Cell {number} of {len(work)}: {cell.label}")
        if isinstance(cell, DetectorCell):
            trained = train_detector_cell(cell, data, show_progress=show_progress)
            scored = score_detector_cell(cell, data, test, show_progress=show_progress)
        else:
            trained = train_cell(cell, data, show_progress=show_progress)
            scored = score_cell(cell, data, test, show_progress=show_progress)
        if trained or scored:
            computed += 1
            each = (time.monotonic() - begun) / computed
            _log.info("%.0f s a cell so far; %d cells to look at", each, len(work) - number)
