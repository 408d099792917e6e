"""Attention-guided augmentation of PANDA-GAN's discriminator: crop to, or drop, what one attention map looks at.

Source: Hu, Qi, "See Better Before Looking Closer: Weakly Supervised Data Augmentation Network for Fine-Grained Visual
Classification" (WS-DAN), 2019, Section 3.2; equation numbers refer to it. PANDA takes its discriminator from there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

THRESHOLD = 0.5
"""Theta_c and theta_d of WS-DAN: what counts as attended to, as a share of the map's highest value."""


def attended(attention: Tensor, size: int) -> Tensor:
    """Draw one attention map for each image, and find the pixels that it looks at, Eqs. (4), (5) and (7).

    Parameters
    ----------
    attention : Tensor of shape (n, M, H, W)
        0 or larger.
    size : int
        Side of the images.

    Returns
    -------
    Tensor
        Bool (n, size, size): the map, enlarged, is above `THRESHOLD` of its range. Nothing where a map is flat.
    """
    drawn = torch.randint(attention.shape[1], (len(attention),), device=attention.device)
    maps = attention[torch.arange(len(attention), device=attention.device), drawn].detach()
    maps = interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    looked: Tensor = maps - low > THRESHOLD * (high - low)
    return looked


def cropped(x: Tensor, looked: Tensor) -> Tensor:
    """Enlarge the smallest box around the attended pixels to the whole image, Eq. (6).

    Parameters
    ----------
    x : Tensor of shape (n, C, S, S)
    looked : bool Tensor of shape (n, S, S)
        As from `attended`; an image without attended pixels stays whole.

    Returns
    -------
    Tensor
        Shape (n, C, S, S).
    """
    side = x.shape[-1]
    position = torch.arange(side, device=x.device)

    def ends(shown: Tensor) -> tuple[Tensor, Tensor]:
        """First attended position, and the one behind the last: (n, S) -> (n,), (n,)."""
        first = torch.where(shown, position, side).amin(1)
        behind = torch.where(shown, position + 1, 0).amax(1)
        found = shown.any(1)
        return torch.where(found, first, 0), torch.where(found, behind, side)

    (top, bottom), (left, right) = ends(looked.any(2)), ends(looked.any(1))
    shape = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
    shape[:, 0, 0], shape[:, 1, 1] = (right - left) / side, (bottom - top) / side
    shape[:, 0, 2], shape[:, 1, 2] = (left + right) / side - 1, (top + bottom) / side - 1
    grid = affine_grid(shape, list(x.shape), align_corners=False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False)


def dropped(x: Tensor, looked: Tensor) -> Tensor:
    """Set the attended pixels to 0, mid-grey, Eq. (8): (n, C, S, S) and bool (n, S, S) -> (n, C, S, S)."""
    return x.masked_fill(looked[:, None], 0.0)
