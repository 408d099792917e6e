"""Raw channels and colour image of a dual-energy scanner, from optical depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from gbad.data.arrays import Pixels
from gbad.data.simulate.materials import ELEMENTS
from gbad.data.simulate.types import Field, Rng

WHITE_LEVEL = 60000
"""Raw value of an unattenuated ray; 65535 is the detector's limit."""


def transmission(depth: Field) -> Field:
    """Beer-Lambert law: the share ``exp(-depth)`` of photons that pass, same shape, in (0, 1]."""
    return np.exp(-depth)


def detect(
    depth: Field,
    rng: Rng,
    *,
    photons: float = 20000.0,
    scatter: float = 0.002,
    blur: float = 0.12,
    line_gain: float = 0.002,
) -> npt.NDArray[np.uint16]:
    """Raw channels of a line scanner.

    Scattered radiation adds a floor, and detector elements blur into their neighbours. Photon noise is Poisson noise,
    drawn as a normal variable of equal variance, since counts are large. Each line has a slight gain error.

    Parameters
    ----------
    depth : ndarray of shape (2, height, width), float32
        Optical depth at the low and the high energy.
    rng : numpy.random.Generator
        Source of the noise.
    photons : float
        Photons per pixel and channel of an unattenuated ray.
    scatter : float
        Floor as a share of the unattenuated signal. It limits the dynamic range.
    blur : float
        Weight of each of the two neighbours, in each direction, in [0, 1/3].
    line_gain : float
        Standard deviation of the gain of the lines.

    Returns
    -------
    ndarray of shape (2, height, width), uint16
        `WHITE_LEVEL` is air.
    """
    signal = (transmission(depth) + np.float32(scatter)) / np.float32(1 + scatter)
    signal = _blurred(signal, blur)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    signal += noise * np.sqrt(signal / np.float32(photons))
    signal *= 1 + np.float32(line_gain) * rng.standard_normal((1, signal.shape[1], 1), dtype=np.float32)
    return (signal * np.float32(WHITE_LEVEL) + np.float32(0.5)).clip(1, 65535).astype(np.uint16)


def _blurred(channels: Field, weight: float) -> Field:
    """Average each pixel with its neighbours along both image axes. The border is repeated."""
    w = np.float32(weight)
    for axis in (1, 2):
        near = np.moveaxis(channels, axis, 0)
        result = (1 - 2 * w) * near
        result[1:] += w * near[:-1]
        result[:-1] += w * near[1:]
        result[0] += w * near[0]
        result[-1] += w * near[-1]
        channels = np.moveaxis(result, 0, axis)
    return channels


_ORDERED = sorted((z, low / high) for z, low, high in ELEMENTS.values() if 6 <= z <= 30)
_RATIOS = np.array([ratio for _, ratio in _ORDERED])
_NUMBERS = np.array([float(z) for z, _ in _ORDERED])


def effective_atomic_number(low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Effective atomic number from the attenuation at two energies.

    The ratio of the two optical depths of an element rises with its atomic number. The inverse is interpolated between
    the elements of `gbad.data.simulate.materials.ELEMENTS`.

    Parameters
    ----------
    low, high : ndarray
        Optical depths at the two energies, equal shapes. The ratio of very thin matter is noise: it counts as organic.

    Returns
    -------
    ndarray
        In [6, 30].

    Examples
    --------
    >>> bool(abs(effective_atomic_number(np.array(1.205), np.array(0.3717)) - 26) < 1)
    True
    """
    ratio = (low + 0.012) / (high + 0.010)
    return np.asarray(np.interp(ratio, _RATIOS, _NUMBERS))


@dataclass(frozen=True)
class Look:
    """Colours of a console: how it shows transmission.

    Parameters
    ----------
    organic, mixed, metal : tuple of (red, green, blue)
        Colours of organic, mixed and metal matter, from thin to thick, at equal steps of lightness.
    air : tuple of int
        Colour of the background.
    steepness : float
        How fast lightness falls with the compressed attenuation (see `COMPRESSION`).
    sharpening : int
        Percentage of the unsharp mask.
    """

    organic: tuple[tuple[int, int, int], ...]
    mixed: tuple[tuple[int, int, int], ...]
    metal: tuple[tuple[int, int, int], ...]
    air: tuple[int, int, int]
    steepness: float
    sharpening: int


COMPRESSION = 0.65
CUT_OFF = 0.0035
"""The lightness is ``exp(-steepness * a ** COMPRESSION - CUT_OFF * a ** 3)``, with the mean optical depth ``a`` of both
channels: thin matter stays visible, thick matter keeps its colour, and nearly opaque matter is black."""

_AIR = 0.012  # optical depth below which noise is shown as air
_BINS = 192
_DEEPEST = 8.0
_NUMBER_STEPS = np.linspace(6.0, 30.0, 49)


def colour_table(look: Look, shift: float = 0.0) -> Field:
    """Colours by effective atomic number and mean optical depth, shape (49, 192, 3), float32.

    Parameters
    ----------
    look : Look
        The console.
    shift : float
        Moves the borders between the three kinds of material, in atomic numbers.
    """
    attenuation = np.linspace(0.0, _DEEPEST**0.5, _BINS) ** 2  # finer steps where matter is thin
    lightness = np.exp(-look.steepness * attenuation**COMPRESSION - CUT_OFF * attenuation**3)
    ramps = []
    for ramp in (look.organic, look.mixed, look.metal):
        colours = np.array([look.air, *ramp], dtype=float)
        at = np.linspace(1.0, 0.0, len(colours))
        ramps.append(np.stack([np.interp(-lightness, -at, colours[:, k]) for k in range(3)], axis=1))
    z = _NUMBER_STEPS - shift
    to_mixed = np.clip((z - 7.6) / 3.2, 0, 1)[:, None, None]
    to_metal = np.clip((z - 12.5) / 4.5, 0, 1)[:, None, None]
    organic, mixed, metal = (ramp[None] for ramp in ramps)
    return ((organic * (1 - to_mixed) + mixed * to_mixed) * (1 - to_metal) + metal * to_metal).astype(np.float32)


def as_shown(raw: npt.NDArray[np.uint16], look: Look, *, shift: float = 0.0, sharpness: float = 1.0) -> Pixels:
    """What a console shows of two raw channels: `pseudo_colour`, sharpened.

    Parameters
    ----------
    raw, look, shift
        As in `pseudo_colour`.
    sharpness : float
        Relative to that of the look.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    picture = Image.fromarray(pseudo_colour(raw, look, shift))
    return np.array(picture.filter(ImageFilter.UnsharpMask(1.0, int(look.sharpening * sharpness), 1)))


def pseudo_colour(raw: npt.NDArray[np.uint16], look: Look, shift: float = 0.0) -> Pixels:
    """Colour image as on a console: hue from the effective atomic number, lightness from the attenuation.

    Parameters
    ----------
    raw : ndarray of shape (2, height, width), uint16
        Low and high channel.
    look : Look
        The console's colours.
    shift : float
        See `colour_table`.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    low, high = -np.log(np.minimum(raw, WHITE_LEVEL).astype(np.float32) / np.float32(WHITE_LEVEL))
    # Hue from blurred channels, as on consoles: in thin matter, the ratio of two noisy logarithms is speckle.
    wide_low, wide_high = _blurred(np.stack([low, high]), 0.33)
    z = effective_atomic_number(wide_low, wide_high)
    rows = np.round((z - 6.0) * 2.0).astype(np.intp)
    mean = np.clip((low + high) * np.float32(0.5) - np.float32(_AIR), 0.0, np.float32(_DEEPEST))
    columns = (np.sqrt(mean) * np.float32((_BINS - 1) / _DEEPEST**0.5)).astype(np.intp)
    shown: Pixels = colour_table(look, shift).astype(np.uint8)[rows, columns]
    return shown
