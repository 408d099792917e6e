"""Whether an image looks like the training images at all, by its colours and edges: a check of the input.

A classifier gives a score to anything, also to a photograph of a street, and its features, which were trained to tell
threats apart, lie among those of bags there. Colours and edges do not: X-ray images have few colours and a wide white
background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Pixels

_LEVELS = 6  # of each of red, green and blue
_LEVEL_OF = (np.arange(256) * _LEVELS // 256).astype(np.uint8)
_STEPS = (1, 2, 4, 8, 16, 32, 64)  # between ranges of the difference of two neighbouring pixels, of 255
_RANGE_OF = np.digitize(np.arange(3 * 255 + 1) / 3, _STEPS).astype(np.uint8)  # by the sum of three channels


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A normal distribution of the appearance of training images.

    Attributes
    ----------
    mean : float64 array (d,)
    whitening : float32 array (d, d)
        The Mahalanobis distance of an appearance x is the length of ``(x - mean) @ whitening``.
    threshold : float
        Largest distance of a held-out image.
    held_out : int
        How many held-out images there were. An image that is exchangeable with them lies above the threshold with
        probability 1 / (held_out + 1) at most.
    """

    mean: npt.NDArray[np.float64]
    whitening: npt.NDArray[np.float32]
    threshold: float
    held_out: int

    def distance(self, images: Pixels) -> npt.NDArray[np.float64]:
        """Distance of images (n, size, size, 3), uint8, from the training images; float64 (n,), 0 or larger."""
        return _distance(appearance(images), self.mean, self.whitening)

    def to_plain(self) -> dict[str, Any]:
        """Numbers and arrays, for `from_plain`."""
        return dict(vars(self))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild; the inverse of `to_plain`."""
        return cls(**plain)


def fit_familiarity(training: npt.NDArray[np.float64], held_out: npt.NDArray[np.float64]) -> Familiarity:
    """Learn how training images look, and how far others of their kind are from them.

    Parameters
    ----------
    training : float64 array (n, d)
        Appearance of training images, two or more.
    held_out : float64 array (m, d)
        Appearance of images of the same kind that are not among them, one or more.
    """
    from sklearn.covariance import LedoitWolf  # slow to import, and scoring does without

    fitted = LedoitWolf().fit(training)  # shrinks: there may be fewer images than numbers
    values, vectors = np.linalg.eigh(fitted.covariance_)
    # Colours that no training image has vary by nothing but what the shrinkage gives them.
    whitening = (vectors / np.sqrt(np.maximum(values, np.finfo(float).eps))).astype(np.float32)
    mean = np.asarray(fitted.location_)
    farthest = float(_distance(held_out, mean, whitening).max())
    return Familiarity(mean, whitening, max(farthest, np.finfo(float).tiny), len(held_out))


def appearance(images: Pixels) -> npt.NDArray[np.float64]:
    """Colours and edges of images.

    Parameters
    ----------
    images : uint8 array (n, height, width, 3)
        RGB.

    Returns
    -------
    float64 array (n, 232), in [0, 1]
        Square roots of the shares of pixels of each of 216 colours, and of the shares of differences between
        neighbouring pixels in each of eight ranges, horizontally and vertically. Distances between square roots of
        shares are those of Hellinger. A fourth of the pixels is looked at, which costs a fraction of a millisecond.
    """
    return np.stack([_appearance(image) for image in images]) if len(images) else np.empty((0, _LEVELS**3 + 16))


def _appearance(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    few = image[::2, ::2]
    red, green, blue = (_LEVEL_OF[few[..., channel]] for channel in range(3))
    shares = [_shares(red * np.uint8(_LEVELS**2) + green * np.uint8(_LEVELS) + blue, _LEVELS**3)]
    for lines in (image[::4], image[:, ::4].swapaxes(0, 1)):
        sums = lines[..., 0].astype(np.int16) + lines[..., 1] + lines[..., 2]
        shares.append(_shares(_RANGE_OF[np.abs(np.diff(sums, axis=1))], len(_STEPS) + 1))
    return np.sqrt(np.concatenate(shares))


def _shares(values: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float64]:
    """Share of each of the values 0 to count - 1."""
    return np.asarray(np.bincount(values.ravel(), minlength=count) / max(values.size, 1))


def _distance(
    values: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], whitening: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.norm((values - mean) @ whitening, axis=1))
