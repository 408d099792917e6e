"""A simulated data set on disk, in SIXray's layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from gbad.data.labels import SIXRAY_CLASSES
from gbad.data.simulate.frequencies import draw_labels
from gbad.data.simulate.scene import Scan, simulate_image
from gbad.data.simulate.settings import SimulationSettings
from gbad.data.sixray_writer import Threat, claimed_data_set, make_missing, write_image, write_lists

NEGATIVES_START_AT = 10_000_000
"""Image number k with threats is simulated with index k; threat-free image number k with this index + k."""

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
    test_negatives_per_positive: int | None = None,
) -> None:
    """Write a simulated data set in SIXray's layout.

    ``JPEGImage/`` holds the images (in numbered folders of 10,000 where there are more), ``ImageSet/{subset}/`` the
    lists, ``Annotation/`` Pascal VOC boxes and ``Mask/`` masks (value = 1 + class number; 0 = no threat) of the
    images with threats, ``Raw/`` the 16-bit channels on request, and ``simulation.json`` the settings.

    The result depends on the settings alone, not on the number of workers. A stopped run continues: finished files are
    kept, each file is whole or missing, and the lists are written last. Workers are processes of joblib's loky, so a
    calling script needs no ``if __name__ == "__main__"``.

    Parameters
    ----------
    out : path-like
        Folder to write to.
    subset : int
        10, 100 or 1000: name of the subset, and number of threat-free images for each image with threats.
    train_positives, test_positives : int
        Images with threats. By default as many as in SIXray10 and SIXray100.
    negatives_per_positive : int, optional
        Threat-free images for each image with threats. By default `subset`.
    size : int
        Longer side of the images in pixels.
    seed : int
        Another seed gives other images.
    workers : int, optional
        Processes; all cores by default.
    raw : bool
        Also write the low and the high channel, as 16-bit PNG files.
    load : float
        Amount of harmless things in the bags, relative to the default. Below 1 threats are easier to find.
    show_progress : bool
        Show a progress bar.
    remove_threats : bool
        Write the same images and labels without the threats. Anything that a classifier learns from these images is
        a shortcut. Annotations and masks are empty.
    test_negatives_per_positive : int, optional
        As `negatives_per_positive`, for the test list alone.

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
        test_negatives_per_positive=test_negatives_per_positive,
    )
    settings.check()
    out = Path(out)
    with claimed_data_set(out / "simulation.json", asdict(settings), "simulation"):
        make_missing(
            out, settings, partial(_simulate_files, out, settings), images_per_job=_IMAGES_PER_JOB, workers=workers,
            doing="simulating", show_progress=show_progress,
        )  # fmt: skip
        write_lists(out, settings, SIXRAY_CLASSES, lambda _, number: draw_labels(seed, number))


def numbered_scan(
    seed: int, number: int, positive: bool, size: int, *, load: float = 1.0, remove_threats: bool = False
) -> Scan:
    """Simulate image `number` of a data set: of its images with threats, or of its threat-free images.

    Other parameters as in `gbad.data.simulate.simulate_image`.
    """
    labels = draw_labels(seed, number) if positive else ()
    index = number if positive else NEGATIVES_START_AT + number
    return simulate_image(seed, index, labels, size, load=load, remove_threats=remove_threats)


def _simulate_files(out: Path, settings: SimulationSettings, positions: Iterable[int]) -> int:
    """Simulate images and write their files. Return their number."""
    count = 0
    for position in positions:
        name = settings.name(position)
        scan = numbered_scan(
            settings.seed, int(name[1:]), name.startswith("P"), settings.size,
            load=settings.load, remove_threats=settings.remove_threats,
        )  # fmt: skip
        found = zip(scan.boxes, scan.masks, scan.visible_fraction, strict=True)
        threats = [Threat(label, (x0, y0, x1, y1), mask, seen) for (label, x0, y0, x1, y1), mask, seen in found]
        write_image(out, settings.files(position), scan.image, threats, SIXRAY_CLASSES, tuple(scan.raw))
        count += 1
    return count
