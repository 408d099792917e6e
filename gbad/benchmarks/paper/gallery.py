"""Images of a benchmark that each method gets right and wrong, for its HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.page import Gallery, Tile
from gbad.benchmarks.paper.figures import PLOTTED
from gbad.benchmarks.paper.groups import Group
from gbad.data.arrays import Rows
from gbad.report.drawing import TrueBox
from gbad.report.gallery import outranked, picture

ABOUT = (
    "For each method, threats that it ranks best and worst, and threat-free images that it ranks highest; scores of "
    "the first seed. A rank is the number of images without the class that score higher. Dashed boxes: threats, where "
    "their places are known."
)
TILES_OF_A_KIND = 2


def galleries(
    group: Group, paths: Mapping[str, Path], truth: Mapping[str, Sequence[TrueBox]] | None = None
) -> list[Gallery]:
    """Images that each method gets right and wrong.

    Parameters
    ----------
    group : Group
    paths : mapping of str to Path
        Images by their names. One that cannot be read is shown as such.
    truth : mapping of str to sequence of TrueBox, optional
        Where threats are, by the names of the images.
    """
    names = [name for name in PLOTTED if name in group.scores] or [*group.scores][:1]
    found = []
    for name in names:
        scores = group.scores[name][0]
        ranks = outranked(group.y_true, scores)
        best = ranks.min(axis=1)
        threats, free = np.flatnonzero(group.y_any), np.flatnonzero(~group.y_any)
        order = threats[np.argsort(best[threats], kind="stable")]
        right = order[: min(TILES_OF_A_KIND, len(order) // 2)]
        wrong = order[len(right) :][::-1][:TILES_OF_A_KIND]
        alarms = free[np.argsort(-scores[free].max(axis=1), kind="stable")][:TILES_OF_A_KIND]
        tiles = {
            heading: [_tile(group, row, ranks, scores, paths, truth or {}) for row in rows.tolist()]
            for rows, heading in (
                (right, "Threats that rank best"), (wrong, "Threats that rank worst"),
                (alarms, "Threat-free images that rank highest"),
            )
        }  # fmt: skip
        found.append(Gallery(group.methods[name].label, tiles, large=True))
    return found


def _tile(
    group: Group, row: int, ranks: Rows, scores: Floats, paths: Mapping[str, Path],
    truth: Mapping[str, Sequence[TrueBox]],
) -> Tile:  # fmt: skip
    threats = np.flatnonzero(group.y_true[row]).tolist()
    shown = int(ranks[row].argmin() if threats else scores[row].argmax())
    name, label = group.names[row], group.classes[shown]
    source, problem = picture(paths[name], truth=truth.get(name, ()))
    above = scores[~group.y_true[:, shown], shown] > scores[row, shown]
    rank = int(ranks[row, shown]) if threats else int(above.sum())
    labels = [group.classes[c] for c in threats] or ["threat-free"]
    sources = [source] if source else []
    return Tile(name, sources, labels, f"{label}: rank {rank:,}", bool(threats), name=name, problem=problem)
