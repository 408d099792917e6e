"""The global averages of a feature pyramid's levels, without its maps: exact, and at almost no cost.

Lateral 1×1 convolution, enlargement, addition, 3×3 convolution and average are linear. The average of a 3×3
convolution with zero padding depends on nine sums of its input alone: over all rows, over all but the last and over all
but the first, and so for the columns. These follow from the sums over all rows, the first row and the last row, and so
for the columns, of the backbone's stages. Each of the nine is carried through the pyramid in the place of its map.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from gbad.phase1_classifier.pyramid import FeaturePyramid

Matrix = npt.NDArray[np.float32]

_WINDOWS: Matrix = np.array([[1, 0, -1], [1, 0, 0], [1, -1, 0]], np.float32)
"""Rows that the first, second and third row of a 3×3 kernel sees: all but the last, all, all but the first."""


def pooled_pyramid(pyramid: FeaturePyramid, stages: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Global average of each level of a pyramid, equal to that of its maps up to rounding, and so are the gradients.

    Parameters
    ----------
    pyramid : FeaturePyramid
    stages : mapping of str to Tensor (N, channels, h, w)
        Fine to coarse. Each is twice as large as the next, give or take one cell.

    Returns
    -------
    list of float32 Tensor (N, width), or None
        Fine to coarse. None for maps of other sizes, whose enlargement the nine sums do not describe.
    """
    maps = [*stages.values()]
    sizes = [tuple(stage.shape[2:]) for stage in maps]
    enlarge = []
    for (h, w), (coarse_h, coarse_w) in pairwise(sizes):
        rows, columns = _enlargement(h, coarse_h), _enlargement(w, coarse_w)
        if rows is None or columns is None:
            return None
        enlarge.append((rows, columns))
    sums = [_sums(stage) for stage in maps]
    pooled: list[Tensor] = []
    carried: Tensor | None = None
    with torch.autocast(maps[0].device.type, enabled=False):
        windows = torch.from_numpy(_WINDOWS).to(maps[0].device)
        for level in reversed(range(len(maps))):
            h, w = sizes[level]
            lateral, output = pyramid.convolutions(level)
            assert lateral.bias is not None
            assert output.bias is not None
            own = torch.einsum("oi,niab->noab", lateral.weight[:, :, 0, 0], sums[level])
            places = torch.outer(windows.new_tensor([h, 1, 1]), windows.new_tensor([w, 1, 1]))
            own = own + lateral.bias[:, None, None] * places
            if carried is not None:
                down, across = (torch.from_numpy(matrix).to(own.device) for matrix in enlarge[level])
                own = own + down @ carried @ across.T
            carried = own
            seen = windows @ own @ windows.T
            pooled.append(torch.einsum("oikl,nikl->no", output.weight, seen) / (h * w) + output.bias)
    return pooled[::-1]


def _sums(stage: Tensor) -> Tensor:
    """Sums of a map (N, C, h, w) over all, the first and the last of its rows and columns: float32 (N, C, 3, 3)."""
    h, w = stage.shape[2:]
    if stage.dtype == torch.float16:  # a sum may be larger than it can hold
        stage = stage.float()
    places = torch.from_numpy(_places(h, w)).to(stage.device, stage.dtype)
    sums = torch.matmul(stage.flatten(2), places).float()  # one pass over the map
    return sums.reshape(*sums.shape[:2], 3, 3)


@lru_cache(maxsize=64)
def _places(h: int, w: int) -> Matrix:
    """Which places of a map each sum takes: (h w, 9)."""
    rows, columns = np.zeros((3, h), np.float32), np.zeros((3, w), np.float32)
    for line in (rows, columns):
        line[0] = line[1, 0] = line[2, -1] = 1.0
    return np.ascontiguousarray(np.einsum("ay,bx->yxab", rows, columns).reshape(h * w, 9))


@lru_cache(maxsize=64)
def _enlargement(side: int, coarse: int) -> Matrix | None:
    """Sums of an enlarged map from those of the map, along one axis: (3, 3); None if they do not follow from them.

    The enlarged map repeats each row of the coarse one, all but the first and the last equally often.
    """
    if side < coarse:
        return None
    source = F.interpolate(torch.arange(float(coarse))[None, None], size=side, mode="nearest")[0, 0].long().tolist()
    counts = np.bincount(source, minlength=coarse)
    often = counts[1] if coarse > 2 else counts[0]
    if (counts[1:-1] != often).any() or source[-1] != coarse - 1:
        return None
    return np.array([[often, counts[0] - often, counts[-1] - often], [0, 1, 0], [0, 0, 1]], np.float32)
