"""One self-contained HTML page about a benchmark: table, figure, classes, example images, how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

import gbad.report
from gbad.benchmarks.detectors.paper_mode import paper_label
from gbad.benchmarks.detectors.plots import roc_auc_figure
from gbad.benchmarks.detectors.tables import (
    DETECTION,
    LOCALISATION_AND_COST,
    class_headers,
    class_rows,
    columns,
    commands,
    headers,
    notes,
    number,
    rows,
    summarise,
)
from gbad.report.gallery import PICTURE_SIDE, data_address, overlaid
from gbad.report.style import GATED, GRID, INK, svg
from gbad.storage.files import atomic_path

_SMALLEST_SIDE = 128  # small images are enlarged to it without smoothing


def write_report(
    path: str | Path, results: Sequence[Mapping[str, Any]], examples: Callable[[Mapping[str, Any]], Mapping | None]
) -> None:
    """Write the report of a benchmark as one HTML file that needs nothing else, neither files nor network.

    Parameters
    ----------
    path : path-like
        The file; written whole or not at all.
    results : sequence of dict
        As from `run_benchmark`.
    examples : callable
        Gives the example images of a result, or None: ``scores``, ``abnormal``, ``images`` and, if the detector has
        them, ``maps``; see `run_cell`.
    """
    summaries = summarise(results)
    first, table = results[0], [headers(), *rows(summaries)]
    best = max(summaries, key=lambda one: np.nan_to_num(one["clean"]["roc_auc"]))
    loaders = [FileSystemLoader(folder) for folder in (Path(__file__).parent, Path(gbad.report.__file__).parent)]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    page = environment.get_template("benchmark.html.j2").render(
        title=f"Detectors on {first['dataset']}, {first['protocol']}",
        best=best,
        number=number,
        paper_label=paper_label(best["detector"]),
        tables={
            "Detection": columns(table, DETECTION),
            "Localisation and cost": columns(table, LOCALISATION_AND_COST),
            "ROC-AUC by class": [class_headers(summaries), *class_rows(summaries, results)],
        },
        notes=notes(results),
        figure=Markup(svg(roc_auc_figure(summaries), {INK: "var(--ink)", GRID: "var(--grid)", GATED: "var(--gated)"})),
        diverged=[result for result in results if "error" in result],
        galleries=[gallery for result in results if (gallery := _gallery(result, examples(result)))],
        made_with=first["made_with"] | {"command": "\n".join(commands(results))},
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _gallery(result: Mapping[str, Any], examples: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if examples is None:
        return None
    tiles = []
    for row, score in enumerate(examples["scores"].tolist()):
        image = _picture(examples["images"][row])
        sources = [data_address(image)]
        if "maps" in examples:
            sources.append(data_address(overlaid(image, examples["maps"][row].astype(float))))
        kind = "abnormal" if examples["abnormal"][row] else "normal"
        tiles.append({"pictures": sources, "kind": kind, "score": f"{score:.3f}"})
    half = len(tiles) // 2
    halves = {"Most abnormal by its score": tiles[:half], "Least abnormal by its score": tiles[half:]}
    return {"class": result["class"], "detector": result["detector"], "seed": result["seed"], "halves": halves}


def _picture(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).convert("RGB")
    factor = -(-_SMALLEST_SIDE // image.width)
    if factor > 1:
        return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    return image
