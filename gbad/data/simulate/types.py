"""Types that the modules of the simulator share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rng = np.random.Generator

Points = npt.NDArray[np.float64]
"""Places in cm, shape (n, 2): x to the right and y down."""

Depth = npt.NDArray[np.float32]
"""Optical depth at the low and the high energy, shape (2, height, width)."""

Field = npt.NDArray[np.float32]
"""One number for each pixel, shape (height, width)."""
