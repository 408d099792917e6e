"""Phase 1: a multi-label classifier (backbone + FPN, or a peer) trained on a balanced set; the features it gives."""

from gbad.phase1_classifier.architectures import (
    ARCHITECTURES,
    Classifier,
    build_classifier,
    classifier_from_state,
    classifier_state,
)
from gbad.phase1_classifier.backbones import BACKBONES
from gbad.phase1_classifier.chr import CHRClassifier
from gbad.phase1_classifier.features import VIEWS, FeatureFile, extract_features, predict_batch, predict_stream
from gbad.phase1_classifier.heatmap import class_heatmap, position_maps
from gbad.phase1_classifier.model import ThreatClassifier
from gbad.phase1_classifier.plain import PlainClassifier
from gbad.phase1_classifier.training import train_classifier

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "VIEWS",
    "CHRClassifier",
    "Classifier",
    "FeatureFile",
    "PlainClassifier",
    "ThreatClassifier",
    "build_classifier",
    "class_heatmap",
    "classifier_from_state",
    "classifier_state",
    "extract_features",
    "position_maps",
    "predict_batch",
    "predict_stream",
    "train_classifier",
]
