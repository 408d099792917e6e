"""Learn from boxes where threats are: a map of logits per class on each level of the pyramid."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PRIOR = 0.01  # probability of a threat at each place before training, as in RetinaNet


class PositionHead(nn.Module):
    """A 1×1 convolution on each pyramid level, behind a ReLU: for each place and class, a logit of "in a threat".

    The heat-map of an image is the mean of the levels' logits, enlarged bilinearly to the finest level. A place stands
    out if all levels see something there. The maximum of the heat-map gives a logit of the whole image.

    Parameters
    ----------
    width : int
        Channels of each level.
    n_classes : int
        Number of threat classes C.
    n_levels : int
        Number of pyramid levels.
    """

    def __init__(self, width: int, n_classes: int, n_levels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(_first_guess(nn.Conv2d(width, n_classes, 1)) for _ in range(n_levels))
        self.scale = nn.Parameter(torch.ones(n_classes))

    def level_maps(self, levels: list[Tensor]) -> list[Tensor]:
        """Logits at each place of each level, float32 (N, C, h, w), from the pyramid's levels, fine to coarse."""
        return [convolution(level.relu()).float() for convolution, level in zip(self.maps, levels, strict=True)]

    def heat_map(self, levels: list[Tensor]) -> Tensor:
        """Mean of the levels' maps at the resolution of the finest: logits, float32 (N, C, h, w)."""
        finest, *coarser = self.level_maps(levels)
        size = finest.shape[2:]
        enlarged = [F.interpolate(map_, size=size, mode="bilinear", align_corners=False) for map_ in coarser]
        return torch.stack([finest, *enlarged]).mean(0)

    def logits(self, levels: list[Tensor]) -> Tensor:
        """Logits of the whole image: the maxima of its heat-map times a learnt factor per class, float32 (N, C)."""
        return self.scale * self.heat_map(levels).amax((2, 3))

    def loss(self, levels: list[Tensor], labels: Tensor, boxes: Tensor, theta: Tensor) -> Tensor:
        """Focal loss (Lin et al., ICCV 2017), summed over the places of a level; the mean over the levels.

        The sum of a level is divided by its number of places in boxes.

        Parameters
        ----------
        levels : list of float Tensor (N, width, h, w)
            Fine to coarse.
        labels : float Tensor (N, C)
            1 = present. For an absent class, all places are negative. For a class that is present without a box, the
            places are unknown and left out.
        boxes, theta
            See `box_targets`.
        """
        boxed = (boxes[:, :, :1] == torch.arange(labels.shape[1], device=boxes.device)).any(1)  # (N, C)
        known = ((labels == 0) | boxed).float()[:, :, None, None]
        from torchvision.ops import sigmoid_focal_loss  # slow to import, and scoring does without

        total = labels.new_zeros(())
        for map_ in self.level_maps(levels):
            targets = known * box_targets(boxes, theta, labels.shape[1], map_.shape[2], map_.shape[3])
            total = total + (known * sigmoid_focal_loss(map_, targets)).sum() / targets.sum().clamp(min=1)
        return total / len(levels)


def _first_guess(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(convolution.weight, std=0.01)
    nn.init.constant_(cast(Tensor, convolution.bias), -math.log((1 - _PRIOR) / _PRIOR))
    return convolution


def box_targets(boxes: Tensor, theta: Tensor, n_classes: int, height: int, width: int) -> Tensor:
    """Which cells of a grid over each view of an image lie in a box of each class.

    A cell is in a box if its centre is. A small box that holds no centre of a cell gets the cell that holds the box's
    own centre, unless that is outside the view.

    Parameters
    ----------
    boxes : float Tensor (N, K, 5)
        Column of the class (-1 = no box); left, top, right, bottom as shares of the image's width and height.
    theta : float Tensor (N, 2, 3)
        From places in the view to places in the image, see `gbad.data.transforms.Views`.
    n_classes : int
        Number of threat classes C.
    height, width : int
        Cells of the grid.

    Returns
    -------
    float Tensor (N, C, height, width)
        1 in a box, else 0.
    """
    # Only element-wise arithmetic: automatic lower precision would round the products of matrices.
    a, b, p, c, d, q = (theta[:, i, j].view(-1, 1, 1, 1) for i in (0, 1) for j in (0, 1, 2))
    x = ((2 * torch.arange(width, device=theta.device) + 1) / width - 1).view(1, 1, 1, -1)
    y = ((2 * torch.arange(height, device=theta.device) + 1) / height - 1).view(1, 1, -1, 1)
    in_image_x, in_image_y = a * x + b * y + p, c * x + d * y + q  # (N, 1, height, width) in [-1, 1]
    left, top, right, bottom = (2 * boxes[:, :, i, None, None] - 1 for i in (1, 2, 3, 4))  # (N, K, 1, 1)
    inside = (left <= in_image_x) & (in_image_x < right) & (top <= in_image_y) & (in_image_y < bottom)

    centre_x, centre_y = (left + right) / 2 - p, (top + bottom) / 2 - q
    determinant = a * d - b * c
    column = torch.floor(((d * centre_x - b * centre_y) / determinant + 1) / 2 * width)
    row = torch.floor(((a * centre_y - c * centre_x) / determinant + 1) / 2 * height)
    columns, rows = torch.arange(width, device=theta.device), torch.arange(height, device=theta.device)
    at_centre = (column == columns.view(1, 1, 1, -1)) & (row == rows.view(1, 1, -1, 1))
    inside = torch.where(inside.any(3, keepdim=True).any(2, keepdim=True), inside, at_centre)

    classes = boxes[:, :, :1] == torch.arange(n_classes, device=boxes.device)  # (N, K, C)
    return (inside[:, :, None] & classes[:, :, :, None, None]).any(1).float()
