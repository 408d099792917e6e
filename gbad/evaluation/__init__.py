"""Figures of an evaluation: pure functions of labels and scores."""
