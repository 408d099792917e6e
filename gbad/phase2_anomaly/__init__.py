"""Phase 2: anomaly detectors that learn what threat-free X-ray images look like."""

from gbad.phase2_anomaly.anogan import AnoGANDetector
from gbad.phase2_anomaly.base import AnomalyDetector
from gbad.phase2_anomaly.bigan import BiGANDetector
from gbad.phase2_anomaly.catalogue import FEATURE_DETECTORS, IMAGE_DETECTORS
from gbad.phase2_anomaly.dense_skip import DenseSkipDetector
from gbad.phase2_anomaly.egbad import EGBADDetector
from gbad.phase2_anomaly.feature_detector import FeatureDetector
from gbad.phase2_anomaly.ganomaly import GANomalyDetector
from gbad.phase2_anomaly.gaussian import GaussianDetector
from gbad.phase2_anomaly.image_detector import ImageAnomalyDetector
from gbad.phase2_anomaly.isolation_forest import IsolationForestDetector
from gbad.phase2_anomaly.neighbours import NearestNeighboursDetector
from gbad.phase2_anomaly.one_class_svm import OneClassSVMDetector
from gbad.phase2_anomaly.panda_gan import PANDAGANDetector
from gbad.phase2_anomaly.sagan import SAGANDetector
from gbad.phase2_anomaly.skip_ganomaly import SkipGANomalyDetector
from gbad.phase2_anomaly.vae import VAEDetector

__all__ = [
    "FEATURE_DETECTORS",
    "IMAGE_DETECTORS",
    "AnoGANDetector",
    "AnomalyDetector",
    "BiGANDetector",
    "DenseSkipDetector",
    "EGBADDetector",
    "FeatureDetector",
    "GANomalyDetector",
    "GaussianDetector",
    "ImageAnomalyDetector",
    "IsolationForestDetector",
    "NearestNeighboursDetector",
    "OneClassSVMDetector",
    "PANDAGANDetector",
    "SAGANDetector",
    "SkipGANomalyDetector",
    "VAEDetector",
]
