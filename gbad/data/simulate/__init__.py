"""Simulated dual-energy X-ray scans of baggage, with or without threats, and the truth about each."""

from gbad.data.simulate.dataset import simulate_dataset
from gbad.data.simulate.scene import Scan, simulate_image

__all__ = ["Scan", "simulate_dataset", "simulate_image"]
