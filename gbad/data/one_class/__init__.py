"""Data sets for one-class detectors: images with one class each, in a training and a test part."""

from gbad.data.one_class.class_data import ClassData, Part, load_all
from gbad.data.one_class.reading import LAYOUTS, detect_layout, read_classes

__all__ = ["LAYOUTS", "ClassData", "Part", "detect_layout", "load_all", "read_classes"]
