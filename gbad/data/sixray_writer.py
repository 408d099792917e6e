"""Write a generated data set in SIXray's layout. A stopped run can continue, and each file is whole or missing."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from PIL import Image

from gbad.data.annotations import Box
from gbad.data.arrays import Mask, Pixels
from gbad.data.labels import LabelList, list_path, write_list
from gbad.data.layout import GeneratedLayout
from gbad.data.voc_writer import Item, voc_text
from gbad.errors import GbadError
from gbad.runtime.progress import progress_bar
from gbad.storage.claims import read_claim
from gbad.storage.files import write_json
from gbad.storage.locks import held
from gbad.storage.targets import output_path

JPEG_QUALITY = 90

_UNFINISHED = re.compile(r"\.[PN]\d+(_low|_high)?\.(jpg|xml|png)\.\d+")  # what `_write_small` writes to


class Threat(NamedTuple):
    """One threat in a generated image.

    Attributes
    ----------
    label : str
        Class.
    box : (float, float, float, float)
        xmin, ymin, xmax, ymax in pixels; the pixel (0, 0) covers [0, 1) x [0, 1).
    mask : bool array (height, width)
        Pixels of the threat.
    visible : float
        Share of the threat that can be seen, in [0, 1].
    specimen : str
        Name of the thing that is shown; empty if it has none.
    """

    label: str
    box: Box
    mask: Mask
    visible: float
    specimen: str = ""


@contextmanager
def claimed_data_set(head: Path, settings: dict[str, Any], what: str) -> Iterator[None]:
    """Write the settings of a data set, and keep other processes out of it until the block ends.

    Parameters
    ----------
    head : Path
        JSON file in the folder of the data set.
    settings : dict
        JSON types.
    what : str
        Name of such a data set, for messages: ``"simulation"``.

    Raises
    ------
    RunError
        If the folder holds a data set with other settings, or images without settings, or another process makes it.
    """
    out = head.parent
    known = read_claim(head, settings, what, ("JPEGImage", "ImageSet"))
    with suppress(OSError):  # the next line that writes says why
        out.mkdir(parents=True, exist_ok=True)
    busy = f"{out}: another process is making this {what} ({{holder}}). Wait until it has ended, or give another one."
    with held(out / "lock", busy, remove=True):
        if known is None:
            write_json(head, settings)
        yield


def make_missing(
    out: Path,
    layout: GeneratedLayout,
    make: Callable[[Sequence[int]], int],
    *,
    images_per_job: int,
    workers: int | None,
    doing: str,
    show_progress: bool,
) -> None:
    """Make all images that lack a file, in several processes.

    Parameters
    ----------
    out : Path
        The data set's folder.
    layout : GeneratedLayout
        Images of the data set.
    make : callable
        ``make(positions)`` writes the files of some images and returns their number. It must pickle.
    images_per_job : int
        Images that a process makes per call.
    workers : int or None
        Processes; all cores by default.
    doing : str
        Text of the progress bar.
    show_progress : bool
        Show the progress bar.

    Raises
    ------
    GbadError
        If a process was killed.
    """
    missing = list(_missing_positions(out, layout))
    jobs = (missing[start : start + images_per_job] for start in range(0, len(missing), images_per_job))
    run = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator_unordered", pre_dispatch="3 * n_jobs")
    with progress_bar(doing, len(layout), show=show_progress) as advance:
        advance(len(layout) - len(missing))
        try:
            for count in run(delayed(make)(positions) for positions in jobs):
                advance(count)
        except BrokenProcessPool as error:
            raise GbadError(
                f"{out}: a process that made images was killed, most likely because memory ran out. Finished images "
                "are kept: run the same command again with fewer processes, for example workers=1.",
                settings=("workers",),
            ) from error


def _missing_positions(out: Path, layout: GeneratedLayout) -> Iterator[int]:
    """Positions of the images that lack a file, in order."""
    folders: dict[str, set[str]] = {}
    for position in range(len(layout)):
        for file in layout.files(position).values():
            folder, name = file.rsplit("/", 1)
            if folder not in folders:
                if len(folders) > 16:  # numbered folders come in order: forget earlier folders
                    folders.clear()
                folders[folder] = _finished_files(out / folder)
            if name not in folders[folder]:
                yield position
                break


def _finished_files(folder: Path) -> set[str]:
    """Names of the files that are there; those that a killed process was writing are deleted."""
    finished: set[str] = set()
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if _UNFINISHED.fullmatch(entry.name):
                    Path(entry.path).unlink(missing_ok=True)
                elif entry.stat().st_size > 0:
                    finished.add(entry.name)
    return finished


def write_image(
    out: Path,
    files: Mapping[str, str],
    image: Pixels,
    threats: Sequence[Threat],
    classes: Sequence[str],
    raw: Sequence[npt.NDArray[np.uint16]] = (),
) -> None:
    """Write the files of one image. Each file is whole or missing.

    Parameters
    ----------
    out : Path
        Folder of the data set.
    files : mapping of str to str
        Path of each file, relative to `out`, as from `GeneratedLayout.files`.
    image : uint8 array (height, width, 3)
        RGB.
    threats : sequence of Threat
        Threats of the annotation and the mask.
    classes : sequence of str
        Classes of the data set.
    raw : sequence of two uint16 arrays (height, width), optional
        Low and high channel.
    """
    for kind, file in files.items():
        if kind == "image":
            content = encode_image(image)
        elif kind == "annotation":
            content = annotation_of(Path(files["image"]).stem, image.shape, threats).encode()
        elif kind == "mask":
            content = encode_mask((image.shape[0], image.shape[1]), threats, classes)
        else:
            content = _encode_png(raw[("low", "high").index(kind)])
        _write_small(out / file, content)


def encode_image(image: Pixels) -> bytes:
    """Encode a uint8 image of shape (height, width, 3) as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def encode_mask(shape: tuple[int, int], threats: Iterable[Threat], classes: Sequence[str]) -> bytes:
    """Encode the masks of threats as PNG: value = 1 + class number; 0 = no threat."""
    image = np.zeros(shape, dtype=np.uint8)
    for threat in threats:
        image[threat.mask] = 1 + classes.index(threat.label)
    return _encode_png(image)


def _encode_png(image: Pixels | npt.NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def annotation_of(name: str, shape: tuple[int, ...], threats: Iterable[Threat]) -> str:
    """Pascal VOC annotation, with the box, the visible share and the specimen (if it has a name) of each threat.

    Parameters
    ----------
    name : str
        Image name without suffix.
    shape : tuple of int
        Height, width and channels of the image.
    threats : iterable of Threat
    """
    height, width, channels = shape
    items = [
        Item(
            threat.label,
            threat.box,
            ({"specimen": threat.specimen} if threat.specimen else {}) | {"visible": f"{threat.visible:.3f}"},
        )
        for threat in threats
    ]
    return voc_text(f"{name}.jpg", (width, height, channels), items)


def _write_small(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all if the process is killed.

    Unlike `gbad.storage.files.atomic_path` it does not wait for the disk: waiting takes longer than making an image.
    """
    target = output_path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise GbadError(
            f"{path}: cannot be written ({error.strerror or error}). Finished images are kept: free some space, then "
            "run the same command again to continue."
        ) from error


def write_lists(
    out: Path, layout: GeneratedLayout, classes: Sequence[str], labels_of: Callable[[str, int], Sequence[str]]
) -> None:
    """Write the training and the test list: 1 = class present, -1 = absent.

    Parameters
    ----------
    out : Path
        Folder of the data set.
    layout : GeneratedLayout
        Images of the data set.
    classes : sequence of str
        Columns of the lists.
    labels_of : callable
        ``labels_of(part, number)`` gives the classes of an image with threats.
    """
    for part, (positives, negatives) in layout.parts.items():
        names = [*(f"P{number:05d}" for number in positives), *(f"N{number:07d}" for number in negatives)]
        labels = np.zeros((len(names), len(classes)), np.uint8)
        for row, number in enumerate(positives):
            labels[row] = [name in labels_of(part, number) for name in classes]
        write_list(LabelList(tuple(names), labels, tuple(classes)), list_path(out, layout.subset, part))
