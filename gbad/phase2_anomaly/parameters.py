"""Ranges of hyperparameters. Messages name the hyperparameter, its value and its range."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_scalar


def check_whole(detector: object, names: Iterable[str], least: int = 1) -> None:
    """Check that hyperparameters are whole numbers, `least` or larger; TypeError or ValueError otherwise."""
    for name in names:
        check_scalar(getattr(detector, name), name, numbers.Integral, min_val=least)


def check_real(
    detector: object,
    names: Iterable[str],
    low: float,
    high: float | None = None,
    ends: Literal["both", "left", "right", "neither"] = "both",
) -> None:
    """Check that hyperparameters are numbers from `low` to `high`; TypeError or ValueError otherwise.

    Parameters
    ----------
    detector : estimator
        Holds the hyperparameters as attributes.
    names : iterable of str
        Which ones.
    low, high : float
        The range; no upper end by default.
    ends : {"both", "left", "right", "neither"}
        Which ends belong to the range.
    """
    for name in names:
        value = getattr(detector, name)
        check_scalar(value, name, numbers.Real, min_val=low, max_val=high, include_boundaries=ends)


def check_choice(detector: object, name: str, choices: Sequence[str]) -> None:
    """Check that a hyperparameter is one of some names; ValueError otherwise."""
    if getattr(detector, name) not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(detector, name)!r}.")


def check_declared(detector: Any) -> None:
    """Check each hyperparameter of a dataclass against its annotation, where that is a number, a flag or numbers.

    Whole numbers are all counts, widths or sizes, so they are 1 or larger.

    Raises
    ------
    ValueError
        If a whole number is below 1, or a number is not finite.
    TypeError
        If a value has another type than its annotation.
    """
    for field in dataclasses.fields(detector):
        name, value = field.name, getattr(detector, field.name)
        if field.type == "int":
            check_scalar(value, name, numbers.Integral, min_val=1)
        elif field.type == "float":
            check_scalar(value, name, numbers.Real)
            if not math.isfinite(value):
                raise ValueError(f"{name} == {value}, must be finite.")
        elif field.type == "bool" and not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be true or false, got {value!r}.")
        elif field.type == "tuple[int, ...]":
            if not isinstance(value, (tuple, list)):
                raise TypeError(f"{name} must be a list of whole numbers, got {value!r}.")
            for one in value:
                check_scalar(one, f"each of {name}", numbers.Integral, min_val=1)
