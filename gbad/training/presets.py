"""Sets of settings with a name: methods as they were published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gbad.errors import GbadError

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # All threats of the training list and as many threat-free images in phase 1, 50,000 threat-free images in phase 2,
    # all threats and the same 50,000 for the SVM, a hard gate. One view; nothing is held out, nothing is chosen.
    "paper": {
        "architecture": "fpn", "start": "imagenet", "pooling": "average", "fusion": "hidden",
        "position_weight": 0.0, "negatives": "fixed",
        "detector": "bigan", "image_detector": None, "max_negatives": 50_000, "views": 1, "second_look": False,
        "class_heads": False, "gate": None, "gate_fit": "paper", "suppression": "hard", "validation_fraction": 0.0,
    },
}  # fmt: skip
"""Settings by the name of the preset. ``"paper"``: GBAD as in the paper (Dumagpi et al. 2020)."""


def preset(name: str) -> dict[str, Any]:
    """Give the settings of a preset, for the constructor of `gbad.GBADPipeline`.

    Settings that the paper leaves open keep their defaults: ``docs/papers.md`` lists them.

    Parameters
    ----------
    name : {"paper"}
        ``"paper"``: GBAD as in the paper (Dumagpi et al. 2020).

    Raises
    ------
    GbadError
        If there is no preset of that name.

    Examples
    --------
    >>> preset("paper")["validation_fraction"]
    0.0
    """
    if name not in PRESETS:
        raise GbadError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}", settings=("preset",))
    return dict(PRESETS[name])
