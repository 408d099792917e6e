"""Network input from decoded pixels: unchanged, or a random view of each image for training.

Functions work on whole batches. The network itself normalises with the mean and deviation of its backbone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gbad.data.arrays import Pixels

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "standard": {},
    "strong": {
        "scale": (0.7, 1.4), "rotation": 180.0, "contrast": 0.25, "colour": 0.2, "grey": 0.9, "gamma": 0.5,
    },
}  # fmt: skip
"""Options of `draw_views`: for images of the same scanners as in training, or of other scanners as well."""


def region_augmentation(name: str, shift: float) -> dict[str, Any]:
    """Options of `draw_views` for regions of images, which may lie in any direction.

    Parameters
    ----------
    name : str
        Key of `AUGMENTATIONS`.
    shift : float
        Largest shift as a share of the region's side: how far off the first look may point.
    """
    return {"scale": (0.85, 1.15), **AUGMENTATIONS[name], "shift": shift, "quarter_turns": True}


def eval_preset(images: Pixels) -> Tensor:
    """Turn pixels into network input without changing them.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
        RGB.

    Returns
    -------
    float32 tensor (n, 3, H, W)
        Values in [0, 255], in channels-last memory, which convolutions on a CPU prefer.
    """
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32)


def middle(images: Pixels, size: int | None) -> Pixels:
    """Give the middle of images, uint8 (n, H, W, 3) -> (n, size, size, 3); the images themselves for None."""
    if size is None:
        return images
    top, left = ((side - size) // 2 for side in images.shape[1:3])
    return images[:, top : top + size, left : left + size]


class Views(NamedTuple):
    """Random views of n images.

    Attributes
    ----------
    theta : float32 tensor (n, 2, 3)
        Affine maps from places (x, y, 1) in the view to places in the image, as in
        `torch.nn.functional.affine_grid`: both run from -1 to 1 between the borders.
    contrast : float32 tensor (n,)
        Factor of the distance from white of each image.
    colour : float32 tensor (n, 3, 3), optional
        Mixing of the colours' darkness, (255 - value) / 255: row = new colour, column = old colour.
    gamma : float32 tensor (n,), optional
        Exponent of the darkness of each image.
    """

    theta: Tensor
    contrast: Tensor
    colour: Tensor | None = None
    gamma: Tensor | None = None


def draw_views(
    count: int,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = (0.8, 1.15),
    shift: float = 0.08,
    rotation: float = 15.0,
    contrast: float = 0.15,
    colour: float = 0.0,
    grey: float = 0.0,
    gamma: float = 0.0,
    quarter_turns: bool = False,
) -> Views:
    """Draw random views: flips, scale, rotation, shift, contrast, and on request the colours of another scanner.

    A bag may lie on the belt in any orientation, so both flips are harmless.

    Parameters
    ----------
    count : int
        Number of images.
    generator : torch.Generator
        Source of randomness.
    scale : (float, float)
        Range of the magnification.
    shift : float
        Largest shift, as a share of the image's side.
    rotation : float
        Largest rotation in degrees, either way.
    contrast : float
        Largest relative change of the distance from white, as if bags held more or less.
    colour : float
        Standard deviation of the random part of the colour mixing matrix, which is added to the identity.
    grey : float
        Largest share of grey in the mixing, in [0, 1].
    gamma : float
        Standard deviation of the logarithm of the exponent of the darkness.
    quarter_turns : bool
        Turn each image by 0, 90, 180 or 270 degrees as well.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    zoom = torch.exp(draw(math.log(scale[0]), math.log(scale[1])))
    angle = torch.deg2rad(draw(-rotation, rotation))
    if quarter_turns:
        angle = angle + math.pi / 2 * draw(0, 4).floor()
    flip_x, flip_y = (torch.where(draw(0, 1) < 0.5, -1.0, 1.0) for _ in range(2))
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    theta = torch.stack(
        [
            torch.stack([cosine * flip_x, -sine * flip_y, 2 * draw(-shift, shift)], 1),
            torch.stack([sine * flip_x, cosine * flip_y, 2 * draw(-shift, shift)], 1),
        ],
        1,
    )
    views = Views(theta, draw(1 - contrast, 1 + contrast))
    if colour or grey:
        mixing = torch.eye(3) + colour * torch.randn(count, 3, 3, generator=generator)
        share = draw(0, grey).view(-1, 1, 1)
        views = views._replace(colour=(1 - share) * mixing + share * mixing.mean(1, keepdim=True))
    if gamma:
        views = views._replace(gamma=torch.exp(gamma * torch.randn(count, generator=generator)))
    return views


def apply_views(images: Pixels, views: Views, size: int | None = None) -> Tensor:
    """Show images in given views. Pixels from outside the image are white, like the empty belt.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
        RGB.
    views : Views
        One for each image.
    size : int, optional
        The views show only the middle of the images, of this side in pixels, and shift and turn it within the images.

    Returns
    -------
    float32 tensor (n, 3, H, W), or (n, 3, size, size)
        Values in [0, 255], channels-last.
    """
    # Distance from white, so that the zero padding of grid_sample is the white of an empty belt.
    darkness = 255.0 - eval_preset(images)
    theta, shape = views.theta, list(darkness.shape)
    if size is not None:
        theta, shape = theta * (size / shape[2]), [*shape[:2], size, size]
    grid = F.affine_grid(theta, shape, align_corners=False)
    moved = F.grid_sample(darkness, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = moved * views.contrast.view(-1, 1, 1, 1)
    if views.colour is not None:  # zero stays zero: the belt is white for every scanner
        moved = torch.einsum("nij,njhw->nihw", views.colour, moved)
    if views.gamma is not None:
        moved = 255.0 * (moved / 255.0).clamp_(0, 1) ** views.gamma.view(-1, 1, 1, 1)
    return (255.0 - moved).clamp_(0, 255).contiguous(memory_format=torch.channels_last)
