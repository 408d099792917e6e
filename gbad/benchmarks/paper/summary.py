"""Targets of the benchmark: which are met, and by how much the others are missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmarks.paper.any_threat import OWN_DECISION
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.methods import BASELINES
from gbad.benchmarks.paper.published import CLASS_LOSS_TARGET, MACRO_F1_TARGET, PEAK_IN_BOX_TARGET, TARGETS
from gbad.benchmarks.paper.tables import estimate
from gbad.report.tables import Column, Table, keyed

_MET = {True: "yes", False: "no", None: "not run"}


def summarise(groups: Sequence[Group], values: pd.DataFrame, any_threat: pd.DataFrame) -> dict[str, Any]:
    """Hold the figures against the targets.

    Parameters
    ----------
    groups : sequence of Group
    values : DataFrame
        From `gbad.benchmarks.paper.tables.estimates`.
    any_threat : DataFrame
        From `gbad.benchmarks.paper.any_threat.detector_rows`, with a column ``backbone``.

    Returns
    -------
    dict
        ``targets``: a list of ``{target, subset, backbone, value, interval, needed, met}`` in points or percent;
        ``met`` is None where the methods were not run. ``all_met``: whether there are figures for all and all are met.
        Where several variants of a baseline were run, GBAD has to reach the target against the best of them, too.
    """
    targets = []
    for backbone in dict.fromkeys(group.backbone for group in groups):
        for difference, needed in TARGETS.items():
            for subset, points in needed.items():
                found = estimate(values, subset, backbone, difference)
                targets.append(_target(f"mAP: {_named(difference)}", subset, backbone, found, points, above_zero=True))
        for group in groups:
            if group.backbone == backbone:
                targets += [*_against_best(group, values), *_class_losses(group, values)]
        for group in groups:
            if group.backbone == backbone and group.subset.name == "100":
                targets.append(
                    _target(
                        "gbad_boxes: peak in box (%)", "100", backbone, _peaks(group), PEAK_IN_BOX_TARGET, scale=1.0
                    )
                )
        for method in (f"gbad_paper: {OWN_DECISION}", "gbad"):
            own = any_threat[(any_threat["method"] == method) & (any_threat["backbone"] == backbone)]
            found = own[["f1", "f1_low", "f1_high"]].to_numpy(float)[0].tolist() if len(own) else []
            targets.append(_target(f"{method}: macro F1 of any threat (%)", "100", backbone, found, MACRO_F1_TARGET))
    return {"targets": targets, "all_met": all(target["met"] is True for target in targets)}


def target_table(summary: Mapping[str, Any], *, only_run: bool = False) -> Table[dict[str, Any]]:
    """Table of the targets of `summarise`; `only_run` leaves out those whose methods were not run."""
    columns: list[Column[dict[str, Any]]] = [
        *keyed("target", "subset", "backbone", left=("target", "subset", "backbone")),
        Column("value", itemgetter("value"), lambda value: "" if value is None else f"{value:.1f}"),
        Column(
            "interval", itemgetter("interval"), lambda bounds: " to ".join(f"{bound:.1f}" for bound in bounds or ())
        ),
        Column("needed", itemgetter("needed"), "{:g}".format),
        Column("met", itemgetter("met"), _MET.__getitem__),
    ]
    rows = [target for target in summary["targets"] if target["met"] is not None or not only_run]
    return Table(columns, rows, lambda target: {True: "met", False: "missed"}.get(target["met"], ""))


def best_baseline(group: Group, values: pd.DataFrame, family: str) -> str | None:
    """Variant of a baseline with the highest mAP on the test list, a choice in its favour; None if none was run."""
    run = [name for name in BASELINES[family] if name in group.methods]
    of_name = {name: estimate(values, group.subset.name, group.backbone, name)[0] for name in run}
    return max(run, key=of_name.__getitem__) if run else None


def _against_best(group: Group, values: pd.DataFrame) -> list[dict[str, Any]]:
    """Targets of GBAD against the best variant of each baseline, where several were run."""
    targets = []
    for family, first in zip(BASELINES, ("gbad - cnn", "gbad - chr"), strict=True):
        needed, best = TARGETS[first].get(group.subset.name), best_baseline(group, values, family)
        several = sum(name in group.methods for name in BASELINES[family]) > 1
        if needed is None or best is None or not several or "gbad" not in group.methods:
            continue
        found = estimate(values, group.subset.name, group.backbone, f"gbad - {best}")
        name = f"mAP: gbad - best {family} ({best})"
        targets.append(_target(name, group.subset.name, group.backbone, found, needed, above_zero=True))
    return targets


def _named(difference: str) -> str:
    """Name of a difference; the ungated classifier lacks the class heads, too."""
    return f"{difference} (class heads and gate)" if difference == "gbad - gbad_ungated" else difference


def _target(
    name: str, subset: str, backbone: str, found: Sequence[float], needed: float, *, scale: float = 100.0,
    above_zero: bool = False, at_most: bool = False,
) -> dict[str, Any]:  # fmt: skip
    about = {"target": name, "subset": subset, "backbone": backbone, "value": None, "interval": None, "needed": needed}
    if not found or np.isnan(found[0]):
        return about | {"met": None}
    value, bounds = scale * found[0], [round(scale * bound, 4) for bound in found[1:]]
    met = value <= needed if at_most else value >= needed
    if above_zero:
        met = met and len(bounds) == 2 and bounds[0] > 0
    return about | {"value": round(value, 4), "interval": bounds or None, "met": bool(met)}


def _class_losses(group: Group, values: pd.DataFrame) -> list[dict[str, Any]]:
    """By how much the class that suffers most is worse than the balanced classifier, with and without FPN."""
    targets = []
    for other in ("cnn_balanced", "cnn_balanced_fpn"):
        rows = {
            label: estimate(values, group.subset.name, group.backbone, f"gbad - {other}", label)
            for label in group.classes
        }
        present = {label: found for label, found in rows.items() if found and not np.isnan(found[0])}
        name, loss = f"largest loss of a class: {other} - gbad", []
        if present:
            worst = min(present, key=lambda label: present[label][0])
            value, low, high = present[worst]
            name, loss = f"{name} ({worst})", [-value, -high, -low]
        targets.append(_target(name, group.subset.name, group.backbone, loss, CLASS_LOSS_TARGET, at_most=True))
    return targets


def _peaks(group: Group) -> list[float]:
    """Percent of the detected threats, over all seeds, whose heat-map has its maximum in the box; empty without."""
    inside = boxed = 0
    for scores in group.test.get("gbad_boxes", ()):
        if scores.peaks is None or scores.log_gated is None or scores.thresholds is None:
            return []
        detected = group.y_true & (np.exp(scores.log_gated) >= scores.thresholds) & (scores.peaks >= 0)
        inside += int((scores.peaks[detected] == 1).sum())
        boxed += int(detected.sum())
    return [100.0 * inside / boxed] if boxed else []
