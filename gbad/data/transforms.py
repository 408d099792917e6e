"""Turn decoded pixels into network input: as they are, or for training in a random view of each image.

Both work on whole batches. Normalisation with the backbone's mean and deviation belongs to the network.
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
"""Freedom of `draw_views` by name: for images of the scanners trained on, and for those of others."""


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


class Views(NamedTuple):
    """How n images are seen.

    Attributes
    ----------
    theta : float32 tensor (n, 2, 3)
        Affine maps from places (x, y, 1) in the view to places in the image, both in [-1, 1] from border to border, as
        in `torch.nn.functional.affine_grid`.
    contrast : float32 tensor (n,)
        Factors of the distance from white.
    colour : float32 tensor (n, 3, 3), optional
        Of which shares of red, green and blue darkness (distance from white, as a share of 255) each colour's is made.
    gamma : float32 tensor (n,), optional
        Exponents of the darkness.
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
) -> Views:
    """Draw random views: flips, scale, rotation, shift and contrast; if wanted, another scanner's colours.

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
        Largest relative change of the distance from white: a thicker or thinner load.
    colour : float
        Standard deviation of the numbers by which the mixing of colours differs from the identity.
    grey : float
        Largest share of grey in that mixing, in [0, 1].
    gamma : float
        Standard deviation of the logarithm of the darkness's exponent.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    zoom = torch.exp(draw(math.log(scale[0]), math.log(scale[1])))
    angle = torch.deg2rad(draw(-rotation, rotation))
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


def apply_views(images: Pixels, views: Views) -> Tensor:
    """Show images in given views. What comes in from outside is white, as the empty belt is.

    Parameters
    ----------
    images : uint8 array (n, H, W, 3)
        RGB.
    views : Views
        One for each image.

    Returns
    -------
    float32 tensor (n, 3, H, W)
        Values in [0, 255], channels-last.
    """
    # Distance from white, so that the zero padding of grid_sample is the white of an empty belt.
    darkness = 255.0 - eval_preset(images)
    grid = F.affine_grid(views.theta, list(darkness.shape), align_corners=False)
    moved = F.grid_sample(darkness, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = moved * views.contrast.view(-1, 1, 1, 1)
    if views.colour is not None:  # zero stays zero: the belt is white to any scanner
        moved = torch.einsum("nij,njhw->nihw", views.colour, moved)
    if views.gamma is not None:
        moved = 255.0 * (moved / 255.0).clamp_(0, 1) ** views.gamma.view(-1, 1, 1, 1)
    return (255.0 - moved).clamp_(0, 255).contiguous(memory_format=torch.channels_last)
