"""Paper mode: test after each epoch in the way of published code, and keep the epoch with the best test figure.

Up to three steps use the test set: the range of the scores is that of the whole test set (min-max); the best epoch is
chosen on it; and GANomaly, Skip-GANomaly and SAGAN, whose code tested in train mode, normalise with statistics of
batches of test images. All normal images come first, so most batches are either all normal or all abnormal, which makes
most of the leak. The last epoch is therefore also tested with the rows in random order. The figures show how much of a
published result comes from these leaks.

The published code of the other detectors has no such leak, or there is none. Their figures are called paper-style.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.detectors.tasks import unit_scores
from gbad.data.arrays import Mask, Pixels, Rows
from gbad.evaluation.measures import detection_measures
from gbad.phase2_anomaly import IMAGE_DETECTORS
from gbad.storage.files import read_json, write_json

PAPER_LABEL = "paper mode (leaks test statistics)"
"""Label of all figures of paper mode."""

_PAPER_STYLE_LABEL = "paper-style (leaks test statistics)"


def paper_label(detector: str) -> str:
    """Label of the figures of one detector: paper mode only if its published code has such leaks."""
    return PAPER_LABEL if IMAGE_DETECTORS[detector].published_leaks else _PAPER_STYLE_LABEL


class PaperMode:
    """Results of testing after each epoch, kept in a file so that a killed training goes on with them.

    Parameters
    ----------
    path : Path
        File for what was found so far, read if it exists: in the ``work`` folder of a cell, which is about these test
        rows only.
    test : uint8 ndarray
        Test rows, those of normal units first.
    unit : ndarray of int64
        Unit of each row.
    abnormal : ndarray of shape (units,), bool
        What the test is about.
    epochs : collection of int
        Epochs after which to test; the last of them with the rows in random order, too.
    order_matters : bool
        Whether scores depend on the order of the rows. If not, that last test is not needed.

    Attributes
    ----------
    history : dict of int to float
        ROC-AUC after each epoch, from 1; epochs whose scores were not finite are left out.
    best_epoch : int
        The earliest with the highest ROC-AUC; 0 if there is none.
    best_scores : ndarray of shape (units,) or None
        Scores of that epoch.
    shuffled : float or None
        ROC-AUC after the last epoch, rows in random order; where the order does not matter, in any order. None if
        that has not been tested or was not finite.
    seconds : float
        Time that the tests of this process took.
    """

    def __init__(
        self,
        path: Path,
        test: Pixels,
        unit: Rows,
        abnormal: Mask,
        epochs: Collection[int],
        order_matters: bool = True,
    ) -> None:
        self._path, self._test, self._unit, self._abnormal, self._epochs = path, test, unit, abnormal, epochs
        self._order_matters = order_matters
        self.history: dict[int, float] = {}
        self.best_epoch = 0
        self.best_scores: Floats | None = None
        self.shuffled: float | None = None
        self.seconds = 0.0
        if path.exists():
            known = read_json(path)
            self.history = {int(epoch): area for epoch, area in known["history"].items()}
            self.best_epoch, self.shuffled = known["best_epoch"], known["shuffled"]
            if known["best_scores"] is not None:
                self.best_scores = np.array(known["best_scores"])

    def test(self, epoch: int, paper_scores: Callable[..., Floats]) -> None:
        """Test the networks as they are after `epoch`; an epoch that was tested before is not tested again."""
        if epoch not in self._epochs or epoch in self.history:
            return
        start = time.perf_counter()
        scores = unit_scores(paper_scores(self._test), self._unit)
        last = epoch == max(self._epochs)
        if last and self._order_matters:
            self.shuffled = self._in_random_order(paper_scores)
        if np.isfinite(scores).all():
            self.history[epoch] = detection_measures(self._abnormal, scores, None)["roc_auc"]
            if last and not self._order_matters:
                self.shuffled = self.history[epoch]
            if self.best_scores is None or self.history[epoch] > self.history[self.best_epoch]:
                self.best_epoch, self.best_scores = epoch, scores
        found = {"history": self.history, "best_epoch": self.best_epoch, "best_scores": self.best_scores}
        write_json(self._path, found | {"shuffled": self.shuffled})
        self.seconds += time.perf_counter() - start

    def _in_random_order(self, paper_scores: Callable[..., Floats]) -> float | None:
        order = np.random.default_rng(0).permutation(len(self._test))
        scores = unit_scores(paper_scores(self._test, order=order), self._unit)  # a copy may not fit into memory
        return detection_measures(self._abnormal, scores, None)["roc_auc"] if np.isfinite(scores).all() else None
