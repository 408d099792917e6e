"""Which rows an epoch of phase 1 sees: the letter's balanced "ideal" set, or variants of it."""

from __future__ import annotations

import numpy as np

from gbad.errors import DataError, GbadError
from gbad.randomness import derived_seed

NEGATIVES = ("fixed", "fresh", "all")


def epoch_rows(positive: np.ndarray, rows: np.ndarray, *, negatives: str, seed: int, epoch: int) -> np.ndarray:
    """Draw and shuffle the rows of one epoch.

    Parameters
    ----------
    positive : bool array (n,)
        Whether an image shows a threat of any class.
    rows : int array (m,)
        Rows that may be used (the training part).
    negatives : {"fixed", "fresh", "all"}
        ``"fixed"``: all positives and one draw of as many negatives, the same in every epoch (the letter).
        ``"fresh"``: a new draw of negatives for each epoch. ``"all"``: the whole imbalanced list (the baseline "CNN").
    seed, epoch : int
        The draw depends on these alone.

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
    if negatives != "all" and len(without) > len(with_threat):
        draw = np.random.default_rng(derived_seed(seed, "negatives", epoch if negatives == "fresh" else 0))
        without = np.sort(draw.choice(without, len(with_threat), replace=False))
    order = np.random.default_rng(derived_seed(seed, "order", epoch))
    return order.permutation(np.concatenate([with_threat, without]))
