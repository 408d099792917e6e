from __future__ import annotations

from dataclasses import asdict

import pytest

from gbad.benchmarks.paper.cells import VERSION
from gbad.data.regions import USUAL_SIDE
from gbad.data.transforms import AUGMENTATIONS, region_augmentation
from gbad.phase1_classifier import BACKBONES
from gbad.phase1_classifier.chr import _THRESHOLDS
from gbad.phase2_anomaly import IMAGE_DETECTORS, BiGANDetector
from gbad.phase3_gate import default_gate
from gbad.phase3_gate.class_heads import SHARES, SHRINKAGE
from gbad.phase3_gate.second_look import SHARES as SECOND_SHARES
from gbad.phase3_gate.suppression import DEFAULT_ALPHAS
from gbad.storage.digests import json_digest
from gbad.training.phase1 import architecture_options
from gbad.training.regions import NEGATIVES_PER_POSITIVE, POOL
from gbad.training.second_look import MARGIN, SHIFT
from gbad.training.settings import Settings

pytestmark = pytest.mark.usefixtures("real_resnet18")


def test_a_change_of_a_default_raises_the_version_of_cells() -> None:
    """The digest of a cell is of None where a default is meant: another default would pass for the old one."""
    defaults = {
        "backbones": {name: asdict(facts) for name, facts in BACKBONES.items()},
        "pyramids": {pooling: architecture_options(Settings(pooling=pooling)) for pooling in ("average", "max")},
        "augmentations": AUGMENTATIONS,
        "chr": {mask: str(threshold) for mask, threshold in _THRESHOLDS.items()},
        "bigan": BiGANDetector().get_params(),
        "image_detectors": {name: IMAGE_DETECTORS[name]().get_params() for name in ("ganomaly", "skip_ganomaly")},
        "gates": {fit: default_gate(fit).get_params() for fit in ("held-out", "paper")},
        "heads": {"shrinkage": SHRINKAGE, "shares": SHARES, "alphas": DEFAULT_ALPHAS},
        "second_look": {
            "augmentation": region_augmentation("standard", SHIFT),
            "margin": MARGIN,
            "pool": POOL,
            "negatives": NEGATIVES_PER_POSITIVE,
            "usual_side": USUAL_SIDE,
            "shares": SECOND_SHARES,
        },
    }
    # Where this fails, raise gbad.benchmarks.paper.cells.VERSION, and note the new pair here.
    assert (VERSION, json_digest(defaults)) == (3, "26e24bb299a36ed64655b5b80aab254a")
