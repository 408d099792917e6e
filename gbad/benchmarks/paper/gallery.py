"""Images of a benchmark that each method gets right and wrong, for its HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.benchmarks.page import Gallery, Tile
from gbad.benchmarks.paper.figures import PLOTTED
from gbad.benchmarks.paper.groups import Group
from gbad.data.arrays import Rows
from gbad.report.gallery import outranked, pictures

ABOUT = (
    "For each method, threats that it ranks best and worst, and threat-free images that it ranks highest; scores of "
    "the first seed. A rank is the number of images without the class that score higher."
)
TILES_OF_A_KIND = 2


def galleries(group: Group, paths: Mapping[str, Path]) -> list[Gallery]:
    """Images that each method gets right and wrong.

    Parameters
    ----------
    group : Group
    paths : mapping of str to Path
        Images by their names. One that cannot be read is shown as such.
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
        tiles = [
            _tile(group, row, ranks, scores, paths, verdict)
            for rows, verdict in ((right, "right"), (wrong, "wrong: ranks low"), (alarms, "wrong: ranks high"))
            for row in rows.tolist()
        ]
        found.append(Gallery(group.methods[name].label, {"": tiles}))
    return found


def _tile(group: Group, row: int, ranks: Rows, scores: Floats, paths: Mapping[str, Path], verdict: str) -> Tile:
    threats = np.flatnonzero(group.y_true[row]).tolist()
    shown = int(ranks[row].argmin() if threats else scores[row].argmax())
    name, label = group.names[row], group.classes[shown]
    images, problem = pictures(paths[name], shown)
    above = scores[~group.y_true[:, shown], shown] > scores[row, shown]
    rank = int(ranks[row, shown]) if threats else int(above.sum())
    labels = [group.classes[c] for c in threats] or ["threat-free"]
    text = f"{label}: rank {rank:,}"
    return Tile(name, [*images.values()], labels, verdict, bool(threats), name=name, text=text, problem=problem or "")
