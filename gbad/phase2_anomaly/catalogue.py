"""Detectors by the names that settings, files and the command line give them."""

from __future__ import annotations

from typing import Any

from gbad.phase2_anomaly.contract import AnomalyDetector
from gbad.phase2_anomaly.features.bigan import BiGANDetector
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector
from gbad.phase2_anomaly.features.gaussian import GaussianDetector
from gbad.phase2_anomaly.features.isolation_forest import IsolationForestDetector
from gbad.phase2_anomaly.features.neighbours import NearestNeighboursDetector
from gbad.phase2_anomaly.features.one_class_svm import OneClassSVMDetector
from gbad.phase2_anomaly.images.anogan import AnoGANDetector
from gbad.phase2_anomaly.images.dense_skip import DenseSkipDetector
from gbad.phase2_anomaly.images.egbad import EGBADDetector
from gbad.phase2_anomaly.images.f_anogan import FAnoGANDetector
from gbad.phase2_anomaly.images.ganomaly import GANomalyDetector
from gbad.phase2_anomaly.images.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.images.panda_gan import PANDAGANDetector
from gbad.phase2_anomaly.images.sagan import SAGANDetector
from gbad.phase2_anomaly.images.skip_ganomaly import SkipGANomalyDetector
from gbad.phase2_anomaly.images.vae import VAEDetector

FEATURE_DETECTORS: dict[str, type[FeatureDetector]] = {
    "bigan": BiGANDetector,
    "gaussian": GaussianDetector,
    "neighbours": NearestNeighboursDetector,
    "isolation_forest": IsolationForestDetector,
    "one_class_svm": OneClassSVMDetector,
}
"""Detectors of feature rows: ``losses(X) -> (n, k)``, with one name for each column in ``loss_names``."""

IMAGE_DETECTORS: dict[str, type[ImageAnomalyDetector[Any]]] = {
    "ganomaly": GANomalyDetector,
    "skip_ganomaly": SkipGANomalyDetector,
    "sagan": SAGANDetector,
    "dense_skip": DenseSkipDetector,
    "panda_gan": PANDAGANDetector,
    "egbad": EGBADDetector,
    "anogan": AnoGANDetector,
    "f_anogan": FAnoGANDetector,
    "vae": VAEDetector,
}
"""Detectors of images: one ``anomaly_score`` for each image."""


def name_of(detector: Any) -> str | None:
    """Name of a detector in one of the two dicts; None for anything else, subclasses included."""
    classes: dict[str, type[AnomalyDetector]] = {**FEATURE_DETECTORS, **IMAGE_DETECTORS}
    return next((name for name, of_name in classes.items() if type(detector) is of_name), None)
