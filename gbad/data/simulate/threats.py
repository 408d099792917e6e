"""The five classes of threat, each with several families of shape and a fixed stock of specimens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from gbad.data.simulate.geometry import Layer, centred
from gbad.data.simulate.guns import pistol, revolver
from gbad.data.simulate.knives import cleaver, craft_knife, dagger, folding_knife, kitchen_knife
from gbad.data.simulate.tools import adjustable_wrench, pliers, scissors, spanner
from gbad.data.simulate.types import Rng

THREATS: dict[str, dict[Callable[[Rng], list[Layer]], float]] = {
    "Gun": {pistol: 0.62, revolver: 0.38},
    "Knife": {kitchen_knife: 0.52, cleaver: 0.20, dagger: 0.12, folding_knife: 0.10, craft_knife: 0.06},
    "Wrench": {spanner: 0.65, adjustable_wrench: 0.35},
    "Pliers": {pliers: 1.0},
    "Scissors": {scissors: 1.0},
}
"""Families of shape of each class of SIXray, and their shares."""


SPECIMENS = 12
"""Objects of each class. SIXray also shows a limited stock of real objects again and again, in training and test."""

_RANK = 5 * np.arange(SPECIMENS) % SPECIMENS  # common specimens come from all families
_SHARES = 1 / (_RANK + 3)
_SHARES /= _SHARES.sum()


def threat(rng: Rng, label: str) -> list[Layer]:
    """Take one threat from the stock, lying flat, its middle at the origin, its long side along x.

    Some specimens are common and others rare (Zipf's law), as in real scans.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides which specimen.
    label : str
        A class of `THREATS`.
    """
    return specimen(label, int(rng.choice(SPECIMENS, p=_SHARES)))


@cache
def specimen(label: str, number: int) -> list[Layer]:
    """Build specimen `number` of a class. Nothing else decides its family, size, proportions and materials."""
    rng = np.random.default_rng([list(THREATS).index(label), number])
    families = THREATS[label]
    # Families fill the stock in proportion to their shares: in a small stock, random draws would not.
    ends = np.cumsum(list(families.values()))
    family = int(np.searchsorted(ends, (number + 0.5) / SPECIMENS * ends[-1]))
    return centred(list(families)[family](rng))
