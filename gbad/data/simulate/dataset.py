"""A simulated data set on disk, in SIXray's layout."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from gbad.data.labels import SIXRAY_CLASSES
from gbad.data.simulate.frequencies import draw_labels
from gbad.data.simulate.scene import Scan, simulate_image
from gbad.data.simulate.settings import SimulationSettings
from gbad.errors import DataError, GbadError, RunError
from gbad.files import atomic_path, read_json, write_json
from gbad.progress import progress_bar

JPEG_QUALITY = 90
NEGATIVES_START_AT = 10_000_000
"""Threat-free image number k is simulated with this index + k; image number k with threats with index k."""

_IMAGES_PER_JOB = 32


def simulate_dataset(
    out: str | Path,
    subset: int = 10,
    train_positives: int = 7496,
    test_positives: int = 1433,
    negatives_per_positive: int | None = None,
    size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    raw: bool = False,
    load: float = 1.0,
    show_progress: bool = False,
    remove_threats: bool = False,
) -> None:
    """Write a simulated data set in SIXray's layout.

    ``JPEGImage/`` holds the images (in numbered folders of 10,000 where there are more), ``ImageSet/{subset}/`` the
    lists, ``Annotation/`` Pascal VOC boxes and ``Mask/`` masks (value = 1 + class number; 0 = no threat) of the
    images with threats, ``Raw/`` the 16-bit channels on request, and ``simulation.json`` the settings.

    The result depends on the settings alone, not on the number of workers. A run that was stopped continues where
    it was: finished files are kept, every file appears whole or not at all, and the lists are written last. Workers
    are processes that joblib's loky starts, so a calling script needs no ``if __name__ == "__main__"``.

    Parameters
    ----------
    out : path-like
        Folder to write to.
    subset : int
        10, 100 or 1000: SIXray's subset, and the number of threat-free images for each image with threats.
    train_positives, test_positives : int
        Images with threats. The defaults are those of SIXray10 and SIXray100.
    negatives_per_positive : int, optional
        Overrides what follows from the subset.
    size : int
        Longer side of the images in pixels.
    seed : int
        Another seed gives other images.
    workers : int, optional
        Processes; all cores by default.
    raw : bool
        Also write the low and the high channel as 16-bit PNG.
    load : float
        Amount of harmless contents of the bags, relative to the usual one; below 1 threats are easier to find.
    show_progress : bool
        Show a progress bar.
    remove_threats : bool
        Write the same images without their threats but with the same labels: whatever a classifier learns from
        these is a shortcut. Annotations and masks are empty.

    Raises
    ------
    DataError
        If a number is out of range.
    RunError
        If the folder holds a simulation with other settings.
    GbadError
        If a file cannot be written, for instance because the disk is full.
    """
    settings = SimulationSettings(
        subset=subset,
        train_positives=train_positives,
        test_positives=test_positives,
        negatives_per_positive=subset if negatives_per_positive is None else negatives_per_positive,
        size=size,
        seed=seed,
        raw=raw,
        load=load,
        remove_threats=remove_threats,
    )
    _check(settings)
    out = Path(out)
    _claim(out, settings)
    missing = list(_missing(out, settings))
    jobs = (missing[start : start + _IMAGES_PER_JOB] for start in range(0, len(missing), _IMAGES_PER_JOB))
    run = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator_unordered", pre_dispatch="3 * n_jobs")
    with progress_bar("simulating", len(settings), show=show_progress) as advance:
        advance(len(settings) - len(missing))
        for count in run(delayed(_simulate_files)(out, settings, positions) for positions in jobs):
            advance(count)
    for part in settings.parts:
        _write_list(out / "ImageSet" / str(subset) / f"{part}.csv", settings, part)


def _check(settings: SimulationSettings) -> None:
    limits = {
        "train_positives": 0,
        "test_positives": 0,
        "negatives_per_positive": 0,
        "size": 32,
        "load": 0,
        "seed": 0,
        "subset": 1,
    }
    for name, least in limits.items():
        value = getattr(settings, name)
        if value < least:
            raise DataError(f"{name} is {value}; it must be at least {least}.")
    if len(settings) == 0:
        raise DataError("No image is asked for: train_positives and test_positives are both 0.")


def _claim(out: Path, settings: SimulationSettings) -> None:
    """Write the settings, or compare them with those of the run that this one continues."""
    path = out / "simulation.json"
    wanted = asdict(settings)
    if path.exists():
        found = read_json(path)
        changed = [name for name, value in wanted.items() if not isinstance(found, dict) or found.get(name) != value]
        if changed:
            had = {name: found.get(name) if isinstance(found, dict) else None for name in changed}
            raise RunError(
                f"{out} holds a simulation with other settings ("
                + ", ".join(f"{name}: there {had[name]}, asked for {wanted[name]}" for name in changed)
                + "). Choose another folder, or delete this one."
            )
    elif any((out / folder).is_dir() and any((out / folder).iterdir()) for folder in ("JPEGImage", "ImageSet")):
        raise RunError(f"{out} holds images or lists that no simulation has written. Choose another folder.")
    else:
        write_json(path, wanted)


def _missing(out: Path, settings: SimulationSettings) -> Iterator[int]:
    """Positions of the images that lack a file, in order."""
    folders: dict[str, set[str]] = {}
    for position in range(len(settings)):
        for file in settings.files(position).values():
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


def _simulate_files(out: Path, settings: SimulationSettings, positions: Iterable[int]) -> int:
    """Simulate images and write their files; returns how many."""
    count = 0
    for position in positions:
        name = settings.name(position)
        number = int(name[1:])
        positive = name.startswith("P")
        labels = draw_labels(settings.seed, number) if positive else ()
        index = number if positive else NEGATIVES_START_AT + number
        scan = simulate_image(
            settings.seed, index, labels, settings.size, load=settings.load, remove_threats=settings.remove_threats
        )
        for kind, file in settings.files(position).items():
            _write(out / file, _encode(scan, kind, name))
        count += 1
    return count


def _encode(scan: Scan, kind: str, name: str) -> bytes:
    """Content of one of the files of an image."""
    if kind == "annotation":
        return _voc(scan, name).encode()
    buffer = io.BytesIO()
    if kind == "image":
        Image.fromarray(scan.image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    elif kind == "mask":
        mask = np.zeros(scan.image.shape[:2], dtype=np.uint8)
        for (label, *_), silhouette in zip(scan.boxes, scan.masks, strict=True):
            mask[silhouette] = 1 + SIXRAY_CLASSES.index(label)
        Image.fromarray(mask).save(buffer, "PNG")
    else:
        Image.fromarray(scan.raw[("low", "high").index(kind)]).save(buffer, "PNG")
    return buffer.getvalue()


def _voc(scan: Scan, name: str) -> str:
    """Pascal VOC annotation, with the visible fraction of each threat besides its box."""
    height, width, channels = scan.image.shape
    lines = [
        "<annotation>",
        f"  <filename>{escape(name)}.jpg</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>{channels}</depth></size>",
    ]
    for (label, xmin, ymin, xmax, ymax), visible in zip(scan.boxes, scan.visible_fraction, strict=True):
        lines += [
            "  <object>",
            f"    <name>{escape(label)}</name>",
            f"    <visible>{visible:.3f}</visible>",
            f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _write(path: Path, content: bytes) -> None:
    """Write a small file so that it appears whole or not at all if the process is killed.

    Unlike `gbad.files.atomic_path` it does not wait for the disk, which would cost more than the simulation.
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


def _write_list(path: Path, settings: SimulationSettings, part: str) -> None:
    """Write a list with 1 for a class that is present and -1 for one that is not."""
    positives, negatives = settings.parts[part]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["name", *SIXRAY_CLASSES]) + "\n")
        for number in positives:
            labels = draw_labels(settings.seed, number)
            file.write(",".join([f"P{number:05d}", *("1" if c in labels else "-1" for c in SIXRAY_CLASSES)]) + "\n")
        absent = ",".join(["-1"] * len(SIXRAY_CLASSES))
        for number in negatives:
            file.write(f"N{number:07d},{absent}\n")
