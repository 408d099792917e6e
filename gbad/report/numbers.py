"""Figures as texts for the pages. A missing figure is NaN, or None where it was read back from JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def number(value: float | None) -> float:
    """Turn JSON's null back into NaN."""
    return math.nan if value is None else float(value)


def rounded(value: float, digits: int) -> float:
    """Round, without a negative zero.

    Examples
    --------
    >>> rounded(-0.04, 1), rounded(-0.06, 1)
    (0.0, -0.1)
    """
    return round(float(value), digits) + 0.0


def signed(value: float, digits: int) -> str:
    """Format with a true minus sign where it is negative."""
    return _minus(f"{rounded(value, digits):.{digits}f}")


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share of 1 in percent."""
    return _or_missing(value, f"{rounded(100 * number(value), digits):.{digits}f}\N{NO-BREAK SPACE}%")


def points(value: float | None) -> str:
    """Format a difference of two shares in percentage points, with its sign."""
    return _or_missing(value, _minus(f"{rounded(100 * number(value), 1):+.1f}"))


def ratio(value: float | None) -> str:
    """Format with three decimals."""
    return _or_missing(value, f"{number(value):.3f}")


def interval(bounds: Sequence[float | None] | None, with_sign: bool = False) -> str:
    """Format both bounds in percent; empty if one is missing."""
    values = [100 * number(bound) for bound in bounds or (None,)]
    if any(map(math.isnan, values)):
        return ""
    return _minus(" to ".join(f"{rounded(value, 1):{'+' if with_sign else ''}.1f}" for value in values))


def probability(value: float) -> str:
    """Format with three decimals, or with its power of ten if it is small."""
    return f"{value:.3f}" if value >= 0.0005 or value == 0 else _minus(f"{value:.0e}".replace("e-0", "e-"))


def readable(value: Any) -> str:
    """Format a value of any type: numbers rounded, lists with commas."""
    if isinstance(value, (float, np.floating)):
        return f"{value:,.1f}" if not -10 < value < 10 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(readable(item) for item in value)
    return str(value)


def _or_missing(value: float | None, text: str) -> str:
    return "missing" if math.isnan(number(value)) else text


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
