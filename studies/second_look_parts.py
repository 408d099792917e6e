"""What the parts of a second look add on a test list: how many images it sees, and its gate.

python studies/second_look_parts.py RUN DATA --subset 10 --out results/second_look/parts.csv

RUN is a run folder of ``gbad train``, or that of a cell of ``gbad benchmark``. Once, all test images are looked at
twice. Then phase 3 is fitted anew for each share of images and each gate, on the validation part, and applied to the
test list. No choice depends on the test list.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.explanation import Explanation
from gbad.phase3_gate import Decided, Decision, Evidence, Regions, apply_choices, log_odds
from gbad.pipeline import GBADPipeline, load
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase3 import fit_first_look, fit_second_look
from gbad.training.run_folder import open_run
from gbad.training.settings import Settings
from gbad.workflows.resume import BATCH

RATIOS = (10, 100, 1000)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


def look_at_all(pipeline: GBADPipeline, paths: Sequence[Path]) -> Explanation:
    """Scores of images that are all looked at twice."""
    fitted = pipeline.check_fitted()
    if fitted.second is None:
        raise SystemExit("the run has no second look")
    decision = replace(fitted.second.decision, threshold=-np.inf, share=1.0)
    pipeline.fitted_ = replace(fitted, second=replace(fitted.second, decision=decision))
    parts = []
    for _, explanation, errors in pipeline.stream(pipeline.image_source(paths), batch_size=BATCH):
        for error in errors.values():
            raise error
        parts.append(explanation)
    return Explanation.concatenate(parts)


def variants(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Settings of phase 3 to compare, by name."""
    for share in SHARES:
        yield f"looked at {share:.0%}", settings.changed(second_look_share=share)
    yield "no gate of regions", settings.changed(alpha=0.0)
    yield "gate of regions, alpha 0.5", settings.changed(alpha=0.5)
    yield "gate of regions, alpha 1", settings.changed(alpha=1.0)
    yield "gate of regions, hard", settings.changed(suppression="hard")


def first_look(seen: Explanation, decision: Decision) -> Decided:
    """What phase 3 of the first look, fitted anew, says of the images."""
    p_anomalous = decision.gate.probability(seen.gate_score)
    evidence = Evidence(seen.logits, None if decision.heads is None else seen.heads, seen.gate_score, p_anomalous)
    ranking, gated = apply_choices(evidence, decision.suppression, decision.heads_share, decision.strength)
    return Decided(
        seen.heads, ranking, gated, seen.gate_score, seen.anomalous, decision.any_threat.score(log_odds(gated))
    )


def mean_ap(
    labels: npt.NDArray[np.uint8], scores: npt.NDArray[np.float64], ratio: float, classes: Sequence[str]
) -> float:
    """MAP as on a list with so many threat-free images for each image with threats."""
    threat = labels.any(1)
    weights = np.where(threat, 1.0, ratio * threat.sum() / (~threat).sum())
    return mean_average_precision(average_precision_per_class(labels, scores, classes, sample_weight=weights))


def main(argv: Sequence[str] | None = None) -> None:
    """Write a table of all variants and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--subset", default="10")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    keep_freed_memory()
    run = open_run(options.run)
    test = read_sixray(options.data, options.subset, "test")
    pipeline = load(options.run / "pipeline.joblib")
    seen = look_at_all(pipeline, image_paths(options.data, test.names))
    regions = Regions(seen.regions.image, seen.regions.logits, seen.regions.losses)
    rows = []
    for ratio in RATIOS:
        of_first = fit_first_look(run.data, run.settings.changed(prevalence=1 / (1 + ratio)), run.folder)
        first = first_look(seen, of_first.decision)
        for name, settings in variants(run.settings):
            fitted, _ = fit_second_look(run.data, settings, run.folder, of_first)
            looked = fitted.looks_twice(first.any_threat)
            both = fitted.decide(first, regions.of_images(looked))
            rows.append({
                "variant": name, "ratio": ratio, "share of the second look": fitted.share, "alpha": fitted.strength,
                "looked at, threat-free": looked[~test.positive].mean(),
                "looked at, threats": looked[test.positive].mean(),
                "regions": np.isin(regions.image, np.flatnonzero(looked)).sum() / max(1, looked.sum()),
                "mAP, first look": mean_ap(test.labels, first.log_gated, ratio, test.classes),
                "mAP": mean_ap(test.labels, both.log_gated, ratio, test.classes),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(options.out, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
