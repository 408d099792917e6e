"""What a second look owes to its parts: to where it looks, to the resolution of the files, and to mined negatives.

python studies/second_look_ablation.py RUN DATA --out runs/ablation --variants chance-places low-resolution

RUN is a run folder of ``gbad train``, or that of a cell of ``gbad benchmark``, with a second look. For each variant,
phases 1 to 3 of the second look are trained anew on what the first look has left; "as it is" takes the run's own. Then
all test images are scored. A killed study continues; several processes may each take some variants.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.data.original import ArrayImage, Original
from gbad.data.regions import choose_regions, region_source
from gbad.data.source import ImageSource, opened, source_from_paths
from gbad.evaluation.metrics import average_precision_per_class, mean_average_precision
from gbad.phase1_classifier import FeatureFile, classifier_from_state, extract_features
from gbad.phase2_anomaly.detectors import detector_input
from gbad.phase3_gate import Regions
from gbad.runtime.allocator import keep_freed_memory
from gbad.training.phase1 import load_classifier
from gbad.training.phase2 import load_detectors
from gbad.training.phase3 import fit_first_look, fit_second_look
from gbad.training.regions import POOL, RegionList, find_regions, places_digest
from gbad.training.run_folder import Run, open_run
from gbad.training.second_look import fit_second_look as train_second_look
from gbad.training.second_look import load_region_model, shape_of_regions
from gbad.training.settings import Negatives

RATIOS = (10, 100, 1000)
AS_IT_IS, CHANCE, LOW, RANDOM = "as it is", "chance-places", "low-resolution", "random-negatives"
VARIANTS = (AS_IT_IS, CHANCE, LOW, RANDOM)


def low_resolution(source: ImageSource) -> ImageSource:
    """Source whose originals hold no more than the first look sees: enlarged to the size of their files again."""

    def enlarged(row: int) -> Original:
        size = opened(source, row).size
        return ArrayImage(np.asarray(Image.fromarray(source.load(row)).resize(size, Image.Resampling.BILINEAR)))

    return replace(source, open=enlarged)


def peaks_of(features: FeatureFile) -> npt.NDArray[np.float32]:
    """Where the evidence is, of features that were made for a second look."""
    assert features.peaks is not None
    return features.peaks


def by_chance(features: FeatureFile) -> FeatureFile:
    """Features of a run, as if the evidence had been anywhere."""
    anywhere = copy(features)
    anywhere.peaks = np.random.default_rng(0).random(peaks_of(features).shape, np.float32)
    return anywhere


def region_list(run: Run, variant: str) -> RegionList:
    """Regions that a variant learns from."""
    features = FeatureFile(run.folder / "phase2" / "features")
    shape = shape_of_regions(run.folder, run.data, run.settings)
    places = by_chance(features) if variant == CHANCE else features
    pool = math.inf if variant == RANDOM else POOL
    found = find_regions(run.data, places, shape, run.settings.regions, run.bad, pool=pool)
    if variant == RANDOM:
        mined = np.flatnonzero(~found.validation & found.threat_free)
        count = min(len(mined), POOL * int((~found.validation & ~found.threat_free).sum()))
        drawn = np.random.default_rng(0).choice(mined, count, replace=False)
        kept = np.sort(np.concatenate([np.flatnonzero(found.validation | ~found.threat_free), drawn]))
        found = RegionList(found.rows[kept], found.centres[kept], found.labels[kept], found.validation[kept])
    return replace(found, found_in=places_digest(features))


def trained(run: Run, variant: str, out: Path) -> Run:
    """Train phases 1 and 2 of a variant's second look in a folder of its own, unless that is done."""
    folder = out / variant
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "phase2").exists():
        (folder / "phase2").symlink_to((run.folder / "phase2").resolve())
    own = replace(run, folder=folder)
    if variant == LOW:
        own = replace(own, data=replace(run.data, source=low_resolution(run.data.source)))
    regions = folder / "second_look" / "regions.joblib"
    if not regions.exists():
        region_list(own, variant).save(regions)
    negatives: Negatives = "fresh" if variant == RANDOM else "hard"
    train_second_look(own.data, own.settings, folder, own.bad, negatives=negatives, show_progress=True)
    return own


def of_test_regions(own: Run, variant: str, test: FeatureFile, source: ImageSource, folder: Path) -> Regions:
    """What phases 1 and 2 of a variant's second look say of the regions of all test images."""
    model = load_region_model(own.folder, own.data, own.settings)
    places = by_chance(test) if variant == CHANCE else test
    if variant == LOW:
        source = low_resolution(source)
    importance = model.importance(np.asarray(test.logits))
    image, centres = [], []
    for number, row in enumerate(test.rows.tolist()):
        peaks, size = np.asarray(peaks_of(places)[number]), opened(source, row).size
        middles, _ = choose_regions(peaks, importance[number], size, model.shape.side, model.most)
        image += [number] * len(middles)
        centres += [*peaks[middles]]
    regions = region_source(source, test.rows[image], np.array(centres), model.shape)
    bad = BadImages(len(regions), 0.0, strict=True)
    seen = extract_features(
        classifier_from_state(dict(model.classifier)), regions, np.arange(len(regions)), folder, bad,
        title=f"{variant}, test regions", show_progress=True,
    )  # fmt: skip
    logits = np.asarray(seen.logits)
    losses = model.detectors.of_features.losses(detector_input(seen.features, logits))
    return Regions(np.array(image), logits, losses)


def main(argv: Sequence[str] | None = None) -> None:
    """Write a table with each variant at each ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--subset", default="10")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    options = parser.parse_args(argv)
    keep_freed_memory()
    run = open_run(options.run)
    listed = read_sixray(options.data, options.subset, "test")
    source = source_from_paths(image_paths(options.data, listed.names), run.settings.size)
    shape = shape_of_regions(run.folder, run.data, run.settings)
    test = extract_features(
        load_classifier(run.folder), source, np.arange(len(source)), options.out / f"test-{'-'.join(options.variants)}",
        BadImages(len(source), 0.0, strict=True), peak_extent=shape.extent, title="test images", show_progress=True,
    )  # fmt: skip
    logits = np.asarray(test.logits)
    losses = load_detectors(run.folder).of_features.losses(detector_input(test.features, logits))
    labels, classes = listed.labels[test.rows], listed.classes
    threat, rows = labels.any(1), []
    for variant in options.variants:
        own = run if variant == AS_IT_IS else trained(run, variant, options.out)
        regions = of_test_regions(own, variant, test, source, options.out / variant / "test")
        for ratio in RATIOS:
            settings = run.settings.changed(prevalence=1 / (1 + ratio))
            first = fit_first_look(run.data, settings, run.folder)
            decided = first.decision.decide(logits, np.asarray(test.features), losses)
            second, _ = fit_second_look(own.data, settings, own.folder, first)
            looked = second.looks_twice(decided.any_threat)
            both = second.decide(decided, regions.of_images(looked))
            weights = np.where(threat, 1.0, ratio * threat.sum() / (~threat).sum())
            of_first, of_both = (
                mean_average_precision(average_precision_per_class(labels, scores, classes, sample_weight=weights))
                for scores in (decided.log_gated, both.log_gated)
            )
            rows.append({
                "variant": variant, "ratio": ratio, "share of the second look": second.share, "alpha": second.strength,
                "looked at, threat-free": looked[~threat].mean(), "looked at, threats": looked[threat].mean(),
                "mAP, first look": of_first, "mAP": of_both,
            })  # fmt: skip
        table = pd.DataFrame(rows)
        table.round(4).to_csv(options.out / f"ablation-{'-'.join(options.variants)}.csv", index=False)
        print(table.round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
