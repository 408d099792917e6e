"""What the benchmark compares: trained networks, and methods, which turn the output of a network into scores."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gbad.errors import GbadError
from gbad.training.presets import PRESETS
from gbad.training.settings import Settings, of_group

PAPER = Settings(**PRESETS["paper"])
"""GBAD (Dumagpi et al. 2020): average-pooled FPN, one draw of negatives, gate fitted on training losses, hard gate.

It learns from the whole training list. The other networks leave a part to phase 3 or to the choice of thresholds.
"""

BEST = Settings(
    architecture="fpn", start="imagenet", pooling="max", fusion="context", negatives="fresh", class_heads=True,
    gate_fit="held-out", suppression="soft", second_look=True,
)  # fmt: skip
"""Settings of `gbad` in the benchmark: the variant that ranks best."""

ALONE = Settings(start="imagenet", second_look=False)
"""Of a classifier without phases 2 and 3. All networks that are compared start from ImageNet weights."""

POSITION_WEIGHT = 1.0
"""Weight of the position loss in `gbad_boxes`."""


@dataclass(frozen=True)
class Network:
    """A network, trained once for each training list, backbone and seed, and shared by all methods that need it.

    Attributes
    ----------
    settings : Settings
        The scale of the benchmark replaces image size, widths and epochs.
    phases : int
        Last phase: 1 for classifiers without gate.
    own : collection of str
        Settings that nothing replaces.
    """

    settings: Settings
    phases: int = 1
    own: Collection[str] = ()


NETWORKS = {
    "cnn": Network(ALONE.changed(architecture="plain", negatives="natural")),
    "cnn_balanced": Network(ALONE.changed(architecture="plain", negatives="fixed")),
    "cnn_all": Network(ALONE.changed(architecture="plain", negatives="all")),
    "chr": Network(ALONE.changed(architecture="chr", chr_mask="hierarchical", negatives="natural")),
    "chr_balanced": Network(ALONE.changed(architecture="chr", chr_mask="hierarchical", negatives="fixed")),
    "chr_all": Network(ALONE.changed(architecture="chr", chr_mask="hierarchical", negatives="all")),
    "chr_none": Network(ALONE.changed(architecture="chr", chr_mask="none", negatives="natural")),
    "chr_released": Network(ALONE.changed(architecture="chr", chr_mask="released", negatives="natural")),
    "cnn_fresh": Network(BEST.changed(architecture="plain", second_look=False), 3),
    "gbad_paper": Network(PAPER, 3, own=PRESETS["paper"]),
    "gbad": Network(BEST, 3),
    "gbad_boxes": Network(BEST.changed(position_weight=POSITION_WEIGHT), 3),
}


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes
    ----------
    label : str
        Name of the row.
    network : str
        Key of `NETWORKS`.
    output : str
        ``"logits"``: logits of the classifier; ``"ranking"``: logits mixed with those of the class heads, no gate;
        ``"first"``: the ranking behind the network's own gate; ``"gated"``: the same, with the second look of a
        network that has one; ``"oracle"``: behind a gate that knows which images show a threat; ``"random"``: behind a
        gate that deals out the factors of the network's own gate blindly;
        ``"anomaly"``: anomaly score of the image-level detector `network`, which knows no classes.
    """

    label: str
    network: str
    output: str

    @property
    def is_bound(self) -> bool:
        """Whether the method needs the truth or chance: a bound, which nobody could use."""
        return self.output in ("oracle", "random")

    @property
    def gives_probabilities(self) -> bool:
        """Whether its scores are logarithms of probabilities; others are log-odds."""
        return self.output in ("first", "gated")

    @property
    def knows_classes(self) -> bool:
        """Whether the method scores each class; others appear in Table 4 and Figures 5 and 6 only."""
        return self.output != "anomaly"


_NEED_HELD_OUT = {name for name, network in NETWORKS.items() if network.phases > 1 and not network.own}

METHODS = {
    "cnn": Method("CNN", "cnn", "logits"),
    "cnn_balanced": Method("CNN, balanced", "cnn_balanced", "logits"),
    "cnn_all": Method("CNN, whole list each epoch", "cnn_all", "logits"),
    "cnn_fresh": Method("CNN, fresh negatives", "cnn_fresh", "logits"),
    "cnn_fresh_heads": Method("CNN, fresh negatives, class heads", "cnn_fresh", "ranking"),
    "cnn_balanced_fpn": Method("CNN + FPN, balanced", "gbad_paper", "logits"),
    "chr": Method("CHR", "chr", "logits"),
    "chr_balanced": Method("CHR, balanced", "chr_balanced", "logits"),
    "chr_all": Method("CHR, whole list each epoch", "chr_all", "logits"),
    "chr_none": Method("CHR, no mask", "chr_none", "logits"),
    "chr_released": Method("CHR, released mask", "chr_released", "logits"),
    "gbad_paper": Method("GBAD, as in the paper", "gbad_paper", "gated"),
    "gbad_ungated": Method("GBAD's classifier alone", "gbad", "logits"),
    "gbad_heads": Method("GBAD without gate and second look", "gbad", "ranking"),
    "gbad_first_look": Method("GBAD without second look", "gbad", "first"),
    "gbad": Method("GBAD", "gbad", "gated"),
    "gbad_boxes_ungated": Method("GBAD's classifier alone, boxes", "gbad_boxes", "logits"),
    "gbad_boxes_first_look": Method("GBAD without second look, boxes", "gbad_boxes", "first"),
    "gbad_boxes": Method("GBAD, boxes", "gbad_boxes", "gated"),
    "gbad_paper_oracle_gate": Method("GBAD, paper: oracle gate", "gbad_paper", "oracle"),
    "gbad_paper_random_gate": Method("GBAD, paper: random gate", "gbad_paper", "random"),
    "gbad_oracle_gate": Method("GBAD: oracle gate", "gbad", "oracle"),
    "gbad_random_gate": Method("GBAD: random gate", "gbad", "random"),
    "ganomaly": Method("GANomaly", "ganomaly", "anomaly"),
    "skip_ganomaly": Method("Skip-GANomaly", "skip_ganomaly", "anomaly"),
}

PAPER_MODE = {
    name: value
    for name, value in PRESETS["paper"].items()
    if name in (*of_group("gate"), "views", "second_look", "validation_fraction")
}
"""Settings of all networks where a benchmark is run as in the paper: nothing is held out, one view is scored."""

PAPER_METHODS = ("cnn_all", "chr_all", "gbad_paper", "ganomaly", "skip_ganomaly")
"""What the paper's tables compare: CNN and CHR learn from the whole list, as Miao et al. (2019) trained them."""

BASELINES = {
    "CNN": ("cnn", "cnn_balanced", "cnn_all", "cnn_fresh", "cnn_balanced_fpn"),
    "CHR": ("chr", "chr_balanced", "chr_all", "chr_none", "chr_released"),
}
"""What GBAD is compared with: variants that differ in how often they see a threat, or in CHR's mask."""

DIFFERENCES = (
    *(("gbad", name) for family in BASELINES.values() for name in family),
    ("gbad", "gbad_paper"), ("gbad", "cnn_fresh_heads"), ("gbad_paper", "cnn"),
    ("gbad", "gbad_ungated"), ("gbad", "gbad_first_look"), ("gbad_first_look", "gbad_heads"),
    ("gbad_heads", "gbad_ungated"), ("gbad_boxes", "gbad_boxes_first_look"),
    ("gbad_paper", "cnn_balanced_fpn"), ("gbad_boxes", "gbad"), ("gbad_boxes", "gbad_boxes_ungated"),
)  # fmt: skip
"""Pairs whose difference gets an interval of its own, first minus second."""


def chosen_methods(names: Iterable[str] | None) -> dict[str, Method]:
    """Methods by name, in the order of the tables; all of them for None.

    Raises
    ------
    GbadError
        If a name is unknown, or none of them scores classes.
    """
    wanted = set(METHODS if names is None else names)
    if unknown := sorted(wanted - METHODS.keys()):
        raise GbadError(f"unknown method {', '.join(unknown)}; choose from {', '.join(METHODS)}")
    if not wanted:
        raise GbadError(f"no method was named; choose from {', '.join(METHODS)}")
    chosen = {name: method for name, method in METHODS.items() if name in wanted}
    if not any(method.knows_classes for method in chosen.values()):
        raise GbadError(f"{', '.join(chosen)}: no average precision of a class. Name another method as well, say gbad.")
    return chosen


def paper_methods(names: Sequence[str] | None) -> tuple[str, ...]:
    """Methods of a benchmark that is run as in the paper; `PAPER_METHODS` for None.

    Raises
    ------
    GbadError
        If one of them needs images that are held out.
    """
    chosen = tuple(names or PAPER_METHODS)
    needs = [name for name in chosen if name in METHODS and METHODS[name].network in _NEED_HELD_OUT]
    if needs:
        raise GbadError(f"preset paper holds no image out, which {', '.join(needs)} would need. Leave them out.")
    return chosen


def in_words(text: str) -> str:
    """Put the labels of methods in the place of their keys, and "minus" between two.

    Examples
    --------
    >>> in_words("gbad - cnn_balanced"), in_words("gbad_paper: BiGAN and SVM")
    ('GBAD minus CNN, balanced', 'GBAD, as in the paper: BiGAN and SVM')
    """
    keys = "|".join(sorted(METHODS, key=len, reverse=True))
    return re.sub(rf"\b({keys})\b", lambda found: METHODS[found[0]].label, text).replace(" - ", " minus ")


def needed_networks(methods: Mapping[str, Method]) -> dict[str, Network]:
    """Networks that some methods need, each once."""
    needed = {method.network for method in methods.values()}
    return {name: network for name, network in NETWORKS.items() if name in needed}
