"""Write a generated data set in SIXray's layout: resumable, and each file whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from PIL import Image

from gbad.data.arrays import Mask, Pixels
from gbad.data.layout import GeneratedLayout
from gbad.errors import GbadError, RunError
from gbad.runtime.progress import progress_bar
from gbad.storage.files import atomic_path, read_json, write_json

JPEG_QUALITY = 90


def claim(path: Path, wanted: dict[str, Any], kind: str) -> None:
    """Write the settings of a data set, or compare them with those of the run that this one continues.

    Parameters
    ----------
    path : Path
        JSON file in the data set's folder.
    wanted : dict
        Settings; only values that JSON gives back as they are.
    kind : str
        What made the data set, for messages: ``"simulation"``.

    Raises
    ------
    RunError
        If the folder holds other settings, or images without settings.
    """
    out = path.parent
    if path.exists():
        found = read_json(path)
        changed = [name for name, value in wanted.items() if not isinstance(found, dict) or found.get(name) != value]
        if changed:
            had = {name: found.get(name) if isinstance(found, dict) else None for name in changed}
            raise RunError(
                f"{out} holds a {kind} with other settings ("
                + ", ".join(f"{name}: there {had[name]}, asked for {wanted[name]}" for name in changed)
                + "). Choose another folder, or delete this one."
            )
    elif any((out / folder).is_dir() and any((out / folder).iterdir()) for folder in ("JPEGImage", "ImageSet")):
        raise RunError(f"{out} holds images or lists that no {kind} has written. Choose another folder.")
    else:
        write_json(path, wanted)


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
    """Make the images that lack a file, in several processes.

    Parameters
    ----------
    out : Path
        The data set's folder.
    layout : GeneratedLayout
        Which images there are.
    make : callable
        Writes the files of the images at some positions and gives their number; it must pickle.
    images_per_job : int
        Images that a process makes in one go.
    workers : int or None
        Processes; all cores by default.
    doing : str
        What the progress bar says.
    show_progress : bool
        Show it.

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
                "are kept: run the same command again with fewer processes, for example --workers 1."
            ) from error


def _missing_positions(out: Path, layout: GeneratedLayout) -> Iterator[int]:
    """Positions of the images that lack a file, in order."""
    folders: dict[str, set[str]] = {}
    for position in range(len(layout)):
        for file in layout.files(position).values():
            folder, name = file.rsplit("/", 1)
            if folder not in folders:
                if len(folders) > 16:  # numbered folders come in order: earlier ones are not needed any more
                    folders.clear()
                folders[folder] = _finished_files(out / folder)
            if name not in folders[folder]:
                yield position
                break


def _finished_files(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.stat().st_size > 0}


def encode_image(image: Pixels) -> bytes:
    """Encode a uint8 image of shape (height, width, 3) as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def encode_png(image: Pixels | npt.NDArray[np.uint16]) -> bytes:
    """Encode a uint8 or uint16 array of shape (height, width) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def encode_mask(shape: tuple[int, int], masks: Iterable[tuple[str, Mask]], classes: Sequence[str]) -> bytes:
    """Encode class and bool mask of each threat as PNG: value = 1 + class number; 0 = no threat."""
    image = np.zeros(shape, dtype=np.uint8)
    for label, silhouette in masks:
        image[silhouette] = 1 + classes.index(label)
    return encode_png(image)


def voc_text(
    name: str, shape: tuple[int, ...], objects: Iterable[tuple[tuple[str, float, float, float, float], float]]
) -> str:
    """Pascal VOC annotation, with the visible fraction of each threat besides its box.

    Parameters
    ----------
    name : str
        Image name without suffix.
    shape : tuple of int
        Height, width and channels of the image.
    objects : iterable of ((class, xmin, ymin, xmax, ymax), visible fraction)
    """
    height, width, channels = shape
    lines = [
        "<annotation>",
        f"  <filename>{escape(name)}.jpg</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>{channels}</depth></size>",
    ]
    for (label, xmin, ymin, xmax, ymax), visible in objects:
        lines += [
            "  <object>",
            f"    <name>{escape(label)}</name>",
            f"    <visible>{visible:.3f}</visible>",
            f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def write_small(path: Path, content: bytes) -> None:
    """Write a small file so that it appears whole or not at all if the process is killed.

    Unlike `gbad.storage.files.atomic_path` it does not wait for the disk, which would cost more than making an image.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise GbadError(
            f"{path}: cannot be written ({error.strerror or error}). Finished images are kept: free some space, then "
            "run the same command again to continue."
        ) from error


def write_rows(path: Path, classes: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Write a list from names and the classes shown: 1 for a class that is present and -1 for one that is not."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["name", *classes]) + "\n")
        for name, labels in rows:
            file.write(",".join([name, *("1" if c in labels else "-1" for c in classes)]) + "\n")
