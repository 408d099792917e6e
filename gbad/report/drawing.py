"""Draw into an image what was found in it: for each class a box, the outline of its evidence, name and probability.

True boxes, where they are known, are dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import label

COLOURS = ("#ff2d00", "#0019ff", "#b400b4", "#000000", "#7a3c00")
"""One a class, in turn: none is a colour of X-ray images, which are orange, green and blue on white."""

SMALLEST, LARGEST = 640, 1600
"""Longer side of a picture in pixels: smaller images are enlarged, larger ones are reduced."""

DASH = 8
"""Length of the dashes of a true box, in widths of its line."""

LEVEL = 0.5
"""Evidence belongs to the place with the most of it while it is at least this share of the most."""


class Finding(NamedTuple):
    """A class that was found in an image.

    Attributes
    ----------
    name : str
    probability : float
        In [0, 1].
    column : int
        Of the class: its colour.
    box : float64 array (4,) or None
        Left, top, right and bottom as shares of the image's width and height.
    heatmap : float array (h, w) or None
        Evidence for the class, 0 or larger.
    """

    name: str
    probability: float
    column: int
    box: npt.NDArray[np.float64] | None = None
    heatmap: npt.NDArray[np.floating[Any]] | None = None


class TrueBox(NamedTuple):
    """Where a threat is.

    Attributes
    ----------
    name : str
        Of the class.
    box : float array (4,)
        Left, top, right and bottom as shares of the image's width and height.
    """

    name: str
    box: npt.NDArray[np.floating[Any]]


def box_around_peak(heatmap: npt.NDArray[np.floating[Any]], level: float = LEVEL) -> npt.NDArray[np.float64] | None:
    """Box around the place with the most evidence, as far as the evidence around it hangs together.

    Parameters
    ----------
    heatmap : float array (h, w)
        0 or larger.
    level : float
        Share of the most evidence down to which a cell belongs to the place, in (0, 1].

    Returns
    -------
    float64 array (4,), or None
        Left, top, right and bottom as shares of the width and height; None if there is no evidence.

    Examples
    --------
    >>> box_around_peak(np.array([[0.0, 0.9, 0.0], [0.0, 1.0, 0.2], [0.7, 0.0, 0.0]])).round(2).tolist()
    [0.33, 0.0, 0.67, 0.67]
    """
    inside = _around_peak(heatmap, level)
    if not inside.any():
        return None
    rows, columns = np.nonzero(inside)
    height, width = heatmap.shape
    return np.array([
        columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height,
    ])  # fmt: skip


def drawn(
    image: npt.NDArray[np.uint8], findings: Sequence[Finding], title: str = "", *, truth: Sequence[TrueBox] = (),
    largest: int = LARGEST,
) -> Image.Image:  # fmt: skip
    """Draw findings into a copy of an image.

    Parameters
    ----------
    image : uint8 array (height, width, 3)
        RGB.
    findings : sequence of Finding
    title : str
        Stands above the image.
    truth : sequence of TrueBox
        Drawn dashed, below the findings.
    largest : int
        Longer side of the picture without its title, in pixels, at most; at least `SMALLEST`.
    """
    picture = Image.fromarray(image)
    longer = max(picture.size)
    scale = min(max(longer, SMALLEST), largest) / longer
    if scale != 1:
        size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
        picture = picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
    line = max(2, round(max(picture.size) / 320))
    height = max(14, round(max(picture.size) / 36))
    font = ImageFont.load_default(size=height)
    draw = ImageDraw.Draw(picture)
    for finding in findings:
        if finding.heatmap is not None:
            _outline(picture, finding.heatmap, COLOURS[finding.column % len(COLOURS)], line)
    texts: list[tuple[tuple[float, float], str, str, str]] = []
    for true in truth:
        left, top, right, bottom = _pixels(true.box, picture)
        _dashed(draw, (left - 2 * line, top - 2 * line, right + 2 * line, bottom + 2 * line), line)
        texts.append(((left, bottom + 3 * line), f"true {true.name}", "white", "black"))
    for number, finding in enumerate(findings):
        colour = COLOURS[finding.column % len(COLOURS)]
        place: tuple[float, float] = (line, line + number * 2 * height)
        if finding.box is not None:
            left, top, right, bottom = _pixels(finding.box, picture)
            draw.rectangle([left - line, top - line, right + line, bottom + line], outline="white", width=3 * line)
            draw.rectangle([left, top, right, bottom], outline=colour, width=line)
            place = (left, top - 1.5 * height if top > 2 * height else bottom + line)
        texts.append((place, f"{finding.name} {finding.probability:.2f}", colour, "white"))
    written: list[tuple[float, float, float, float]] = []
    for place, text, colour, ink in texts:  # above all boxes
        written.append(_text(draw, place, text, colour, font, picture.size, written, ink=ink))
    return _titled(picture, title, font, height) if title else picture


def _around_peak(heatmap: npt.NDArray[np.floating[Any]], level: float) -> npt.NDArray[np.bool_]:
    """Cells with high evidence that hang together with the cell that has the most: bool (h, w)."""
    most = float(heatmap.max(initial=0.0))
    if not most > 0:
        return np.zeros(heatmap.shape, bool)
    places, _ = label(heatmap >= level * most)
    return np.asarray(places == places[np.unravel_index(int(heatmap.argmax()), heatmap.shape)])


def _pixels(box: npt.NDArray[np.floating[Any]], picture: Image.Image) -> list[float]:
    pixels: list[float] = (box * np.tile(picture.size, 2)).round().tolist()
    return pixels


def _dashed(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], width: int) -> None:
    """Draw a rectangle of black and white dashes, which stands out from light and dark."""
    left, top, right, bottom = box
    draw.rectangle(box, outline="white", width=width)
    step = DASH * width
    for start in range(round(left), round(right), 2 * step):
        for y in (top, bottom - width + 1):
            draw.rectangle([start, y, min(start + step, right), y + width - 1], fill="black")
    for start in range(round(top), round(bottom), 2 * step):
        for x in (left, right - width + 1):
            draw.rectangle([x, start, x + width - 1, min(start + step, bottom)], fill="black")


def _outline(picture: Image.Image, heatmap: npt.NDArray[np.floating[Any]], colour: str, line: int) -> None:
    """Draw the outline of the place with the most evidence into a picture."""
    small = Image.fromarray(np.where(_around_peak(heatmap, LEVEL), 255, 0).astype(np.uint8))
    inside = np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC)) >= 128
    edge = inside & ~_shrunk(inside, line)
    picture.paste(colour, mask=Image.fromarray(edge))


def _shrunk(inside: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    padded = np.pad(inside, by)
    height, width = inside.shape
    shifts = ((0, by), (2 * by, by), (by, 0), (by, 2 * by))
    return np.asarray(np.logical_and.reduce([padded[y : y + height, x : x + width] for y, x in shifts]))


def _text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: tuple[int, int],
    others: Sequence[tuple[float, float, float, float]], ink: str = "white",
) -> tuple[float, float, float, float]:  # fmt: skip
    """Write on a colour, inside of the picture and below the texts that it would cover; give its place."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = min(max(0.0, place[0]), max(0.0, size[0] - right - 4))
    y = min(max(0.0, place[1]), max(0.0, size[1] - bottom - 4))
    for other in sorted(others, key=lambda one: one[1]):
        if (
            other[0] < x + right + 3
            and x + left - 3 < other[2]
            and other[1] < y + bottom + 3
            and y + top - 3 < other[3]
        ):
            y = other[3] - top + 4
    around = x + left - 3, y + top - 3, x + right + 3, y + bottom + 3
    draw.rectangle(around, fill=colour, outline=ink)
    draw.text((x, y), text, fill=ink, font=font)
    return around


def _titled(
    picture: Image.Image, title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text_height: int
) -> Image.Image:
    height = 2 * text_height
    whole = Image.new("RGB", (picture.width, picture.height + height), "white")
    whole.paste(picture, (0, height))
    ImageDraw.Draw(whole).text((6, height // 4), title, fill="black", font=font)
    return whole
