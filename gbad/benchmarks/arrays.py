"""Types of arrays that both benchmarks use; those of images and labels are in `gbad.data.arrays`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
