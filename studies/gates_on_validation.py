"""Compare the pieces of phases 2 and 3 on the validation parts of finished runs. No test image is used.

python studies/gates_on_validation.py runs/demo RUN... --detectors bigan gaussian neighbours bigan+neighbours+maximum

The validation part is cut into five folds. Gates, their strengths and the share of the class heads are chosen without
the fold that they are applied to. Images are ranked within a fold, since two folds may choose differently. The paper's
gate and the class heads are fitted on the training rows. Each detector learns from the threat-free training rows. Names
joined by + are inputs of one gate; "maximum" is the probability of the likeliest class of an image.

Threat-free rows are weighted: there are as many per row with a threat as --ratios say. Strengths and shares are chosen
for the list's own ratio. The table holds mAP in percent, the mean over the folds; for several runs, the mean over the
runs with Student's 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from gbad.evaluation.measures import t_interval
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase1_classifier import FeatureFile
from gbad.phase2_anomaly import FEATURE_DETECTORS
from gbad.phase2_anomaly.detectors import detector_input
from gbad.phase3_gate import (
    ThreatGate,
    choose_alpha,
    choose_share,
    cross_fitted_gate,
    default_gate,
    fit_class_heads,
    log_sigmoid,
    mixed,
    suppress,
)
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import atomic_path
from gbad.training.phase2 import make_detector
from gbad.training.run_folder import open_run

EPSILON = 1e-3
MAXIMUM = "maximum"


def compare(folder: Path, detectors: list[str], ratios: list[int]) -> pd.DataFrame:
    """Compute the mAP in percent of each variant (rows) at each ratio (columns) on the validation part of a run."""
    run = open_run(folder)
    data = run.data
    file = FeatureFile(folder / "phase2" / "features")
    rows, features, logits = file.rows, np.asarray(file.features), np.asarray(file.logits)
    labels, threat, validation = data.labels[rows], data.positive[rows].astype(int), data.validation[rows]
    inputs = detector_input(features, logits)
    heads = fit_class_heads(features[~validation], logits[~validation], labels[~validation])
    own, log_odds = logits[validation], heads.log_odds(features[validation])
    truth, any_threat = labels[validation], threat[validation]

    variants = {"classifier alone": own, "class heads": np.empty_like(own), "class heads, a share each": own.copy()}
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(own, any_threat))
    ranking = []
    for fit, apply in folds:
        share = choose_share(own[fit], log_odds[fit], truth[fit])
        ranking.append(mixed(own, log_odds, share))
        variants["class heads"][apply] = ranking[-1][apply]
        for c in np.flatnonzero(truth[fit].any(axis=0)).tolist():
            share = choose_share(own[fit, c : c + 1], log_odds[fit, c : c + 1], truth[fit, c : c + 1])
            variants["class heads, a share each"][apply, c] = mixed(own, log_odds, share)[apply, c]
    found = {MAXIMUM: np.exp(log_sigmoid(logits)).max(axis=1, keepdims=True)}
    for name in sorted({part for names in detectors for part in names.split("+")} - set(found)):
        detector = make_detector(run.settings.changed(detector=name))
        found[name] = detector.fit(inputs[~validation & (threat == 0)]).losses(inputs)
    for name in detectors:
        losses = np.concatenate([found[part] for part in name.split("+")], axis=1)
        paper = default_gate("paper").fit(losses[~validation], threat[~validation])
        losses = losses[validation]
        variants[f"{name}: paper's hard gate"] = _gated(own, losses, paper)
        rules = ("hard gate, held-out", "soft gate", "class heads, soft gate", "class heads, a soft gate each")
        gated = {rule: np.empty_like(own) for rule in rules}
        for (fit, apply), ranked in zip(folds, ranking, strict=True):
            gate = default_gate("held-out").fit(losses[fit], any_threat[fit])
            held = cross_fitted_gate(gate, losses[fit], any_threat[fit])
            score = gate.decision_function(losses[apply])
            p_anomalous = gate.probability(score)
            for rule, scores in (("hard gate, held-out", own), ("soft gate", own), ("class heads, soft gate", ranked)):
                suppression, strength = "hard", EPSILON
                if "soft" in rule:
                    suppression = "soft"
                    strength = 0.0 if held is None else choose_alpha(scores[fit], truth[fit], held[1])
                gated[rule][apply] = suppress(scores[apply], score, p_anomalous, suppression, strength)
            for column in range(own.shape[1]):
                chosen, strength = ranked[:, column : column + 1], 0.0
                if held is not None and truth[fit, column].any():
                    strength = choose_alpha(chosen[fit], truth[fit, column : column + 1], held[1])
                own_gate = suppress(chosen[apply], score, p_anomalous, "soft", strength)
                gated["class heads, a soft gate each"][apply, column] = own_gate[:, 0]
        variants |= {f"{name}: {rule}": scores for rule, scores in gated.items()}
    by_ratio = {
        ratio: {
            name: np.mean([_map(truth[apply], scores[apply], data.classes, ratio) for _, apply in folds])
            for name, scores in variants.items()
        }
        for ratio in ratios
    }
    return pd.DataFrame(by_ratio)


def _gated(
    logits: npt.NDArray[np.float64], losses: npt.NDArray[np.float64], gate: ThreatGate
) -> npt.NDArray[np.float64]:
    """Logarithms of probabilities behind the paper's gate."""
    score = gate.decision_function(losses)
    return suppress(logits, score, gate.probability(score), "hard", EPSILON)


def _map(labels: npt.NDArray[np.uint8], scores: npt.NDArray[np.float64], classes: tuple[str, ...], ratio: int) -> float:
    free = ~labels.any(axis=1)
    weight = np.where(free, ratio * (~free).sum() / free.sum(), 1.0)
    return 100 * mean_average_precision(average_precision_per_class(labels, scores, classes, sample_weight=weight))


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of the means over the runs, and write all values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="finished run folders")
    parser.add_argument("--detectors", nargs="+", default=list(FEATURE_DETECTORS), help="names, or several joined by +")
    parser.add_argument(
        "--ratios", type=int, nargs="+", default=[10, 100, 1000], help="threat-free rows per positive row"
    )
    parser.add_argument("--out", type=Path, help="CSV file for all values")
    options = parser.parse_args(argv)
    parts = {part for name in options.detectors for part in name.split("+")}
    if unknown := parts - {*FEATURE_DETECTORS, MAXIMUM}:
        parser.error(f"no detector {', '.join(sorted(unknown))}. There are: {', '.join(FEATURE_DETECTORS)}, {MAXIMUM}.")

    tables = {str(run): compare(run, options.detectors, options.ratios) for run in options.runs}
    everything = pd.concat(tables, names=["run", "variant"])
    by_variant = everything.groupby("variant", sort=False)
    shown = by_variant.mean().round(1).astype(str)
    if len(tables) > 1:
        for ratio in options.ratios:
            bounds = by_variant[ratio].apply(lambda values: "{:.1f} to {:.1f}".format(*t_interval(values)))
            shown[ratio] += " (" + bounds + ")"
    print(shown.to_string())
    print(library_versions() | hardware())
    if options.out:
        with atomic_path(options.out) as path:
            everything.round(3).to_csv(path)


if __name__ == "__main__":
    main()
