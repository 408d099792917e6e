"""Choose the images that a report shows, and turn them into pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from gbad.data.maps import smooth
from gbad.data.pictures import read_picture
from gbad.errors import ImageError
from gbad.report.drawing import Finding, TrueBox, drawn

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LARGEST = 800
"""Longer side of a picture on a page in pixels, at most."""

HOT = "#c80000"
"""Colour of a heat-map on grey."""

SPECK = 0.01
"""Blur of a heat-map, as a share of its side."""


def choose(y_true: Bools, said: Bools, margin: Floats) -> dict[str, npt.NDArray[np.intp]]:
    """Sort images by what was decided on them.

    Parameters
    ----------
    y_true : ndarray of shape (n, C), bool
        True = present.
    said : ndarray of shape (n, C), bool
        Classes that were found: at or above their thresholds.
    margin : ndarray of shape (n, C)
        How far above its threshold a class is, negative below it.

    Returns
    -------
    dict of str to ndarray of int
        ``found``: images whose threats were all found, the most certain first. ``missed``: images with a threat that
        was not found, the furthest below its threshold first. ``false_alarms``: threat-free images where a class was
        found, the furthest above its threshold first. Other images are threat-free, and nothing was found.
    """
    missing, y_any = y_true & ~said, y_true.any(axis=1)
    lowest = np.where(y_true, margin, np.inf).min(axis=1, initial=np.inf)
    highest = margin.max(axis=1, initial=-np.inf)
    groups = {
        "found": (y_any & ~missing.any(axis=1), -lowest),
        "missed": (missing.any(axis=1), np.where(missing, margin, np.inf).min(axis=1, initial=np.inf)),
        "false_alarms": (~y_any & said.any(axis=1), -highest),
    }
    return {
        name: rows[np.argsort(order[rows], kind="stable")]
        for name, (members, order) in groups.items()
        for rows in [np.flatnonzero(members)]
    }


def outranked(y_true: Bools, scores: Floats) -> npt.NDArray[np.int64]:
    """Count, for each threat, the images without its class that score higher.

    Parameters
    ----------
    y_true : ndarray of shape (n, C), bool
        True = present.
    scores : ndarray of shape (n, C)
        Higher = more likely present.

    Returns
    -------
    ndarray of shape (n, C), int64
        0 = no image without the class ranks above it; n where the class is absent.

    Examples
    --------
    >>> outranked(np.array([[True], [False], [True]]), np.array([[0.2], [0.5], [0.9]])).ravel().tolist()
    [1, 3, 0]
    """
    counts = np.full(y_true.shape, len(y_true))
    for c in range(y_true.shape[1]):
        present = y_true[:, c]
        without = np.sort(scores[~present, c])
        counts[present, c] = len(without) - np.searchsorted(without, scores[present, c], side="right")
    return counts


def picture(path: Path, findings: Sequence[Finding] = (), truth: Sequence[TrueBox] = ()) -> tuple[str, str]:
    """Read an image for a page, and draw into it what was found, see `gbad.report.drawing.drawn`.

    Parameters
    ----------
    path : Path
    findings : sequence of Finding
    truth : sequence of TrueBox

    Returns
    -------
    source : str
        ``data:`` address of a JPEG picture; empty if the image cannot be read.
    problem : str
        The reason if the image cannot be read, else empty.
    """
    try:
        image = read_picture(path)
    except ImageError as error:
        return "", f"{error.status}: {error.reason}"
    return data_address(drawn(image, findings, truth=truth, largest=LARGEST)), ""


def overlaid(image: Image.Image, heatmap: Floats) -> Image.Image:
    """Lay a heat-map over a pale grey image in one colour, the denser the higher the value.

    The map is blurred a little: single pixels of it would be specks that one does not see.
    """
    heatmap = smooth(np.nan_to_num(heatmap - np.nanmin(heatmap)), SPECK)
    strength = Image.fromarray((heatmap / max(heatmap.max(), 1e-12)).astype(np.float32))
    alpha = 0.8 * np.asarray(strength.resize(image.size, Image.Resampling.BILINEAR))[..., None].clip(0, 1)
    pale = 255 - 0.7 * (255 - np.asarray(image.convert("L").convert("RGB"), dtype=float))
    return Image.fromarray((pale * (1 - alpha) + np.array(ImageColor.getrgb(HOT)) * alpha).astype(np.uint8))


def data_address(image: Image.Image) -> str:
    """Give an image as a ``data:`` address of a JPEG picture, for a web page."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
