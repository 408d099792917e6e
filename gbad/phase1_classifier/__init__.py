"""Phase 1: a multi-label classifier (backbone + FPN) trained on a balanced set, and the features it gives."""

from gbad.phase1_classifier.backbones import BACKBONES
from gbad.phase1_classifier.features import FeatureFile, extract_features, predict_batch, predict_stream
from gbad.phase1_classifier.heatmap import class_heatmap
from gbad.phase1_classifier.model import ThreatClassifier, classifier_from_state, classifier_state
from gbad.phase1_classifier.training import build_classifier, train_classifier

__all__ = [
    "BACKBONES",
    "FeatureFile",
    "ThreatClassifier",
    "build_classifier",
    "class_heatmap",
    "classifier_from_state",
    "classifier_state",
    "extract_features",
    "predict_batch",
    "predict_stream",
    "train_classifier",
]
