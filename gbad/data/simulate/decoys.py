"""Harmless metal things that look like threats to a hasty eye.

They lie in bags with and without threats; a threat-free image also holds one in each place where an image with
threats holds a threat, so that the amount of metal tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.data.simulate.geometry import Layer, centred
from gbad.data.simulate.hardware import bracket, metal_bars, padlock, power_drill, screwdriver, sockets, torch
from gbad.data.simulate.household import (
    cutlery,
    folded_umbrella,
    hair_dryer,
    key_ring,
    spatula,
    spectacles,
    steel_flask,
    tongs,
)

Rng = np.random.Generator

DECOYS: dict[str, tuple[Callable[[Rng], list[Layer]], ...]] = {
    "Gun": (hair_dryer, power_drill, bracket, padlock, steel_flask, sockets, torch),
    "Knife": (spatula, cutlery, screwdriver, folded_umbrella, torch),
    "Wrench": (metal_bars, screwdriver, torch, bracket, sockets, folded_umbrella),
    "Pliers": (tongs, screwdriver, key_ring, torch, folded_umbrella, metal_bars),
    "Scissors": (spectacles, tongs, cutlery, key_ring, screwdriver),
}
"""Look-alikes for each class of threat."""

METAL_THINGS = (steel_flask, sockets, power_drill, bracket, torch, padlock, folded_umbrella, hair_dryer)
"""Things with about as much metal in them as a threat, but another shape."""


def decoy(rng: Rng, label: str) -> list[Layer]:
    """Draw a harmless metal thing, three times in ten one that could be taken for `label`."""
    choices = DECOYS[label] if rng.random() < 0.3 else METAL_THINGS
    return centred(choices[int(rng.integers(len(choices)))](rng))


def any_decoy(rng: Rng) -> list[Layer]:
    """Draw a look-alike of any class."""
    return decoy(rng, list(DECOYS)[int(rng.integers(len(DECOYS)))])
