"""What a fitted detector has learnt, as named arrays."""

from __future__ import annotations

import numpy as np


def learnt_arrays(detector: object) -> dict[str, np.ndarray]:
    """All attributes that end in ``_``; an entry of a dict is named ``attribute.entry``."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in vars(detector).items():
        if name.endswith("_"):
            inner = value if isinstance(value, dict) else None
            arrays |= {f"{name}.{key}": item for key, item in inner.items()} if inner else {name: np.asarray(value)}
    return arrays


def set_learnt_arrays(detector: object, arrays: dict[str, np.ndarray]) -> None:
    """Set the attributes that `learnt_arrays` gave; arrays without dimensions become Python's numbers.

    Raises
    ------
    ValueError
        If a name is none of a learnt attribute: a file must not set anything else.
    """
    for key, values in arrays.items():
        name, _, inner = key.partition(".")
        if not name.isidentifier() or name.startswith("_") or not name.endswith("_"):
            raise ValueError(f"{key!r} is no name of a learnt array")
        if inner:
            vars(detector).setdefault(name, {})[inner] = np.asarray(values)
        else:
            setattr(detector, name, np.asarray(values) if np.ndim(values) else np.asarray(values).item())
