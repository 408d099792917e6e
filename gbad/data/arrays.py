"""Names for the arrays that travel between the data modules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Images or single channels, values in [0, 255]."""

Labels = npt.NDArray[np.uint8]
"""Image-level labels of shape (n, C): 1 = a threat of the class is present, 0 = absent."""

UNKNOWN = 2
"""Label of a region of an image for a class that the image shows, but perhaps not there."""

Mask = npt.NDArray[np.bool_]
"""A choice of rows or of pixels."""

Rows = npt.NDArray[np.int64]
"""Numbers of rows, or one whole number for each row."""
