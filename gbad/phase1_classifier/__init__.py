"""Phase 1: a multi-label classifier (backbone + FPN, or a peer), trained on a balanced set, and its features."""

from gbad.phase1_classifier.architectures import (
    ARCHITECTURES,
    build_classifier,
    classifier_from_state,
    classifier_state,
    in_half_precision,
    scoring_network,
)
from gbad.phase1_classifier.backbones import BACKBONES
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.evidence import evidence_maps, evidence_peaks, knows_positions, see, stage_evidence
from gbad.phase1_classifier.exported import onnx_graph, use_onnx
from gbad.phase1_classifier.features import FeatureFile, extract_features
from gbad.phase1_classifier.heatmap import class_heatmap, class_heatmaps, position_maps
from gbad.phase1_classifier.prediction import VIEWS, predict_batch, predict_stream
from gbad.phase1_classifier.training import train_classifier

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "VIEWS",
    "Classifier",
    "FeatureFile",
    "build_classifier",
    "class_heatmap",
    "class_heatmaps",
    "classifier_from_state",
    "classifier_state",
    "evidence_maps",
    "evidence_peaks",
    "extract_features",
    "in_half_precision",
    "knows_positions",
    "onnx_graph",
    "position_maps",
    "predict_batch",
    "predict_stream",
    "scoring_network",
    "see",
    "stage_evidence",
    "train_classifier",
    "use_onnx",
]
