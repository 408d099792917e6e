"""Which rows an epoch of phase 1 sees: the letter's balanced "ideal" set, or variants of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gbad.errors import DataError, GbadError
from gbad.runtime.randomness import derived_seed

NEGATIVES = ("fixed", "fresh", "hard", "natural", "all")

POOL = 3
"""Of how many negatives one hard one is chosen."""


def epoch_rows(
    positive: np.ndarray, rows: np.ndarray, *, negatives: str, seed: int, epoch: int,
    hardness: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw and shuffle the rows of one epoch.

    Parameters
    ----------
    positive : bool array (n,)
        Whether an image shows a threat of any class.
    rows : int array (m,)
        Rows that may be used (the training part).
    negatives : {"fixed", "fresh", "hard", "natural", "all"}
        ``"fixed"``: all positives and one draw of as many negatives, the same in every epoch (the letter).
        ``"fresh"``: a new draw of negatives for each epoch. ``"hard"``: with `hardness`, half of the new draw is
        replaced by the hardest of `POOL` times as many other negatives. Mislabelled positives are hard negatives: on
        lists known to have them, leave those out first. ``"all"``: the whole imbalanced list (the baseline "CNN").
        ``"natural"``: as many rows as a balanced epoch has, from the whole list at its own prevalence: the baseline
        with the optimiser steps of the others. Each epoch goes on where the one before stopped in one shuffled pass
        after another, so that every row is seen before any is seen again.
    seed, epoch : int
        The draw depends on these alone, and on `hardness`.
    hardness : callable, optional
        Gives how hard rows are for the present classifier, float (k,) for int (k,); for ``"hard"``, which draws as
        ``"fresh"`` does as long as there is none.

    Returns
    -------
    int array
        Rows in random order. If there are fewer negatives than positives, all of them.
    """
    if negatives not in NEGATIVES:
        raise GbadError(f"unknown choice of negatives {negatives!r}; choose one of {', '.join(NEGATIVES)}")
    with_threat, without = rows[positive[rows]], rows[~positive[rows]]
    if not len(with_threat) or not len(without):
        raise DataError(
            "phase 1 needs images with and without threats; "
            f"the training part has {len(with_threat):,} and {len(without):,}"
        )
    if negatives == "natural":
        return _stretch(rows, len(with_threat) + min(len(with_threat), len(without)), seed, epoch)
    if negatives != "all" and len(without) > len(with_threat):
        draw = np.random.default_rng(derived_seed(seed, "negatives", 0 if negatives == "fixed" else epoch))
        count = len(with_threat)
        mined = count // 2 if negatives == "hard" and hardness is not None else 0
        drawn = draw.choice(without, min(len(without), count - mined + POOL * mined), replace=False)
        easy, pool = np.sort(drawn[: count - mined]), np.sort(drawn[count - mined :])
        if mined and hardness is not None:
            pool = pool[np.argsort(-hardness(pool), kind="stable")[:mined]]
        without = np.concatenate([easy, pool])
    order = np.random.default_rng(derived_seed(seed, "order", epoch))
    return order.permutation(np.concatenate([with_threat, without]))


def _stretch(rows: np.ndarray, length: int, seed: int, epoch: int) -> np.ndarray:
    """Give the epoch's part, of `length` rows, of an endless row of shuffled passes over `rows`."""
    first, last = epoch * length // len(rows), ((epoch + 1) * length - 1) // len(rows)
    passes = [
        np.random.default_rng(derived_seed(seed, "pass", number)).permutation(rows) for number in range(first, last + 1)
    ]
    begin = epoch * length - first * len(rows)
    return np.concatenate(passes)[begin : begin + length]
