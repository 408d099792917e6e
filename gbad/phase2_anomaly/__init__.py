"""Phase 2: anomaly detectors that learn what threat-free X-ray images look like.

`contract` says what every detector offers. A new detector of feature rows goes into `features`, a new image-level
detector into `images`, each as one file with its networks in a second one beside it; `catalogue` gives it a name.
"""

from gbad.phase2_anomaly.catalogue import FEATURE_DETECTORS, IMAGE_DETECTORS
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
from gbad.phase2_anomaly.images.presets import preset
from gbad.phase2_anomaly.images.sagan import SAGANDetector
from gbad.phase2_anomaly.images.skip_ganomaly import SkipGANomalyDetector
from gbad.phase2_anomaly.images.vae import VAEDetector

__all__ = [
    "FEATURE_DETECTORS",
    "IMAGE_DETECTORS",
    "AnoGANDetector",
    "AnomalyDetector",
    "BiGANDetector",
    "DenseSkipDetector",
    "EGBADDetector",
    "FAnoGANDetector",
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
    "preset",
]
