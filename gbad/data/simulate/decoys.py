"""Decoys: harmless metal things, some of which look like threats.

All bags may hold decoys. A threat-free image also has a decoy in each place where an image with threats has a threat,
so that the amount of metal does not reveal threats.
"""

from __future__ import annotations

from collections.abc import Callable

from gbad.data.simulate.geometry import Layer, centred
from gbad.data.simulate.hardware import (
    bracket,
    door_lock,
    hand_weight,
    metal_bars,
    padlock,
    power_drill,
    screwdriver,
    sockets,
    torch,
)
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
from gbad.data.simulate.types import Rng

DECOYS: dict[str, tuple[Callable[[Rng], list[Layer]], ...]] = {
    "Gun": (hair_dryer, power_drill, bracket, padlock, steel_flask, sockets, torch),
    "Knife": (spatula, cutlery, screwdriver, folded_umbrella, torch),
    "Wrench": (metal_bars, screwdriver, torch, bracket, sockets, folded_umbrella),
    "Pliers": (tongs, screwdriver, key_ring, torch, folded_umbrella, metal_bars),
    "Scissors": (spectacles, tongs, cutlery, key_ring, screwdriver),
}
"""Decoys that look like each class of threat."""

METAL_THINGS: dict[str, tuple[Callable[[Rng], list[Layer]], ...]] = {
    "Gun": (door_lock, door_lock, hand_weight, hand_weight, sockets, power_drill),
    "Knife": (door_lock, door_lock, door_lock, steel_flask, steel_flask, hand_weight, sockets),
    "Wrench": (sockets, sockets, bracket, bracket, padlock, hand_weight, power_drill),
    "Pliers": (padlock, padlock, padlock, sockets, torch, bracket, folded_umbrella),
    "Scissors": (sockets, power_drill, bracket, padlock, hair_dryer),
}
"""Decoys of other shapes, mixed so that their mean colours are near the mean colours of each class."""


def decoy(rng: Rng, label: str) -> list[Layer]:
    """Draw a decoy with about as much metal as a threat. Three of ten look like the class `label`."""
    choices = (DECOYS if rng.random() < 0.3 else METAL_THINGS)[label]
    return centred(choices[int(rng.integers(len(choices)))](rng))


def any_decoy(rng: Rng) -> list[Layer]:
    """Draw a decoy for any class."""
    return decoy(rng, list(DECOYS)[int(rng.integers(len(DECOYS)))])
