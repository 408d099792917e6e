"""The paper's tables, and image-level detectors on normal and abnormal images."""
