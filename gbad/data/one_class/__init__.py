"""Data sets for one-class detectors: images with one class each, in a training and a test part."""

from gbad.data.one_class.class_data import ClassData, Part, chosen, joined, load_all
from gbad.data.one_class.reading import LAYOUTS, UNITS, detect_layout, read_classes

__all__ = ["LAYOUTS", "UNITS", "ClassData", "Part", "chosen", "detect_layout", "joined", "load_all", "read_classes"]
