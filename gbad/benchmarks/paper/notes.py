"""What has to be said beside the figures of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gbad.benchmarks.paper.methods import METHODS

INTERVALS = (
    "Average precision and its differences: means over the training seeds; in brackets 95 % bootstrap intervals over "
    "test images and training seeds together (over test images alone where there is one seed)."
)
INTERVALS_4 = (
    "Table 4: means over the training seeds; in brackets 95 % bootstrap intervals over test images alone, which leave "
    "out the chance of training."
)
BOUNDS = (
    "Oracle and random gates are bounds: the first knows which images show a threat, the second deals the gate's own "
    "factors out blindly (expected value)."
)
BEST_OF = (
    "The best CNN and the best CHR are those variants of the baseline, of all that were run, with the highest mAP on "
    "the test list: a choice in their favour. The largest loss is that of the class that suffers most: among five "
    "classes with few threats each, one falls behind by chance more easily than its interval says."
)
ANY_THREAT = (
    "The score of an image for any threat is the probability that it holds at least one class, from the logits of its "
    "classes, each calibrated on the validation part. Thresholds are chosen there, too; both for the subset's ratio of "
    "threat-free images. The detector of phases 2 and 3, BiGAN and SVM, is what the paper compares with GANomaly and "
    "Skip-GANomaly: the decision is that of its SVM. A network that holds no image out stands there with its detector "
    "alone."
)
CONFIDENCES = (
    "Images of the first seed. First the probabilities, as the paper prints them; then their log-odds, natural "
    "logarithms of the odds, which tell apart what is rounded to 0 or 1."
)
RULES = {
    "all_points": "Average precision is the all-point average, as in the code of CHR's authors.",
    "voc07": "Average precision follows the 11-point rule of PASCAL VOC 2007.",
    "voc10": "Average precision follows the rule of PASCAL VOC 2010: the best precision at no less recall.",
}
"""Notes on the rule of average precision."""
GATES = (
    "Shares, as means over the seeds. A gate acts on the ranking of class heads and classifier, so AP without gate "
    "holds the heads too. Recall and false-alarm rate are those of its yes or no; a soft gate of small strength does "
    "much less than these say. Of the gate's strength and of the heads' share there is one number a seed, chosen for "
    "the subset."
)


def budget(costs: pd.DataFrame) -> str:
    """How many images phase 1 was shown, and how large: the same for all networks, or within which bounds."""
    costs = costs[costs["backbone"] != ""]  # image-level detectors have no phase 1
    bounds = [costs.groupby(["training_list", "backbone"])["images_seen"].agg(kind) for kind in ("min", "max")]
    same = "the same number of images" if (bounds[0] == bounds[1]).all() else "not the same number of images"
    numbers = " to ".join(f"{number:,}" for number in dict.fromkeys((bounds[0].min(), bounds[1].max())))
    epochs = ", ".join(map(str, sorted(costs["epochs"].unique())))
    smallest, largest = costs["size"].min(), costs["size"].max()
    equal, sizes = "augmentation, image size and optimiser", ""
    if smallest < largest:
        equal, sizes = "augmentation and optimiser", f" of {smallest} to {largest} px"
    return (
        f"Phase 1 of all networks on one list was shown {same} ({numbers}, {epochs} epochs){sizes}, with the same "
        f"{equal}; no epoch was selected. {_held_out(costs)} A second look trains a second classifier, on regions: "
        "`cells.csv` has its seconds."
    )


def _held_out(costs: pd.DataFrame) -> str:
    """Which networks left a part of the training list to phase 3."""
    without = sorted(set(costs.loc[costs["held_out"] == 0, "network"]))
    nothing = f"{', '.join(map(_label, without))}: no image was held out. " if without else ""
    if (costs["held_out"] == 0).all():
        return "No image was held out."
    return (
        f"{nothing}{'Otherwise a' if without else 'A'} part of the training list was kept from phase 1 for validation, "
        "and phase 3 alone used its labels; phases 2 and 3 also saw all other training images."
    )


def passes(costs: pd.DataFrame) -> str:
    """How often each network's phase 1 saw an image with a threat and a threat-free one."""
    costs = costs[costs["backbone"] != ""]
    several = costs["training_list"].nunique() > 1
    texts = []
    for (of, network), own in costs.groupby(["training_list", "network"], sort=False):
        name = f"{_label(str(network))} on list {of}" if several else _label(str(network))
        same = " (always the same)" if (own["negatives"] == "fixed").all() else ""
        texts.append(f"{name}: {own['positive_passes'].mean():.2g} and {own['negative_passes'].mean():.2g}{same}")
    return (
        "Passes of phase 1, or how often it saw a training image with a threat and a threat-free one on average: "
        f"{'; '.join(texts)}. Networks with fewer passes over the threats had fewer chances to learn them."
    )


def handicap(info: Mapping[str, Any], detectors: Mapping[str, Any]) -> list[str]:
    """What image-level detectors learnt from, beside which their figures have to be read; empty without them."""
    settings = info.get("settings", {}).get("image_detectors")
    if not settings or not detectors:
        return []
    return [
        f"{' and '.join(detectors)} saw images of {settings['image_size']} px, with "
        f"{settings['features']} channels in their first layer (64 as published), and learnt from at most "
        f"{settings['max_images']:,} threat-free images in {settings['epochs']} epochs: smaller images, networks and "
        "trainings hold them back, so these rows are no measure of what they can do."
    ]


def _label(network: str) -> str:
    """Name of a network: that of the method that it is trained for."""
    return METHODS[network].label
