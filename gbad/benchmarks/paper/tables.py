"""Figures of the benchmark as data frames, and its tables: 1 to 3 with intervals, 5, differences, gates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.paper.groups import Group
from gbad.benchmarks.paper.methods import DIFFERENCES
from gbad.benchmarks.paper.published import CLASSES, PUBLISHED_AP
from gbad.benchmarks.paper.statistics import intervals, seed_mean_samples
from gbad.evaluation.bootstrap import mean_over_classes
from gbad.evaluation.metrics import average_precision_per_class, gate_diagnostics
from gbad.phase3_gate import log_odds
from gbad.report.numbers import rounded
from gbad.report.tables import Table, keyed

MEAN = "mean"
"""What the column ``class`` says for the mean average precision."""

OURS = "this benchmark"
"""What the column ``data`` says of our rows."""

OTHER_DATA = "paper, SIXray: other data"
"""What published rows say beside results on generated images."""

PUBLISHED_BACKBONES = {
    "resnet34": "ResNet34", "resnet50": "ResNet50", "resnet101": "ResNet101", "inception_v3": "InceptionV3",
    "densenet121": "DenseNet", "resnet18": "ResNet18", "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1", "efficientnet_lite2": "EfficientNet-Lite2",
}  # fmt: skip
"""Backbones as the paper writes them."""


def tidy(groups: Sequence[Group]) -> pd.DataFrame:
    """One row per subset, backbone, method, seed and class: ``ap`` in [0, 1], empty for a class without positives.

    The class ``mean`` is the mean average precision, over the classes that have positives.
    """
    rows = []
    for group in groups:
        for method in group.methods:
            for seed, values in zip(group.seeds, group.ap[method], strict=True):
                about = {"subset": group.subset.name, "backbone": group.backbone, "method": method, "seed": seed}
                values = np.append(values, mean_over_classes(values))
                rows += [
                    about | {"class": label, "ap": float(value)}
                    for label, value in zip((*group.classes, MEAN), values, strict=True)
                ]
    return pd.DataFrame(rows)


def estimates(groups: Sequence[Group], resamples: int, seed: int = 0) -> pd.DataFrame:
    """Seed means with intervals, and differences between methods with intervals of their own.

    Parameters
    ----------
    groups : sequence of Group
    resamples, seed : int
        Of the bootstrap, see `gbad.benchmarks.paper.statistics.seed_mean_samples`.

    Returns
    -------
    DataFrame
        ``subset``, ``backbone``, ``row`` (a method, or ``"a - b"``), ``class``, ``value``, ``low``, ``high``; AP in
        [0, 1]. A random gate has no interval: it is an expected value, not a ranking.
    """
    rows = []
    for group in groups:
        means = {method: _with_mean(values) for method, values in group.ap.items()}
        means |= {f"{a} - {b}": means[a] - means[b] for a, b in DIFFERENCES if a in means and b in means}
        samples = seed_mean_samples(
            group.y_true, group.scores, group.weights, resamples=resamples, seed=seed, rule=group.rule
        )
        bounds = intervals(samples, group.classes, DIFFERENCES)
        for row, values in means.items():
            for label, value in zip((*group.classes, MEAN), values, strict=True):
                low, high = bounds.get(row, {}).get(label, (np.nan, np.nan))
                rows.append(
                    {"subset": group.subset.name, "backbone": group.backbone, "row": row, "class": label,
                     "value": float(value), "low": low, "high": high}
                )  # fmt: skip
    return pd.DataFrame(rows)


def estimate(values: pd.DataFrame, subset: str, backbone: str, row: str, label: str = MEAN) -> list[float]:
    """Value, low and high of one row of `estimates`, in [0, 1]; empty if there is none."""
    chosen = (values["subset"] == subset) & (values["backbone"] == backbone) & (values["row"] == row)
    found = values.loc[chosen & (values["class"] == label), ["value", "low", "high"]].to_numpy(float)
    return found[0].tolist() if len(found) else []


Row = dict[str, str]


def subset_table(groups: Sequence[Group], values: pd.DataFrame, subset: str, published: str = OTHER_DATA) -> Table[Row]:
    """Table 1, 2 or 3: rows are methods, columns are classes and their mean; percent with 95 % intervals.

    If the paper has the subset and the classes are SIXray's, published rows follow, with `published` in their column
    ``data``.
    """
    rows: list[Row] = []
    of_subset = [group for group in groups if group.subset.name == subset]
    classes = of_subset[0].classes
    for group in of_subset:
        backbone = PUBLISHED_BACKBONES.get(group.backbone, group.backbone)
        for name, method in group.methods.items():
            cells = {
                label: percent(*estimate(values, subset, group.backbone, name, label)) for label in (*classes, MEAN)
            }
            start = ", from random weights" if group.from_random else ""
            label = f"{method.label}{start}"
            rows.append(
                {"method": f"{backbone}{start}: {method.label}", "name": name, "label": label, **cells, "data": OURS}
            )
    if classes == CLASSES:
        for (backbone, name), numbers in PUBLISHED_AP.get(subset, {}).items():
            cells = {label: f"{value:.1f}" for label, value in zip((*CLASSES, MEAN), numbers, strict=True)}
            rows.append({"method": f"{backbone}: {name}", **cells, "data": published})
    return Table(keyed("method", *classes, MEAN, "data", left=("method", "data")), rows)


def difference_table(values: pd.DataFrame) -> Table[Row]:
    """Differences between methods in points, with 95 % intervals; rows of `estimates`."""
    pairs = values[values["row"].str.contains(" - ", regex=False)]
    rows = []
    for (subset, backbone, row), own in pairs.groupby(["subset", "backbone", "row"], sort=False):
        cells = {line["class"]: percent(line["value"], line["low"], line["high"]) for _, line in own.iterrows()}
        rows.append({"difference (points)": row, "subset": subset, "backbone": backbone, **cells})
    labels = dict.fromkeys(values["class"])
    columns = ("difference (points)", "subset", "backbone")
    return Table(keyed(*columns, *labels, left=columns), rows)


def gate_table(groups: Sequence[Group]) -> pd.DataFrame:
    """What each network's gate lets through, and the average precision behind it and behind its bounds.

    Returns
    -------
    DataFrame
        A row per subset, backbone, network and class (``any`` for all threats together), means over the seeds:
        ``recall``, ``false_alarm_rate``; ``no_gate`` (class heads included), ``gate``, ``oracle_gate``,
        ``random_gate``: AP of the first look, all in [0, 1]. ``strength`` (α or ε), ``heads_share`` and
        ``second_share`` (of the second look in the ranking): texts, seed by seed.
    """
    rows = []
    for group in groups:
        for network, scores in group.test.items():
            if any(one.anomalous is None or one.ranking is None for one in scores):
                continue
            decisions = [np.asarray(one.anomalous) for one in scores]
            outputs = {
                column: next((n for n, m in group.methods.items() if (m.network, m.output) == (network, output)), None)
                for column, output in
                {"oracle_gate": "oracle", "random_gate": "random"}.items()
            }  # fmt: skip
            ap = {
                "no_gate": _with_mean(_average_precision(group, [one.ranking for one in scores])),
                "gate": _with_mean(_average_precision(group, [one.first_look for one in scores])),
            }
            ap |= {column: _with_mean(group.ap[name]) for column, name in outputs.items() if name is not None}
            alarms = [gate_diagnostics(group.y_any, decision)["false_alarm_rate"] for decision in decisions]
            for c, label in enumerate((*group.classes, "any")):
                kind = group.y_any if label == "any" else group.y_true[:, c]
                found = [gate_diagnostics(kind, decision) for decision in decisions]
                rows.append({
                    "subset": group.subset.name, "backbone": group.backbone, "network": network, "class": label,
                    "recall": float(np.mean([one["recall"] for one in found])),
                    "false_alarm_rate": float(np.mean(alarms)),
                    **{column: float(numbers[c]) for column, numbers in ap.items()},
                    "strength": _of_seeds(one.strength for one in scores),
                    "heads_share": _of_seeds(one.heads_share for one in scores),
                    "second_share": _of_seeds(one.second_share for one in scores),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _average_precision(group: Group, scores: Sequence[Floats | None]) -> Floats:
    """Average precision of each class by the scores of each seed, (S, C)."""
    of_seeds = [
        average_precision_per_class(group.y_true, np.asarray(one), group.classes, group.rule, group.weights)
        for one in scores
    ]
    return np.array([[*one.values()] for one in of_seeds])


def confidence_table(group: Group, method: str = "gbad") -> pd.DataFrame:
    """Table 5: confidences of sample images, as log-odds, which have no ties at zero, and as the paper prints them.

    Images with threats: the one that ranks best, the median and the worst of those that show one class; threat-free
    ones: the highest, the median and the lowest. The first seed's scores.

    Returns
    -------
    DataFrame
        ``method``, ``image`` (A to F), ``name``, ``shows``; for each class its log-odds (natural logarithm), and
        ``confidence_<class>``, a probability with five digits.
    """
    scores = group.columns(group.test[group.methods[method].network][0], method)
    logits = log_odds(scores) if group.methods[method].gives_probabilities else scores
    single = np.flatnonzero(group.y_true.sum(axis=1) == 1)
    own = logits[single, group.y_true[single].argmax(axis=1)]
    free = np.flatnonzero(~group.y_any)
    highest = logits[free].max(axis=1)
    chosen = [rows[np.argsort(-order, kind="stable")[[0, len(rows) // 2, -1]]]
              for rows, order in ((single, own), (free, highest)) if len(rows)]  # fmt: skip
    rows = []
    for image, row in zip("ABCDEF", np.concatenate(chosen).tolist(), strict=False):
        shows = ", ".join(np.array(group.classes)[group.y_true[row]]) or "no threat"
        values = dict(zip(group.classes, logits[row].tolist(), strict=True))
        as_printed = {f"confidence_{label}": f"{expit(value):.4e}" for label, value in values.items()}
        about = {"method": group.methods[method].label, "image": image, "name": group.names[row], "shows": shows}
        rows.append({**about, **values, **as_printed})
    return pd.DataFrame(rows)


def percent(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """A share in percent with its interval, as the tables print it.

    Examples
    --------
    >>> percent(0.7483, 0.7, 0.8), percent(0.5), percent(-0.0001), percent(float("nan"))
    ('74.8 (70.0 to 80.0)', '50.0', '0.0', 'missing')
    """
    if np.isnan(value):
        return "missing"
    value, low, high = (rounded(100 * number, 1) for number in (value, low, high))
    return f"{value:.1f}" if np.isnan(low) else f"{value:.1f} ({low:.1f} to {high:.1f})"


def _of_seeds(values: Iterable[Floats | None]) -> str:
    return ", ".join("" if value is None else f"{float(value):g}" for value in values)


def _with_mean(values: Floats) -> Floats:
    """Seed mean of each class, and of their mean: (S, C) -> (C + 1,)."""
    mean = values.mean(axis=0)
    return np.append(mean, mean_over_classes(mean))
