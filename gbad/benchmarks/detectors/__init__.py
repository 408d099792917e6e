"""Benchmark of image-level anomaly detectors: protocols, clean and paper mode, measures, tables and a report."""
