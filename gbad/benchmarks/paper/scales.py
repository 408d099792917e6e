"""Scales of the benchmark: sizes of data, images and networks, backbones and epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gbad.benchmarks.paper.methods import METHODS
from gbad.errors import GbadError


@dataclass(frozen=True)
class ListSizes:
    """Images of a training list and of its test list, with threats and without."""

    train_positives: int
    train_negatives: int
    test_positives: int
    test_negatives: int


@dataclass(frozen=True)
class Subset:
    """One test condition: the lists and the prevalence of a table.

    Attributes
    ----------
    name : str
        ``"10"``, ``"100"`` or ``"1000"`` for SIXray's subsets.
    list : str
        Folder below ``ImageSet`` that holds its lists.
    negative_weight : int
        Weight of each threat-free test image.
    ratio : float or None
        Threat-free images per image with threats. Phase 3 and decision thresholds choose for it. None takes the ratio
        of the training list.
    """

    name: str
    list: str
    negative_weight: int = 1
    ratio: float | None = None


@dataclass(frozen=True)
class Scale:
    """Everything that decides how much a benchmark costs.

    Attributes
    ----------
    backbones : tuple of str
    settings : mapping
        Parameters of `gbad.GBADPipeline` that all networks share.
    sizes : mapping
        Image size by backbone, where it is another than in `settings`.
    of_network : mapping
        Settings of single networks, by their name in `gbad.benchmarks.paper.methods.NETWORKS`, in the place of those
        that all share.
    lists : mapping
        Images of each list of the simulated data; the lists are nested.
    subsets : tuple of Subset
        Subsets of the simulated data.
    image_size : int
        Longer side in pixels of simulated images.
    load : float
        How full simulated bags are, see `gbad.data.simulate.simulate_dataset`.
    image_detectors : mapping
        Hyperparameters of GANomaly and Skip-GANomaly, and ``max_images``: most threat-free images to learn from.
    resamples : int
        Resamples of the bootstrap.
    methods : tuple of str or None
        Default methods, see `gbad.benchmarks.paper.methods.METHODS`; None is all.
    any_weights : bool
        Whether networks of a backbone whose ImageNet weights cannot be had start from random weights; the tables say
        so. Else they are refused.
    notes : tuple of str
        Notes about the simulated data, for every table.
    """

    backbones: tuple[str, ...]
    settings: Mapping[str, Any]
    lists: Mapping[str, ListSizes]
    subsets: tuple[Subset, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    of_network: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    image_size: int = 192
    load: float = 1.0
    image_detectors: Mapping[str, Any] = field(
        default_factory=lambda: {"image_size": 64, "epochs": 15, "features": 64, "max_images": 50_000}
    )
    resamples: int = 1000
    methods: tuple[str, ...] | None = None
    any_weights: bool = False
    notes: tuple[str, ...] = ()

    def simulation(self) -> dict[str, int]:
        """Numbers for `simulate_dataset`: the smallest data set that holds all lists."""
        most = {name: max(getattr(sizes, name) for sizes in self.lists.values()) for name in ListSizes.__annotations__}
        return {
            "train_positives": most["train_positives"],
            "test_positives": most["test_positives"],
            "negatives_per_positive": math.ceil(most["train_negatives"] / most["train_positives"]),
            "test_negatives_per_positive": math.ceil(most["test_negatives"] / most["test_positives"]),
        }


_LEFT_OUT = (
    "chr_none", "chr_released", "cnn_all", "chr_all", "cnn_fresh", "cnn_fresh_heads", "gbad_first_look",
    "gbad_boxes_first_look",
)  # fmt: skip
"""Methods that the small scale leaves out: CHR with other masks, epochs of the whole list, an ablation, and those that
differ by the second look, which it has not."""

_TWICE = (
    "cnn_balanced", "chr_balanced", "gbad_ungated", "gbad_heads", "gbad_first_look", "gbad", "gbad_boxes_first_look",
    "gbad_boxes",
)  # fmt: skip
"""Methods of the scale for the second look: the best plain CNN and CHR, and GBAD part by part."""

SCALES = {
    "small": Scale(
        backbones=("efficientnet_lite0",),
        # Files of 192 px hold nothing that the first look, at 160 px, does not see.
        settings={"size": 160, "fpn_width": 64, "head_width": 64, "epochs": 6, "second_look": False},
        lists={"10": ListSizes(1200, 12_000, 150, 1500), "100": ListSizes(1200, 12_000, 150, 15_000)},
        subsets=(Subset("10", "10", 1, 10), Subset("100", "100", 1, 100), Subset("1000", "100", 10, 1000)),
        # What three seeds of two cores can do in hours.
        methods=tuple(name for name in METHODS if name not in _LEFT_OUT),
        # A quarter of the published width: minutes for a detector on a processor.
        image_detectors={"image_size": 64, "epochs": 10, "features": 16, "max_images": 4000},
        notes=(
            "One training list, 1,200 images with threats and 12,000 without, serves all three subsets.",
            "The test lists share their 150 images with threats; the threat-free ones are nested. SIXray1000 is the "
            "list of SIXray100 with each threat-free image counted ten times (average precision with sample weights). "
            "That flatters its levels by some points, as rare threat-free images that look most like threats are "
            "mostly missing; differences between methods suffer less. The three subsets are one network at three "
            "prevalences, no three experiments.",
        ),
    ),
    "twice": Scale(
        backbones=("efficientnet_lite0",),
        settings={"size": 320, "fpn_width": 64, "head_width": 64, "epochs": 8},
        of_network={
            # Six passes over the regions of 480 images with threats are too few, see docs/results/second-look.md.
            **dict.fromkeys(("gbad", "gbad_boxes"), {"region_epochs": 12}),
            **dict.fromkeys(("cnn_balanced", "chr_balanced"), {"epochs": 18}),  # nearly as long as both looks
        },
        lists={
            "10": ListSizes(600, 6000, 150, 1500),
            "100": ListSizes(600, 6000, 150, 15_000),
            "1000": ListSizes(600, 6000, 15, 15_000),
        },
        subsets=(Subset("10", "10", 1, 10), Subset("100", "100", 1, 100), Subset("1000", "1000", 1, 1000)),
        image_size=512,
        methods=_TWICE,
        notes=(
            "One training list, 600 images with threats and 6,000 without, serves all three subsets.",
            "Images have 512 px, so that there is more to see than the first look, at 320 px, sees. CNN and CHR see "
            "320 px, too, and are trained for 18 epochs, about as long as both looks of GBAD.",
            "The test lists are nested: SIXray1000 has the first 15 of the 150 images with threats of the others, and "
            "15,000 threat-free images. With 15 images with threats, its intervals are wide.",
        ),
    ),
    "backbones": Scale(
        backbones=("resnet34", "resnet50", "resnet101", "inception_v3", "densenet121"),
        settings={"size": 224, "fpn_width": 256, "head_width": 256, "epochs": 6},
        sizes={"inception_v3": 299},
        lists={"10": ListSizes(400, 4000, 100, 1000)},
        subsets=(Subset("10", "10", 1, 10),),
        image_size=384,
        methods=("cnn_balanced", "chr_balanced", "gbad_paper"),
        any_weights=True,
        notes=(
            "400 training images with threats and 4,000 without, 100 and 1,000 to test: what two cores can do with the "
            "paper's backbones in a night.",
        ),
    ),
    "full": Scale(
        backbones=("resnet34", "resnet50", "resnet101", "inception_v3", "densenet121"),
        settings={"size": 224, "fpn_width": 256, "head_width": 256, "epochs": 15},
        sizes={"inception_v3": 299},
        lists={
            "10": ListSizes(7496, 74_960, 1433, 14_330),
            "100": ListSizes(7496, 749_600, 1433, 143_300),
            "1000": ListSizes(839, 839_000, 161, 161_000),
        },
        subsets=(Subset("10", "10", 1, 10), Subset("100", "100", 1, 100), Subset("1000", "1000", 1, 1000)),
        image_size=384,
        notes=("The lists are nested; each subset has a training list of its own, of the size of SIXray's.",),
    ),
}  # fmt: skip


def scale_of(name: str) -> Scale:
    """Scale by name; GbadError if it is unknown."""
    if name not in SCALES:
        raise GbadError(f"unknown scale {name!r}; choose one of {', '.join(SCALES)}")
    return SCALES[name]
