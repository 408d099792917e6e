"""Phase 2: anomaly detectors that learn what threat-free X-ray images look like."""

from gbad.phase2_anomaly.base import AnomalyDetector
from gbad.phase2_anomaly.bigan import BiGANDetector

__all__ = ["AnomalyDetector", "BiGANDetector"]
