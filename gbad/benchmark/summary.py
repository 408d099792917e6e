"""Whether the benchmark's bars are reached, and by how much they are missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gbad.benchmark.groups import Group
from gbad.benchmark.methods import BASELINES
from gbad.benchmark.published import BARS, CLASS_LOSS_BAR, MACRO_F1_BAR, PEAK_IN_BOX_BAR
from gbad.benchmark.tables import estimate


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
        Where several variants of a baseline were run, GBAD has to clear the bar against the best of them, too.
    """
    bars = []
    for backbone in dict.fromkeys(group.backbone for group in groups):
        for difference, needed in BARS.items():
            for subset, points in needed.items():
                found = estimate(values, subset, backbone, difference)
                bars.append(_bar(f"mAP: {_named(difference)}", subset, backbone, found, points, above_zero=True))
        for group in groups:
            if group.backbone == backbone:
                bars += [*_against_best(group, values), *_class_losses(group, values)]
        for group in groups:
            if group.backbone == backbone and group.subset.name == "100":
                bars.append(
                    _bar("gbad_boxes: peak in box (%)", "100", backbone, _peaks(group), PEAK_IN_BOX_BAR, scale=1.0)
                )
        own = any_threat[(any_threat["method"] == "gbad") & (any_threat["backbone"] == backbone)]
        found = own[["f1", "f1_low", "f1_high"]].to_numpy(float)[0].tolist() if len(own) else []
        bars.append(_bar("gbad: macro F1 of any threat (%)", "100", backbone, found, MACRO_F1_BAR))
    return {"bars": bars, "all_met": all(bar["met"] is True for bar in bars)}


def best_baseline(group: Group, values: pd.DataFrame, family: str) -> str | None:
    """Variant of a baseline with the highest mAP on the test list, a choice in its favour; None if none was run."""
    run = [name for name in BASELINES[family] if name in group.methods]
    of_name = {name: estimate(values, group.subset.name, group.backbone, name)[0] for name in run}
    return max(run, key=of_name.__getitem__) if run else None


def _against_best(group: Group, values: pd.DataFrame) -> list[dict[str, Any]]:
    """Bars of GBAD against the best variant of each baseline, where several were run."""
    bars = []
    for family, first in zip(BASELINES, ("gbad - cnn", "gbad - chr"), strict=True):
        needed, best = BARS[first].get(group.subset.name), best_baseline(group, values, family)
        several = sum(name in group.methods for name in BASELINES[family]) > 1
        if needed is None or best is None or not several or "gbad" not in group.methods:
            continue
        found = estimate(values, group.subset.name, group.backbone, f"gbad - {best}")
        name = f"mAP: gbad - best {family} ({best})"
        bars.append(_bar(name, group.subset.name, group.backbone, found, needed, above_zero=True))
    return bars


def _named(difference: str) -> str:
    """What the ungated classifier lacks is more than the gate."""
    return f"{difference} (class heads and gate)" if difference == "gbad - gbad_ungated" else difference


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
