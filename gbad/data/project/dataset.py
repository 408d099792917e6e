"""A data set of projected threats on disk, in SIXray's layout."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from gbad.data.groups import write_groups
from gbad.data.labels import PARTS
from gbad.data.layout import GeneratedLayout
from gbad.data.project.cutouts import unusable_boxes, warn_of_skipped
from gbad.data.project.groups import divide
from gbad.data.project.image import draw_bag, draw_labels, project_image
from gbad.data.project.sides import Side, make_side, read_sides
from gbad.data.sixray_writer import Threat, claimed_data_set, make_missing, write_image, write_lists
from gbad.errors import DataError
from gbad.storage.digests import bytes_digest, file_size

_IMAGES_PER_JOB = 16


def project_dataset(
    data: str | Path,
    out: str | Path,
    *,
    subset: int = 10,
    threats: str | Path | None = None,
    train_positives: int = 200,
    test_positives: int = 100,
    negatives_per_positive: int | None = None,
    size: int = 384,
    seed: int = 0,
    workers: int | None = None,
    remove_threats: bool = False,
    test_negatives_per_positive: int | None = None,
    show_progress: bool = False,
) -> None:
    """Write real threat-free bags with real threats projected into them, in SIXray's layout.

    Bags and cut-outs of the test list are not used for the training list. Files with the same bytes in both lists are
    removed from the training side. The frequency of a class is its share of the images that cut-outs come from.
    Each image is made of the sources of one group (see `gbad.data.project.groups.divide`), which ``groups.csv`` names:
    so the validation part of the training list can have other bags and cut-outs than the rest. A list whose sources
    cannot be divided is not in that file. A stopped run continues. The lists are written last. The number of workers
    does not change the result.

    Parameters
    ----------
    data : path-like
        Data set in SIXray's layout.
    out : path-like
        Folder to write to.
    subset : int
        Name of the lists to read and write, and number of threat-free images for each image with threats.
    threats : path-like, optional
        Folder of cut-outs; see `gbad.data.project.cutouts.find_cutouts`.
    train_positives, test_positives : int
        Images with threats.
    negatives_per_positive : int, optional
        Threat-free images for each image with threats. By default `subset`.
    size : int
        Longer side of the images in pixels.
    seed : int
        Another seed gives other images.
    workers : int, optional
        Processes; all cores by default.
    remove_threats : bool
        Leave out threats, and the decoys in their place, but keep the labels. Labels then have no meaning.
    test_negatives_per_positive : int, optional
        As `negatives_per_positive`, for the test list alone.
    show_progress : bool
        Show a progress bar.

    Raises
    ------
    DataError
        If a number is out of range, or a list has no bag or no cut-out.
    ImageError
        If a bag or a file in the folder of cut-outs cannot be used. Boxes that cannot be cut out are skipped, with
        one warning.
    RunError
        If the folder holds a projection with other settings.
    GbadError
        If a file cannot be written.
    """
    data, out = Path(data), Path(out)
    ratio = subset if negatives_per_positive is None else negatives_per_positive
    layout = GeneratedLayout(subset, train_positives, test_positives, ratio, size, seed, test_negatives_per_positive)
    layout.check()
    sides, classes = read_sides(data, subset, None if threats is None else Path(threats))
    cutouts = [cutout for side in sides.values() for of_class in side.cutouts.values() for cutout in of_class]
    if not (out / "projection.json").exists() or any(cutout.box for cutout in cutouts):
        bad = unusable_boxes(cutouts, workers=workers, show_progress=show_progress)  # before hours of work
        warn_of_skipped(list(bad.values()), data / "Annotation")
        sides = {
            part: make_side(side.bags, [c for of in side.cutouts.values() for c in of if c not in bad], classes)
            for part, side in sides.items()
        }
    for part, (positives, _) in layout.parts.items():
        if len(positives) and not (sides[part].bags and sides[part].cutouts):
            lacking = "cut-out" if sides[part].bags else "threat-free image"
            raise DataError(f"{data}: the {part} list has no {lacking}. Add some, or set {part}_positives to 0.")
    sources = _sources_digest(sides, classes)
    settings = asdict(layout) | {"remove_threats": remove_threats, "sources": sources, "version": 5}
    with claimed_data_set(out / "projection.json", settings, "projection"):
        groups = {
            part: divide(side, np.random.default_rng([seed, PARTS.index(part), 6])) for part, side in sides.items()
        }
        if train_positives and len(groups["train"]) == 1:
            warnings.warn(
                f"{data}: the training list has only one bag, or a class with cut-outs of only one image. So its "
                "validation part will share bags and threats with the rest. Add some to keep them apart.",
                UserWarning,
                stacklevel=2,
            )
        make_missing(
            out, layout, partial(_project_files, out, layout, groups, classes, remove_threats),
            images_per_job=_IMAGES_PER_JOB, workers=workers, doing="projecting", show_progress=show_progress,
        )  # fmt: skip
        if named := _groups_of(layout, groups):
            write_groups(out, subset, named)
        write_lists(out, layout, classes, lambda part, number: draw_labels(seed, number, sides[part].shares))


def _groups_of(layout: GeneratedLayout, groups: dict[str, tuple[Side, ...]]) -> dict[str, str]:
    """Group of each image, such as train-3, by name: of the lists with more than one group."""
    return {
        name: f"{part}-{1 + draw_bag(groups[part], layout, part, name)[0]}"
        for name, part in map(layout.name_and_part, range(len(layout)))
        if len(groups[part]) > 1
    }


def _sources_digest(sides: dict[str, Side], classes: tuple[str, ...]) -> str:
    """Digest of everything that decides images and labels: the bags, cut-outs and shares of each side.

    Files are known by name and size. So data may move, and thousands of files need not be read.
    """

    def named(path: Path | None) -> tuple[str, int | None] | None:
        return None if path is None else (path.name, file_size(path))

    content = {
        part: {
            "bags": [named(path) for path in side.bags],
            "cutouts": [
                (named(c.path), c.label, c.image, c.box, named(c.mask), c.number)
                for of_class in side.cutouts.values()
                for c in of_class
            ],
            "shares": side.shares,
        }
        for part, side in sides.items()
    }
    return bytes_digest(json.dumps([content, classes]).encode()).hex()


def _project_files(
    out: Path,
    layout: GeneratedLayout,
    groups: dict[str, tuple[Side, ...]],
    classes: tuple[str, ...],
    remove_threats: bool,
    positions: Sequence[int],
) -> int:
    for position in positions:
        name, part = layout.name_and_part(position)
        image, placed = project_image(groups[part], layout, part, name, remove_threats)
        threats = [Threat(c.label, truth.box, truth.mask, truth.visible, c.specimen) for c, truth in placed]
        write_image(out, layout.files(position), image, threats, classes)
    return len(positions)
