"""Which rows an epoch of phase 1 sees: the balanced "ideal" set of the paper, or variants of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Mask, Rows
from gbad.errors import DataError, GbadError
from gbad.runtime.randomness import derived_seed

NEGATIVES = ("fixed", "fresh", "hard", "natural", "all")

POOL = 3
"""Out of how many negatives one hard negative is chosen."""


def epoch_rows(
    positive: Mask,
    rows: Rows,
    *,
    negatives: str,
    seed: int,
    epoch: int,
    negatives_per_positive: int = 1,
    hardness: Callable[[Rows], npt.NDArray[np.float64]] | None = None,
) -> Rows:
    """Draw and shuffle the rows of one epoch.

    Parameters
    ----------
    positive : bool array (n,)
        Whether an image shows a threat of any class.
    rows : int array (m,)
        Rows that may be used: the training part.
    negatives : {"fixed", "fresh", "hard", "natural", "all"}
        ``"fixed"``: all positives and one draw of as many negatives, the same in every epoch, as in the paper.
        ``"fresh"``: a new draw of negatives for each epoch. ``"hard"``: with `hardness`, half of the new draw is
        replaced by the hardest of `POOL` times as many other negatives. Threats that the list calls threat-free are
        among the hardest: remove them from the list first. ``"all"``: the whole imbalanced list (the baseline "CNN").
        ``"natural"``: the whole list at its own prevalence, but only as many rows per epoch as in a balanced epoch, so
        that the baseline makes as many optimiser steps as the others. An epoch continues the shuffled pass where the
        epoch before stopped, so that every row is seen before any row is seen again.
    seed, epoch : int
        The draw depends only on these, and on `hardness`.
    negatives_per_positive : int
        For ``"fixed"``, ``"fresh"`` and ``"hard"``: how many negatives are drawn for each positive.
    hardness : callable, optional
        For ``"hard"``: how hard rows are for the present classifier, float (k,) for int (k,). Without it, ``"hard"``
        draws like ``"fresh"``.

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
            "phase 1 needs images with and without threats, but the training part has "
            f"{len(with_threat):,} and {len(without):,}. Use more images, or another validation_fraction.",
            settings=("validation_fraction",),
        )
    if negatives == "natural":
        return _stretch(rows, len(with_threat) + min(len(with_threat), len(without)), seed, epoch)
    count = negatives_per_positive * len(with_threat)
    if negatives != "all" and len(without) > count:
        draw = np.random.default_rng(derived_seed(seed, "negatives", 0 if negatives == "fixed" else epoch))
        mined = count // 2 if negatives == "hard" and hardness is not None else 0
        drawn = draw.choice(without, min(len(without), count - mined + POOL * mined), replace=False)
        easy, pool = np.sort(drawn[: count - mined]), np.sort(drawn[count - mined :])
        if mined and hardness is not None:
            pool = pool[np.argsort(-hardness(pool), kind="stable")[:mined]]
        without = np.concatenate([easy, pool])
    order = np.random.default_rng(derived_seed(seed, "order", epoch))
    return order.permutation(np.concatenate([with_threat, without]))


def _stretch(rows: Rows, length: int, seed: int, epoch: int) -> Rows:
    """Give the `length` rows of an epoch out of an endless sequence of shuffled passes over `rows`."""
    first, last = epoch * length // len(rows), ((epoch + 1) * length - 1) // len(rows)
    passes = [
        np.random.default_rng(derived_seed(seed, "pass", number)).permutation(rows) for number in range(first, last + 1)
    ]
    begin = epoch * length - first * len(rows)
    return np.concatenate(passes)[begin : begin + length]
