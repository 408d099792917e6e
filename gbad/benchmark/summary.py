"""Whether the benchmark's bars are reached, and by how much they are missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmark.groups import Group
from gbad.benchmark.published import BARS, CLASS_LOSS_BAR, MACRO_F1_BAR, PEAK_IN_BOX_BAR
from gbad.benchmark.tables import estimate

BASELINES = (("cnn", "cnn_balanced"), ("chr", "chr_balanced"))
"""The same architecture on the list's own prevalence and on balanced epochs, which see each threat more often."""


def summarise(groups: Sequence[Group], values: pd.DataFrame, any_threat: pd.DataFrame) -> dict[str, Any]:
    """Hold the figures against the bars.

    Parameters
    ----------
    groups : sequence of Group
    values : DataFrame
        From `gbad.benchmark.tables.estimates`.
    any_threat : DataFrame
        From `gbad.benchmark.any_threat.detector_rows`, with a column ``backbone``.

    Returns
    -------
    dict
        ``bars``: a list of ``{bar, subset, backbone, value, interval, needed, met}`` in points or percent; ``met`` is
        None where the methods were not run. ``all_met``: whether there are figures for all and all are met.
        ``against_better``: a list of ``{difference, subset, backbone, value, interval}``, GBAD minus the better of two
        baselines by mAP on the test list, which favours the baselines; no bars.
    """
    bars = []
    for backbone in dict.fromkeys(group.backbone for group in groups):
        for difference, needed in BARS.items():
            for subset, points in needed.items():
                found = estimate(values, subset, backbone, difference)
                bars.append(_bar(f"mAP: {difference}", subset, backbone, found, points, above_zero=True))
        for group in groups:
            if group.backbone == backbone:
                bars += _class_losses(group, values)
        for group in groups:
            if group.backbone == backbone and group.subset.name == "100":
                bars.append(
                    _bar("gbad_boxes: peak in box (%)", "100", backbone, _peaks(group), PEAK_IN_BOX_BAR, scale=1.0)
                )
        own = any_threat[(any_threat["method"] == "gbad") & (any_threat["backbone"] == backbone)]
        found = own[["f1", "f1_low", "f1_high"]].to_numpy(float)[0].tolist() if len(own) else []
        bars.append(_bar("gbad: macro F1 of any threat (%)", "100", backbone, found, MACRO_F1_BAR))
    better = [row for group in groups for pair in BASELINES for row in _against_better(group, values, pair)]
    return {"bars": bars, "all_met": all(bar["met"] is True for bar in bars), "against_better": better}


def _against_better(group: Group, values: pd.DataFrame, pair: tuple[str, str]) -> list[dict[str, Any]]:
    """Row of GBAD minus the better of two baselines; none where one of the three was not run."""
    subset, backbone = group.subset.name, group.backbone
    if not {"gbad", *pair} <= group.methods.keys():
        return []
    best = max(pair, key=lambda name: estimate(values, subset, backbone, name)[0])
    value, *bounds = (round(100 * number, 2) for number in estimate(values, subset, backbone, f"gbad - {best}"))
    name = f"gbad - better of {' and '.join(pair)} ({best})"
    return [{"difference": name, "subset": subset, "backbone": backbone, "value": value, "interval": bounds}]


def _bar(
    name: str, subset: str, backbone: str, found: Sequence[float], needed: float, *, scale: float = 100.0,
    above_zero: bool = False, at_most: bool = False,
) -> dict[str, Any]:  # fmt: skip
    about = {"bar": name, "subset": subset, "backbone": backbone, "value": None, "interval": None, "needed": needed}
    if not found or np.isnan(found[0]):
        return about | {"met": None}
    value, bounds = scale * found[0], [round(scale * bound, 2) for bound in found[1:]]
    met = value <= needed if at_most else value >= needed
    if above_zero:
        met = met and len(bounds) == 2 and bounds[0] > 0
    return about | {"value": round(value, 2), "interval": bounds or None, "met": bool(met)}


def _class_losses(group: Group, values: pd.DataFrame) -> list[dict[str, Any]]:
    """By how much the class that suffers most is worse than the balanced classifier, with and without FPN."""
    bars = []
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
        bars.append(_bar(name, group.subset.name, group.backbone, loss, CLASS_LOSS_BAR, at_most=True))
    return bars


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
