"""Choose the images that a report shows, and turn them into small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gbad.data.images import read_image
from gbad.errors import ImageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Heatmaps = Callable[[Path, int], npt.NDArray[np.floating[Any]] | None]
"""From an image and a class index to a map (h, w) of any size, higher = more of that class. None: no map."""

PICTURE_SIDE = 320
REGION = "#d00070"


def choose(
    y_true: Bools,
    ungated: Floats,
    gated: Floats,
    anomalous: Bools,
    count: int,
) -> dict[str, npt.NDArray[np.intp]]:
    """Choose the rows to show.

    An image with threats is judged by the number of images without its class that rank above it, in its best class.
    Average precision depends on the same numbers, and not on the scale of the probabilities.

    Parameters
    ----------
    y_true : ndarray of shape (n, C), bool
        True = present.
    ungated, gated : ndarray of shape (n, C)
        Probabilities in [0, 1].
    anomalous : ndarray of shape (n,), bool
        The gate's decision.
    count : int
        Rows in each group, at most.

    Returns
    -------
    dict of str to ndarray of int
        ``detected``: the better half, at most, of the threats called anomalous; best first, the classes in turn.
        ``missed``: other threats called anomalous, the most outranked first.
        ``called_normal``: threats that the gate calls normal; those that phase 1 ranked best come first.
        ``false_alarms``: threat-free images with the highest gated probabilities.
    """
    y_any = y_true.any(axis=1)
    before, after = outranked(y_true, ungated), outranked(y_true, gated)
    best_class = after.argmin(axis=1)
    passed = np.flatnonzero(y_any & anomalous)
    passed = passed[np.lexsort((-gated[passed, best_class[passed]], after[passed].min(axis=1)))]
    detected = _in_turn(passed, best_class)[: min(count, -(-len(passed) // 2))]
    missed = np.setdiff1d(passed, detected)
    missed = missed[np.argsort(-after[missed].min(axis=1), kind="stable")]
    normal = np.flatnonzero(y_any & ~anomalous)
    threat_free = np.flatnonzero(~y_any)
    return {
        "detected": detected,
        "missed": missed[after[missed].min(axis=1) > 0][:count],
        "called_normal": normal[np.argsort(before[normal].min(axis=1), kind="stable")][:count],
        "false_alarms": threat_free[np.argsort(-gated[threat_free].max(axis=1), kind="stable")][:count],
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


def pictures(
    path: Path, class_index: int, heatmaps: Heatmaps | None = None, regions: npt.NDArray[np.float64] | None = None
) -> tuple[dict[str, str], str]:
    """Read one image for the report.

    Parameters
    ----------
    path : Path
        The image.
    class_index : int
        Class of the heat-map.
    heatmaps : callable, optional
        Gives the map for a second picture.
    regions : float64 array (r, 4), optional
        Left, top, right and bottom of regions as shares of the width and height. They are drawn into the first
        picture, and the first region gets a picture of its own.

    Returns
    -------
    sources : dict of str to str
        ``data:`` addresses of JPEG pictures of at most `PICTURE_SIDE` px a side, by what they show: ``"image"``,
        ``"heat-map"``, ``"best region"``; empty if the image cannot be read.
    problem : str
        The reason if the image cannot be read, else empty.
    """
    try:
        whole = Image.fromarray(read_image(path))
    except ImageError as error:
        return {}, f"{error.status}: {error.reason}"
    image = whole.copy()
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    boxes = np.empty((0, 4)) if regions is None else regions
    sources = {"image": data_address(_framed(image, boxes))}
    heatmap = heatmaps(path, class_index) if heatmaps else None
    if heatmap is not None:
        sources["heat-map"] = data_address(overlaid(image, np.asarray(heatmap, dtype=float)))
    if len(boxes):
        sources["best region"] = data_address(_cut(whole, boxes[0]))
    return sources, ""


def _framed(image: Image.Image, boxes: npt.NDArray[np.float64]) -> Image.Image:
    """Draw regions into a copy of an image, the first with a thick line."""
    framed = image.copy()
    draw = ImageDraw.Draw(framed)
    for number, box in reversed([*enumerate((boxes * np.tile(image.size, 2)).tolist())]):
        # White beside the colour: X-ray images have all colours.
        draw.rectangle(box, outline="white", width=5 if number == 0 else 3)
        inner = [box[0] + 1, box[1] + 1, max(box[0] + 1, box[2] - 1), max(box[1] + 1, box[3] - 1)]
        draw.rectangle(inner, outline=REGION, width=3 if number == 0 else 1)
    return framed


def _cut(image: Image.Image, box: npt.NDArray[np.float64]) -> Image.Image:
    """Cut a region out of an image, white beyond its border, at `PICTURE_SIDE` px."""
    left, top, right, bottom = np.round(box * np.tile(image.size, 2)).astype(int).tolist()
    region = Image.new("RGB", (max(1, right - left), max(1, bottom - top)), "white")
    region.paste(image, (-left, -top))
    return region.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC)


def _in_turn(rows: npt.NDArray[np.intp], group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Reorder sorted rows: the best row of each group comes first, then the second best of each, and so on."""
    turn = np.empty(len(rows), dtype=int)
    for value in np.unique(group[rows]):
        members = group[rows] == value
        turn[members] = np.arange(members.sum())
    return rows[np.argsort(turn, kind="stable")]


def overlaid(image: Image.Image, heatmap: Floats) -> Image.Image:
    """Lay a heat-map over a greyed image. Higher values are less transparent."""
    heatmap = np.nan_to_num(heatmap - np.nanmin(heatmap))
    strength = Image.fromarray((heatmap / max(heatmap.max(), 1e-12)).astype(np.float32))
    alpha = np.asarray(strength.resize(image.size, Image.Resampling.BILINEAR))[..., None].clip(0, 1)
    colour = matplotlib.colormaps["inferno"](alpha[..., 0])[..., :3] * 255
    grey = np.asarray(image.convert("L").convert("RGB"), dtype=float)
    return Image.fromarray((grey * (1 - 0.75 * alpha) + colour * 0.75 * alpha).astype(np.uint8))


def data_address(image: Image.Image) -> str:
    """Give an image as a ``data:`` address of a JPEG picture, for a web page."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
