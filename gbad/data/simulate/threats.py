"""The five kinds of threat, each with several families of shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.geometry import Layer, centred
from gbad.data.simulate.guns import pistol, revolver
from gbad.data.simulate.knives import cleaver, craft_knife, dagger, folding_knife, kitchen_knife
from gbad.data.simulate.tools import adjustable_wrench, pliers, scissors, spanner

Rng = np.random.Generator

THREATS: dict[str, dict[Callable[[Rng], list[Layer]], float]] = {
    "Gun": {pistol: 0.62, revolver: 0.38},
    "Knife": {kitchen_knife: 0.40, cleaver: 0.14, dagger: 0.16, folding_knife: 0.18, craft_knife: 0.12},
    "Wrench": {spanner: 0.65, adjustable_wrench: 0.35},
    "Pliers": {pliers: 1.0},
    "Scissors": {scissors: 1.0},
}
"""Families of shape of each class of SIXray, and how often."""


def threat(rng: Rng, label: str) -> list[Layer]:
    """Draw one threat of random build, lying flat, its middle at the origin, its long side along x.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides family, size, proportions and materials.
    label : str
        A class of `THREATS`.
    """
    families = THREATS[label]
    return centred(list(families)[int(rng.choice(len(families), p=list(families.values())))](rng))
