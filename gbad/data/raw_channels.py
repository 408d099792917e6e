"""Raw channels of a dual-energy scan: two 16-bit files, ``a_low.png`` and ``a_high.png``, which are one image ``a``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from gbad.runtime.decoders import without_warnings
from gbad.storage.reading import open_regular

SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
"""Pillow's modes of 16-bit grey: one energy."""

_CHANNEL = re.compile(r"(.+)_(low|high)(\.(?:png|tiff?))", re.IGNORECASE | re.DOTALL)
_PARTNER = {"low": "high", "high": "low", "LOW": "HIGH", "HIGH": "LOW", "Low": "High", "High": "Low"}


def raw_pair(path: str | Path) -> tuple[Path, Path] | None:
    """Files of the low and the high energy, if a path is that of one of the two, and both are there.

    Other images may have such names as well, so one of them at least must be 16-bit grey.
    """
    partner = partner_of(path)
    if partner is None or not (os.path.isfile(path) and os.path.isfile(partner)):
        return None
    if not (_is_sixteen_bit(path) or _is_sixteen_bit(partner)):
        return None
    both = Path(path), partner
    return both if _energy(path) == "low" else both[::-1]


def partner_of(path: str | Path) -> Path | None:
    """Path that the channel of the other energy would have; None for a name that is not that of a channel.

    Examples
    --------
    >>> partner_of("bag_low.png").name, partner_of("bag.png")
    ('bag_high.png', None)
    """
    text = str(path)
    if "_" not in text[-len("_high.tiff") :]:  # a million names need no expression
        return None
    match = _CHANNEL.fullmatch(text)
    if match is None or match[2] not in _PARTNER:
        return None
    return Path(f"{match[1]}_{_PARTNER[match[2]]}{match[3]}")


def image_name(channel: str) -> str:
    """Name of the image that a channel belongs to.

    Examples
    --------
    >>> image_name("P00001_low")
    'P00001'
    """
    return channel.rpartition("_")[0]


def is_pair(name: str, path: str | Path) -> bool:
    """Whether the path of an image of this name is that of a raw channel."""
    return partner_of(path) is not None and name == image_name(Path(path).stem)


def _energy(path: str | Path) -> str:
    return Path(path).stem.rpartition("_")[2].lower()


def _is_sixteen_bit(path: str | Path) -> bool:
    try:
        with open_regular(path) as file, without_warnings():
            is_png = Path(path).suffix.lower() == ".png"
            return (PngImageFile(file) if is_png else TiffImageFile(file)).mode in SIXTEEN_BIT_MODES
    except Exception:  # a damaged file makes Pillow raise almost anything; what is wrong is said when it is read
        return False
