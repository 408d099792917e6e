"""Scores of all methods on one subset with one backbone: the source of all tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.paper.bounds import DRAWS, oracle_gated, random_gate_average_precision
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores, at_prevalence
from gbad.benchmarks.paper.methods import METHODS, Method
from gbad.benchmarks.paper.network_cells import NetworkCell
from gbad.benchmarks.paper.scales import Subset
from gbad.data.arrays import Mask
from gbad.evaluation.metrics import Rule, average_precision_per_class
from gbad.phase3_gate import log_sigmoid
from gbad.storage.digests import digest
from gbad.storage.ledger import kept


@dataclass(frozen=True)
class Group:
    """One subset, one backbone.

    Attributes
    ----------
    subset : Subset
    backbone : str
    classes : tuple of str
    seeds : tuple of int
        Seeds of the trainings.
    names : tuple of str
        The n test images that all networks could score.
    y_true : bool array (n, C)
    weights : float array (n,)
        Weight of each image.
    methods : mapping of str to Method
        Methods in the tables.
    test, validation : mapping of str to list of Scores
        Scores by network, one entry a seed.
    scores : mapping of str to float array (S, n, C)
        Rankings by method; random gates have none.
    ap : mapping of str to float array (S, C)
        Average precision by method; NaN for a class without positives.
    rule : {"all_points", "voc07", "voc10"}
        Of all average precisions, see `gbad.evaluation.metrics.average_precision`.
    from_random : bool
        Whether its networks were trained from random weights.
    """

    subset: Subset
    backbone: str
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    names: tuple[str, ...]
    y_true: Mask
    weights: Floats
    methods: Mapping[str, Method]
    test: Mapping[str, list[Scores]]
    validation: Mapping[str, list[Scores]]
    scores: Mapping[str, Floats]
    ap: Mapping[str, Floats]
    rule: Rule = "all_points"
    from_random: bool = False

    @property
    def y_any(self) -> Mask:
        """Whether an image shows any threat, bool (n,)."""
        return np.asarray(self.y_true.any(axis=1))

    def columns(self, scores: Scores, method: str) -> Floats:
        """Scores of a method on some images, (m, C): logits or logarithms of gated probabilities; bounds have none."""
        of_output = {"ranking": scores.ranking, "first": scores.first_look, "gated": scores.log_gated}
        found = of_output.get(self.methods[method].output)
        return scores.logits if found is None else found


def make_group(
    data: BenchmarkData,
    subset: Subset,
    backbone: str,
    cells: Mapping[str, Sequence[NetworkCell]],
    methods: Mapping[str, Method],
    rule: Rule = "all_points",
) -> Group:
    """Collect the scores of all cells on the test images of a subset.

    Parameters
    ----------
    data : BenchmarkData
    subset : Subset
    backbone : str
    cells : mapping of str to sequence of NetworkCell
        By network, one a seed.
    methods : mapping of str to Method
    rule : {"all_points", "voc07", "voc10"}
    """
    labels = data.read(subset, "test")
    wanted = set(labels.names)
    read = {network: [cell.test_scores() for cell in of_seeds] for network, of_seeds in cells.items()}
    for of_seeds in read.values():  # a damaged image is missing everywhere
        for one in of_seeds:
            wanted &= set(one.names.tolist())
    rows = np.array([row for row, name in enumerate(labels.names) if name in wanted], dtype=np.int64)
    names = tuple(labels.names[row] for row in rows)
    test = {network: [scores.select(names)[1] for scores in of_seeds] for network, of_seeds in read.items()}
    y_true = labels.labels[rows].astype(bool)
    y_any = np.asarray(y_true.any(axis=1))
    weights = np.where(y_any, 1.0, float(subset.negative_weight))
    validation = {network: [cell.validation_scores() for cell in of_seeds] for network, of_seeds in cells.items()}
    prevalence = 1 / (1 + data.ratio(subset))
    for network, of_network in cells.items():
        for seed, cell in enumerate(of_network):
            both = test[network][seed], validation[network][seed]
            test[network][seed], validation[network][seed] = at_prevalence(*both, cell.settings, prevalence)

    scores = {
        name: np.stack([_scores_of(method, of_seed, y_any) for of_seed in test[method.network]])
        for name, method in methods.items()
        if method.output != "random"
    }
    ap = {}
    for name, method in methods.items():
        if method.output == "random":
            pairs = zip(cells[method.network], test[method.network], strict=True)
            ap[name] = np.stack([_random_gate(cell, of_seed, names, y_true, weights, rule) for cell, of_seed in pairs])
        else:
            ap[name] = np.array(
                [[*average_precision_per_class(y_true, ranking, labels.classes, rule, weights).values()]
                 for ranking in scores[name]]
            )  # fmt: skip
    return Group(
        subset, backbone, labels.classes, tuple(cell.seed for cell in next(iter(cells.values()))), names, y_true,
        weights, {name: method for name, method in METHODS.items() if name in methods}, test,
        validation, scores, ap, rule,
        any(cell.entry.result["backbone_weights"] == "random" for of_seeds in cells.values() for cell in of_seeds),
    )  # fmt: skip


def _scores_of(method: Method, scores: Scores, y_any: Mask) -> Floats:
    if method.output == "logits":
        return scores.logits
    assert scores.ranking is not None
    if method.output == "ranking":
        return scores.ranking
    if method.output == "first":
        assert scores.first_look is not None
        return scores.first_look
    if method.output == "oracle":
        return oracle_gated(scores.ranking, y_any)
    assert scores.log_gated is not None
    return scores.log_gated


def _random_gate(
    cell: NetworkCell, scores: Scores, names: tuple[str, ...], y_true: Mask, weights: Floats, rule: Rule
) -> Floats:
    assert scores.first_look is not None
    assert scores.ranking is not None
    ranking = scores.ranking
    # One factor an image, whatever the class; rounding may put it above 1.
    factors = np.minimum((scores.first_look - log_sigmoid(ranking)).mean(axis=1), 0.0)
    about = {
        "images": digest(names, y_true), "weight": float(weights.max()), "draws": DRAWS,
        "factors": digest(factors, ranking), "rule": rule,
    }  # fmt: skip
    path = cell.entry.folder / f"random-gate-{rule}-{digest(names, weights, y_true)[:8]}.json"

    def compute() -> list[float]:
        values: list[float] = random_gate_average_precision(y_true, ranking, factors, weights, rule).tolist()
        return values

    return np.array(kept(path, about, compute), dtype=float)
