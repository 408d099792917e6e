"""Frequency of each set of classes in SIXray."""

from __future__ import annotations

import numpy as np

LABEL_SETS: dict[tuple[str, ...], int] = {
    ("Gun",): 2700,
    ("Gun", "Knife"): 250,
    ("Gun", "Pliers"): 90,
    ("Gun", "Wrench"): 60,
    ("Gun", "Wrench", "Pliers"): 31,
    ("Knife",): 758,
    ("Knife", "Pliers"): 507,
    ("Knife", "Wrench", "Pliers"): 228,
    ("Knife", "Wrench"): 100,
    ("Knife", "Scissors"): 50,
    ("Knife", "Pliers", "Scissors"): 50,
    ("Wrench",): 600,
    ("Wrench", "Pliers"): 1120,
    ("Wrench", "Pliers", "Scissors"): 60,
    ("Pliers",): 1502,
    ("Pliers", "Scissors"): 373,
    ("Scissors",): 450,
}
"""Images with threats by their classes. The sums over classes are the published counts of SIXray (Gun 3,131,
Knife 1,943, Wrench 2,199, Pliers 3,961, Scissors 983; 8,929 images). The split into sets is an estimate."""

_GOLDEN = (5**0.5 - 1) / 2


def draw_labels(seed: int, index: int) -> tuple[str, ...]:
    """Classes of the threats in one image with threats.

    Indices follow an additive (golden ratio) sequence. So every range of consecutive indices has nearly the frequencies
    of SIXray: 100 images hold all classes.

    Parameters
    ----------
    seed, index : int
        Which image.

    Returns
    -------
    tuple of str
        In the order of SIXray's columns.

    Examples
    --------
    >>> draw_labels(0, 1) == draw_labels(0, 1)
    True
    """
    start = np.random.default_rng([seed, 0x1ABE15]).random()
    position = (start + index * _GOLDEN) % 1.0 * sum(LABEL_SETS.values())
    for labels, count in LABEL_SETS.items():
        position -= count
        if position < 0:
            return labels
    return labels
