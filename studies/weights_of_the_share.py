"""How often one threat-free row may count when the class heads' share is chosen for rare threats.

python benchmarks/weights_of_the_share.py DIR/cells/gbad-*/validation.npz DIR/cells/gbad_boxes-*/validation.npz

`gbad.phase3_gate.choose` lets threat-free rows count as often as the prevalence takes, up to a limit. For each limit,
the share is chosen on one half of a network's validation part, and the other half is ranked with it at the prevalence
in question; mean of many halves, per network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from gbad.benchmarks.paper.inference import Scores
from gbad.phase3_gate import choose_share, mixed, prevalence_weights
from gbad.phase3_gate.class_heads import SHARES
from gbad.phase3_gate.ranking import mean_ap
from gbad.storage.files import atomic_path

LIMITS = (1.0, 3.0, 5.0, 10.0, 30.0, np.inf)


def main(
    parts: Annotated[list[Path], typer.Argument(help="validation.npz of cells with class heads.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("weights_of_the_share.csv"),
    ratio: Annotated[float, typer.Option(help="Threat-free images per image with threats.")] = 1000,
    repeats: Annotated[int, typer.Option(help="Draws of halves, each used both ways.")] = 30,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Write and print the mAP in percent of each network (rows) by limit (columns)."""
    generator, rows = np.random.default_rng(seed), []
    for path in parts:
        scores = Scores.load(path)
        assert scores.labels is not None
        assert scores.heads is not None
        labels = scores.labels.astype(bool)
        rankings = {share: mixed(scores.logits, scores.heads, share) for share in SHARES}
        found: dict[float, list[float]] = {limit: [] for limit in LIMITS}
        for half in halves(labels, repeats, generator):
            own, other = (prevalence_weights(labels[part].any(axis=1), 1 / (1 + ratio)) for part in (half, ~half))
            judged = {share: mean_ap(labels[~half], ranking[~half], other) for share, ranking in rankings.items()}
            for limit in LIMITS:
                capped = np.minimum(own, limit)
                share = choose_share(scores.logits[half], scores.heads[half], labels[half], sample_weight=capped)
                found[limit].append(judged[share])
        rows.append({"network": path.parent.name} | {f"{limit:g}": 100 * np.mean(of) for limit, of in found.items()})
    table = pd.DataFrame(rows).set_index("network")
    table.loc["mean"] = table.mean()
    with atomic_path(out) as temporary:
        table.round(3).to_csv(temporary)
    typer.echo(table.round(2).to_string())


def halves(labels: np.ndarray, repeats: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Masks of half of the rows with threats and half of those without, both ways; each half shows every class."""
    positive = labels.any(axis=1)
    for _ in range(repeats):
        half = np.zeros(len(labels), bool)
        for kind in (positive, ~positive):
            rows = generator.permutation(np.flatnonzero(kind))
            half[rows[: len(rows) // 2]] = True
        if labels[half].any(axis=0).all() and labels[~half].any(axis=0).all():
            yield from (half, ~half)


if __name__ == "__main__":
    typer.run(main)
