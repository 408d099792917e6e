"""Plots of an evaluation and one self-contained HTML page about it; pictures of what was found.

Nothing is imported here: pictures of findings are drawn without matplotlib, which takes a second to import.
"""
