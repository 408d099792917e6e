"""Find and read cut-outs of real threats. A cut-out holds the share of light that the threat absorbs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from PIL import Image, ImageFilter
from scipy import ndimage

from gbad.data.annotations import Box, find_annotations, read_voc_boxes
from gbad.data.arrays import Mask, Pixels
from gbad.data.images import decode_image, image_paths, read_file, read_image
from gbad.errors import DataError, ImageError
from gbad.runtime.progress import progress_bar

_NAME = re.compile(r"(?P<both>.+_.+)_\d+", re.DOTALL)


@dataclass(frozen=True)
class Cutout:
    """Source of a cut-out; `read_cutout` gives its pixels.

    Parameters
    ----------
    path : Path
        RGBA PNG, or the image that holds the threat.
    label : str
        Class of the threat.
    image : str
        Name of the image that it comes from. It decides the side.
    box : tuple of float or None
        Box in the image. None for an RGBA PNG.
    mask : Path or None
        Mask of the image (value = 1 + class number), if there is one.
    number : int
        Class number of the label.
    annotation : Path or None
        File of the box, for messages.
    specimen : str
        Name of the cut-out: ``<image>_<Class>_<number>``, with the number of the object for a box.
    """

    path: Path
    label: str
    image: str
    box: Box | None = None
    mask: Path | None = None
    number: int = 0
    annotation: Path | None = None
    specimen: str = ""


def find_cutouts(
    data: Path, shown: Mapping[str, Collection[str]], classes: Sequence[str], threats: Path | None
) -> list[Cutout]:
    """Find the cut-outs of the images on the lists.

    The folder `threats`, by default ``data/threats``, holds ``<image>_<Class>_<nn>.png``; a class may have underscores,
    and the suffix may be in capitals. If there is no such folder, boxes of ``data/Annotation`` are cut out, with the
    mask in ``data/Mask`` if there is one. Boxes of classes that are not in the lists are left out. One warning tells of
    annotations that cannot be read, and of boxes whose class is not a label of their image; these are left out as well.

    Parameters
    ----------
    data : Path
        Data set in SIXray's layout.
    shown : mapping of str to collection of str
        Images of both lists and the classes of each. Cut-outs of other images are skipped, with one warning.
    classes : sequence of str
        Classes of the lists.
    threats : Path or None
        Folder of cut-outs.

    Returns
    -------
    list of Cutout
        Sorted by file.

    Raises
    ------
    DataError
        If there is no cut-out, or a file in `threats` has another form of name or an unknown class.
    """
    folder = threats if threats is not None else data / "threats"
    if threats is None and not folder.is_dir():
        found = _from_boxes(data, shown, classes)
        where = data / "Annotation"
    else:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Give the folder of the cut-outs.")
        found, where = [], folder
        for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png"):
            image, label = _parts_of(path, classes)
            found.append(Cutout(path, label, image, specimen=path.stem))
    kept = [cutout for cutout in found if cutout.image in shown]
    if len(kept) < len(found):
        warnings.warn(
            f"{where}: {len(found) - len(kept):,} cut-outs are of images on neither list and are skipped.",
            UserWarning,
            stacklevel=2,
        )
    if not kept:
        raise DataError(f"{where}: no cut-out of an image on the lists. Give a folder of cut-outs, or annotations.")
    return kept


def _parts_of(path: Path, classes: Sequence[str]) -> tuple[str, str]:
    """Image and class in the name of a cut-out; DataError if it has another form, or an unknown class."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: the name is not <image>_<Class>_<number>.png. Rename the file.")
    known = [label for label in classes if match["both"].endswith(f"_{label}") and match["both"] != f"_{label}"]
    if not known:
        label = match["both"].rpartition("_")[2]
        raise DataError(f"{path}: the class {label!r} is not in the lists ({', '.join(classes)}). Rename the file.")
    label = max(known, key=len)  # Box_Cutter, not Cutter
    return match["both"].removesuffix(f"_{label}"), label


def _from_boxes(data: Path, shown: Mapping[str, Collection[str]], classes: Sequence[str]) -> list[Cutout]:
    annotations = {name: path for name, path in find_annotations(data / "Annotation").items() if name in shown}
    found = []
    wrong: list[str] = []
    for (name, annotation), path in zip(annotations.items(), image_paths(data, annotations), strict=True):
        mask = data / "Mask" / f"{name}.png"
        try:
            boxes = read_voc_boxes(annotation)
        except DataError as error:
            wrong.append(str(error))
            continue
        for position, (label, box) in enumerate(boxes):
            if label in shown[name]:
                of_image = mask if mask.is_file() else None
                number, specimen = classes.index(label), f"{name}_{label}_{position:02d}"
                found.append(Cutout(path, label, name, box, of_image, number, annotation, specimen))
            elif label in classes:
                wrong.append(
                    f"{annotation}: a box of {label}, which the list does not give this image. Correct one of both."
                )
    warn_of_skipped(wrong, data / "Annotation")
    return found


def warn_of_skipped(reasons: Sequence[str], where: Path) -> None:
    """Warn once about all boxes and annotations that are left out, with the first reason."""
    if reasons:
        message = (
            f"{where}: boxes or annotations that cannot be used are skipped, {len(reasons):,} in all. The first: "
            f"{reasons[0]}"
        )
        warnings.warn(message, UserWarning, stacklevel=2)


def read_cutout(cutout: Cutout) -> Pixels:
    """Read the darkness, 1 - transmittance, of a cut-out.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        255 = opaque, 0 = transparent. Borders of 0 are cut off.

    Raises
    ------
    ImageError
        If the file cannot be used, has no alpha channel, or is empty.
    """
    if cutout.box is None:
        colour, alpha = _read_rgba(cutout.path)
        darkness = (1 - colour / 255.0) * alpha[..., None]
    else:
        darkness = _from_image(cutout, cutout.box)
    patch = (255 * darkness + 0.5).astype(np.uint8)
    rows, columns = np.flatnonzero(patch.any(axis=(1, 2))), np.flatnonzero(patch.any(axis=(0, 2)))
    if not len(rows):
        if cutout.box is None:
            raise ImageError(cutout.path, "unsupported", f"nothing is seen of the {cutout.label}. Delete this cut-out.")
        reason = f"nothing is seen of the {cutout.label} in the box {cutout.box}. Correct the box."
        raise ImageError(cutout.annotation or cutout.path, "unsupported", reason)
    return patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def unusable_boxes(
    cutouts: Sequence[Cutout], *, workers: int | None = None, show_progress: bool = False
) -> dict[Cutout, str]:
    """Read all cut-outs once. Return the boxes that cannot be cut out, with the reason.

    Raises
    ------
    ImageError
        If a file in the folder of cut-outs cannot be used; see `read_cutout`.
    """
    results = Parallel(n_jobs=workers or -1, prefer="threads", return_as="generator")(map(delayed(_problem), cutouts))
    bad: dict[Cutout, str] = {}
    with progress_bar("reading cut-outs", len(cutouts), show=show_progress) as advance:
        for cutout, problem in zip(cutouts, results, strict=True):
            if problem is not None:
                bad[cutout] = problem
            advance(1)
    return bad


def _problem(cutout: Cutout) -> str | None:
    try:
        read_cutout(cutout)
    except ImageError as error:
        if cutout.box is None:
            raise
        return str(error)
    return None


def _read_rgba(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    decode_image(path, read_file(path))  # raises errors for damaged files and hostile sizes
    with Image.open(path) as image:
        if image.mode != "RGBA":
            reason = f"colour mode {image.mode}, without alpha. Save the cut-out as RGBA, its mask as alpha."
            raise ImageError(path, "unsupported", reason)
        values = np.asarray(image)
    if not values[..., 3].any():
        raise ImageError(path, "unsupported", "every pixel is transparent. Cut the threat out again, or delete it.")
    return values[..., :3].astype(float), values[..., 3] / 255.0


def _from_image(cutout: Cutout, box: Box) -> npt.NDArray[np.float64]:
    image = read_image(cutout.path)
    height, width = image.shape[:2]
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    x1, y1 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    if x1 - x0 < 3 or y1 - y0 < 3:
        reason = f"the box {box} of the {cutout.label} holds less than 3 × 3 pixels of the image. Correct the box."
        raise ImageError(cutout.annotation or cutout.path, "unsupported", reason)
    crop = image[y0:y1, x0:x1].astype(float)
    ring = np.concatenate([crop[0], crop[-1], crop[:, 0], crop[:, -1]])
    behind = np.maximum(np.percentile(ring, 75, axis=0), 1.0)
    darkness = 1 - np.clip(crop / behind, 0, 1)
    if cutout.mask is not None:
        mask = read_image(cutout.mask)[..., 0]
        if mask.shape != (height, width):
            reason = f"{mask.shape}, but the image is {(height, width)} pixels. Save the mask at the image's size."
            raise ImageError(cutout.mask, "unsupported", reason)
        return np.asarray(darkness * (mask[y0:y1, x0:x1] == 1 + cutout.number)[..., None])
    soft = Image.fromarray(255 * _metal(darkness).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    return np.asarray(darkness * (np.asarray(soft) / 255.0)[..., None])


def _metal(darkness: npt.NDArray[np.float64]) -> Mask:
    """Guess the pixels of the threat in a box, bool (h, w): large connected pieces of metal.

    Metal is shown in blue: it absorbs more red than blue, or is dark in all colours. Everything else in the box is left
    out: thin and small pieces, and orange or green pixels.
    """
    metal = (darkness[..., 0] - darkness[..., 2] > 0.12) | (darkness.min(axis=2) > 0.7)
    metal = ndimage.binary_opening(metal, iterations=1)
    pieces, count = ndimage.label(metal, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    if not count:
        return np.asarray(darkness.max(axis=2) > 0.3)
    return np.isin(pieces, 1 + np.flatnonzero(sizes >= 0.2 * sizes.max()))
