"""Plots of an evaluation and one self-contained HTML page about it."""

from gbad.report.page import write_report
from gbad.report.plots import save_plots

__all__ = ["save_plots", "write_report"]
