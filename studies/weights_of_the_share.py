"""Compare limits for the weight of a threat-free row when the class heads' share is chosen for rare threats.

python studies/weights_of_the_share.py DIR/cells/gbad-*/validation.npz DIR/cells/gbad_boxes-*/validation.npz

`gbad.phase3_gate.choose` weights threat-free rows for the prevalence, up to a limit. For each limit, the share is
chosen on one half of a network's validation part. The other half is ranked with this share and judged at the full
prevalence. The result for a network is the mean over many halves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.benchmarks.paper.inference import Scores
from gbad.phase3_gate import choose_share, mixed, prevalence_weights
from gbad.phase3_gate.class_heads import SHARES
from gbad.phase3_gate.ranking import mean_ap
from gbad.storage.files import atomic_path

LIMITS = (1.0, 3.0, 5.0, 10.0, 30.0, np.inf)


def main(argv: Sequence[str] | None = None) -> None:
    """Write and print the mAP in percent of each network (rows) by limit (columns)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="+", help="validation.npz of cells with class heads")
    parser.add_argument("--out", type=Path, default=Path("weights_of_the_share.csv"), help="CSV file to write")
    parser.add_argument("--ratio", type=float, default=1000, help="threat-free images per image with threats")
    parser.add_argument("--repeats", type=int, default=30, help="draws of two halves; each half is used both ways")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    generator, rows = np.random.default_rng(options.seed), []
    for path in options.parts:
        found = by_limit(Scores.load(path), options.ratio, options.repeats, generator)
        rows.append({"network": path.parent.name} | {f"{limit:g}": value for limit, value in found.items()})
    table = pd.DataFrame(rows).set_index("network")
    table.loc["mean"] = table.mean()
    with atomic_path(options.out) as temporary:
        table.round(3).to_csv(temporary)
    print(table.round(2).to_string())


def by_limit(scores: Scores, ratio: float, repeats: int, generator: np.random.Generator) -> dict[float, float]:
    """Compute the mAP in percent for each limit."""
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
    return {limit: float(100 * np.mean(values)) for limit, values in found.items()}


def halves(
    labels: npt.NDArray[np.bool_], repeats: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.bool_]]:
    """Draw masks of half of the rows with threats and half of the threat-free rows; give each mask and its inverse.

    A draw is left out unless both halves have rows of every class.
    """
    positive = labels.any(axis=1)
    for _ in range(repeats):
        half = np.zeros(len(labels), bool)
        for part in (positive, ~positive):
            rows = generator.permutation(np.flatnonzero(part))
            half[rows[: len(rows) // 2]] = True
        if labels[half].any(axis=0).all() and labels[~half].any(axis=0).all():
            yield from (half, ~half)


if __name__ == "__main__":
    main()
