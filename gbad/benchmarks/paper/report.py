"""One HTML page about a benchmark: tables, plots, images that each method gets right and wrong, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gbad.benchmarks.paper.figures import PLOTTED
from gbad.benchmarks.paper.groups import Group
from gbad.report.gallery import outranked, pictures
from gbad.report.html import inline

TILES_OF_A_KIND = 2


def section(
    heading: str,
    tables: Sequence[pd.DataFrame] = (),
    figures: Mapping[str, Figure] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """One section of the page: notes, then tables, then plots by their captions."""
    return {
        "heading": heading,
        "notes": [*notes],
        "tables": [{"columns": [*table.columns], "rows": _rows(table)} for table in tables],
        "figures": [(caption, inline(figure)) for caption, figure in (figures or {}).items()],
    }


def galleries(group: Group, paths: Mapping[str, Path]) -> list[dict[str, Any]]:
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
        found.append({"heading": group.methods[name].label, "tiles": tiles})
    return found


def _tile(
    group: Group, row: int, ranks: np.ndarray, scores: np.ndarray, paths: Mapping[str, Path], verdict: str
) -> dict[str, Any]:
    threats = np.flatnonzero(group.y_true[row]).tolist()
    shown = int(ranks[row].argmin() if threats else scores[row].argmax())
    sources, problem = pictures(paths[group.names[row]], shown)
    label = group.classes[shown]
    rank = (
        int(ranks[row, shown]) if threats else int((scores[~group.y_true[:, shown], shown] > scores[row, shown]).sum())
    )
    return {
        "name": group.names[row], "pictures": sources, "problem": problem, "verdict": verdict,
        "threats": [group.classes[c] for c in threats], "text": f"{label}: rank {rank:,}",
    }  # fmt: skip


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for values in table.itertuples(index=False):
        tone = "other" if any("other data" in value for value in values if isinstance(value, str)) else ""
        if "met" in table.columns:
            tone = {"yes": "met", "no": "missed"}.get(str(values[-1]), "")
        cells = ["" if isinstance(value, float) and np.isnan(value) else value for value in values]
        rows.append({"tone": tone, "cells": cells})
    return rows
