"""Plots of an evaluation and one self-contained HTML page about it."""

from gbad.report.evaluation import Evaluation
from gbad.report.page import write_report
from gbad.report.plots import save_plots

__all__ = ["Evaluation", "save_plots", "write_report"]
