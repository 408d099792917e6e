"""When a training has been long enough: rows that it does not learn from are reproduced no better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gbad.runtime.randomness import derived_seed

FEWEST = 10
"""Rows whose mean loss is worth a decision; a training on fewer than twice as many is not stopped early."""
_MOST = 2000  # rows that are looked at after each epoch: their mean is known to a hundredth of a row's deviation

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Attributes
    ----------
    monitored : int
        Number of rows that are not learnt from, and whose loss decides.
    patience : int
        Epochs that may pass without a gain.
    tolerance : float
        Smallest gain that counts, as a share of the loss.
    """

    monitored: int
    patience: int
    tolerance: float

    def is_enough(self, losses: Sequence[float]) -> bool:
        """Whether the last `patience` of the losses, one for each epoch, bring no gain over those before.

        Examples
        --------
        >>> rule = Stopping(monitored=10, patience=2, tolerance=0.01)
        >>> rule.is_enough([1.0, 0.8, 0.7]), rule.is_enough([1.0, 0.8, 0.81, 0.795])
        (False, True)
        """
        if len(losses) <= self.patience:
            return False
        before, since = min(losses[: -self.patience]), min(losses[-self.patience :])
        return since > (1.0 - self.tolerance) * before


def monitored_number(n_rows: int, fraction: float) -> int:
    """How many of `n_rows` rows are monitored: the `fraction`, within limits; 0 if there are too few.

    Examples
    --------
    >>> [monitored_number(n, 0.1) for n in (19, 20, 1000, 50_000)]
    [0, 10, 100, 2000]
    """
    return 0 if n_rows < 2 * FEWEST else min(max(FEWEST, round(fraction * n_rows)), _MOST, n_rows - FEWEST)


class Parts(NamedTuple):
    """Indices of the rows that are learnt from, and of those that are monitored; both in order."""

    learnt: Indices
    monitored: Indices


def parts_of(n_rows: int, monitored: int, seed: int) -> Parts:
    """Draw the rows that are monitored."""
    if not monitored:
        return Parts(np.arange(n_rows), np.arange(0))
    order = np.random.default_rng(derived_seed(seed, "monitored rows")).permutation(n_rows)
    return Parts(np.sort(order[monitored:]), np.sort(order[:monitored]))
