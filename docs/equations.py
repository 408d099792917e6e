"""Equations of the pages as SVG: the site needs no JavaScript and no network for them."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from typing import Any
from zlib import crc32

import matplotlib
from matplotlib.figure import Figure


def svg(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **_: Any) -> str:
    """Draw the lines of a ```` ```math ```` block, one equation a line, with matplotlib's mathtext.

    The signature is the one that ``pymdownx.superfences`` asks for. The colour is that of the text around.
    """
    return "\n".join(_drawn(line.strip()) for line in source.splitlines() if line.strip())


def _drawn(equation: str) -> str:
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": equation, "mathtext.fontset": "stix"}):
        figure, text = Figure(figsize=(0.01, 0.01)), StringIO()
        figure.text(0, 0, f"${equation}$", fontsize=14)
        figure.savefig(
            text, format="svg", bbox_inches="tight", pad_inches=0.03, transparent=True, metadata={"Date": None}
        )
    drawing = text.getvalue()[text.getvalue().index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # Ids are of one drawing: several drawings in a page must not share them.
    prefix = f"eq{crc32(equation.encode())}-"
    drawing = re.sub(r'id="', f'id="{prefix}', drawing).replace('href="#', f'href="#{prefix}')
    drawing = drawing.replace("<svg ", f'<svg role="img" fill="currentColor" aria-label="{escape(equation)}" ', 1)
    return f'<p class="equation">{drawing}</p>'
