"""A data set of projected threats on disk, in SIXray's layout."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from gbad.data.duplicates import find_duplicates
from gbad.data.images import locate, read_image
from gbad.data.labels import PARTS, read_sixray
from gbad.data.project.cutouts import Cutout, find_cutouts, read_cutout
from gbad.data.project.decoys import piece_of_bag, simulated_decoy
from gbad.data.project.projection import Placed, foreground, pose_patch, project
from gbad.data.simulate.settings import SimulationSettings
from gbad.data.sixray_writer import (
    claim,
    encode_image,
    encode_mask,
    missing_positions,
    voc_text,
    write_rows,
    write_small,
)
from gbad.errors import DataError
from gbad.progress import progress_bar

Rng = np.random.Generator
_SCALES = (0.7, 1.2)
_IMAGES_PER_JOB = 16


@dataclass(frozen=True)
class Side:
    """What one list's images are made from: bags, cut-outs, and the share of each class."""

    bags: tuple[Path, ...]
    cutouts: dict[str, list[Cutout]]
    shares: dict[str, float]


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
    show_progress: bool = False,
) -> None:
    """Write real threat-free bags with real threats projected into them, in SIXray's layout.

    Bags and cut-outs of the test list never meet the training list; what has the same bytes on both sides is dropped
    from the training side. A class is drawn as often as its share of the images that cut-outs come from. A run that
    was stopped continues; the lists are written last; the number of workers makes no difference.

    Parameters
    ----------
    data : path-like
        Data set in SIXray's layout.
    out : path-like
        Folder to write to.
    subset : int
        List to read and write, and the number of threat-free images for each image with threats.
    threats : path-like, optional
        Folder of cut-outs; see `gbad.data.project.cutouts.find_cutouts`.
    train_positives, test_positives : int
        Images with threats.
    negatives_per_positive : int, optional
        Overrides what follows from the subset.
    size : int
        Longer side of the images in pixels.
    seed : int
        Another seed gives other images.
    workers : int, optional
        Processes; all cores by default.
    remove_threats : bool
        Leave out threats, and the decoys in their place, but keep the labels: these then mean nothing.
    show_progress : bool
        Show a progress bar.

    Raises
    ------
    DataError
        If a number is out of range, or a side has no bag or no cut-out.
    ImageError
        If a bag or a cut-out cannot be used.
    RunError
        If the folder holds a projection with other settings.
    GbadError
        If a file cannot be written.
    """
    data, out = Path(data), Path(out)
    ratio = subset if negatives_per_positive is None else negatives_per_positive
    layout = SimulationSettings(subset, train_positives, test_positives, ratio, size, seed)
    for name, least in {
        "train_positives": 0,
        "test_positives": 0,
        "negatives_per_positive": 0,
        "size": 32,
        "seed": 0,
    }.items():
        if getattr(layout, name) < least:
            raise DataError(f"{name} is {getattr(layout, name)}; it must be at least {least}.")
    if len(layout) == 0:
        raise DataError("No image is asked for: train_positives and test_positives are both 0.")
    sides, classes = _sides(data, subset, None if threats is None else Path(threats))
    for part, (positives, _) in layout.parts.items():
        if len(positives) and not (sides[part].bags and sides[part].cutouts):
            lacking = "cut-out" if sides[part].bags else "threat-free image"
            raise DataError(f"{data}: the {part} list has no {lacking}. Add some, or ask for no {part} images.")
    wanted = {name: value for name, value in asdict(layout).items() if name not in ("raw", "load", "version")}
    wanted |= {"remove_threats": remove_threats, "data": str(data.resolve()), "version": 1}
    wanted["threats"] = None if threats is None else str(Path(threats).resolve())
    claim(out / "projection.json", wanted, "projection")
    missing = list(missing_positions(out, (layout.files(k).values() for k in range(len(layout)))))
    jobs = (missing[start : start + _IMAGES_PER_JOB] for start in range(0, len(missing), _IMAGES_PER_JOB))
    run = Parallel(n_jobs=workers or os.cpu_count() or 1, return_as="generator_unordered", pre_dispatch="3 * n_jobs")
    with progress_bar("projecting", len(layout), show=show_progress) as advance:
        advance(len(layout) - len(missing))
        for count in run(delayed(_project_files)(out, layout, sides, classes, job, remove_threats) for job in jobs):
            advance(count)
    for part, (positives, negatives) in layout.parts.items():
        rows = [(f"P{k:05d}", tuple(_draw_labels(seed, k, sides[part].shares))) for k in positives]
        write_rows(
            out / "ImageSet" / str(subset) / f"{part}.csv", classes, [*rows, *((f"N{k:07d}", ()) for k in negatives)]
        )


def _sides(data: Path, subset: int, threats: Path | None) -> tuple[dict[str, Side], tuple[str, ...]]:
    lists = {part: read_sixray(data, subset, part) for part in PARTS}
    classes = lists["train"].classes
    if lists["test"].classes != classes:
        raise DataError(f"{data}: the lists have different classes, {classes} and {lists['test'].classes}.")
    if shared := set(lists["train"].names) & set(lists["test"].names):
        raise DataError(f"{data}: {min(shared)!r} is on both lists. Delete one of the two rows.")
    bags = {part: locate(data, rows.select(~rows.positive).names) for part, rows in lists.items()}
    found = find_cutouts(data, [*lists["train"].names, *lists["test"].names], classes, threats)
    cutouts = {part: [c for c in found if c.image in set(rows.names)] for part, rows in lists.items()}
    repeated = _on_both([*bags["train"], *(c.path for c in cutouts["train"])],
                        [*bags["test"], *(c.path for c in cutouts["test"])])  # fmt: skip
    bags["train"] = [path for path in bags["train"] if path not in repeated]
    cutouts["train"] = [c for c in cutouts["train"] if c.path not in repeated]
    sides = {}
    for part in PARTS:
        by_class = {label: [c for c in cutouts[part] if c.label == label] for label in classes}
        by_class = {label: items for label, items in by_class.items() if items}
        sources = Counter(label for label, items in by_class.items() for _ in {c.image for c in items})
        shares = {label: sources[label] / sources.total() for label in by_class}
        sides[part] = Side(tuple(bags[part]), by_class, shares)
    return sides, classes


def _on_both(train: Sequence[Path], test: Sequence[Path]) -> set[Path]:
    """Training files with the same bytes as a test file."""
    paths = [*train, *test]
    groups = [group for group in find_duplicates(paths) if group[0] < len(train) <= group[-1]]
    return {paths[k] for group in groups for k in group if k < len(train)}


def _draw_labels(seed: int, number: int, shares: dict[str, float]) -> list[str]:
    """One class, or two of them in a quarter of the images."""
    rng = np.random.default_rng([seed, number, 1])
    count = min(len(shares), 1 + int(rng.random() < 0.25))
    return rng.choice(list(shares), count, replace=False, p=list(shares.values())).tolist()


def _view(path: Path, size: int, rng: Rng) -> tuple[np.ndarray, float]:
    """A bag flipped, turned and scaled, and pixels of the result for one of the file."""
    image = Image.fromarray(read_image(path))
    array = np.rot90(np.asarray(image), int(rng.integers(4)))
    array = array[:, ::-1] if rng.random() < 0.5 else array
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    air = tuple(int(v) for v in np.median(border[border.sum(axis=1) >= np.median(border.sum(axis=1))], axis=0))
    image = Image.fromarray(np.ascontiguousarray(array))
    image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=air)
    factor = size / max(image.size)
    shape = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return np.asarray(image.resize(shape, Image.Resampling.BILINEAR)), factor


def project_image(
    side: Side, layout: SimulationSettings, part: str, name: str, remove_threats: bool = False
) -> tuple[np.ndarray, list[tuple[str, Placed]]]:
    """Make one image, uint8 (height, width, 3), and the class and truth of each threat in it."""
    number, positive = int(name[1:]), name[0] == "P"
    bag_rng, rng = (np.random.default_rng([layout.seed, number, 2 + positive, stream]) for stream in range(2))
    positives, negatives = layout.parts[part]
    turn = number - positives.start if positive else len(positives) + number - negatives.start
    cycle, at = divmod(turn, len(side.bags))
    order = np.random.default_rng([layout.seed, PARTS.index(part), cycle, 5]).permutation(len(side.bags))
    image, factor = _view(side.bags[order[at]], layout.size, bag_rng)
    on = foreground(image)
    labels = _draw_labels(layout.seed, number if positive else 10**7 + number, side.shares)
    placed: list[tuple[str, Placed]] = []
    for label in labels + [""] * (1 + int(rng.poisson(1.0))):
        if label and remove_threats:
            continue
        shape_of = label or str(rng.choice(list(side.shares), p=list(side.shares.values())))
        choices = side.cutouts[shape_of]
        patch = read_cutout(choices[int(rng.integers(len(choices)))])
        threat = bool(label) and positive
        if not threat:
            if rng.random() < 0.5:
                patch = simulated_decoy(rng)
            else:
                patch = piece_of_bag(read_image(side.bags[int(rng.integers(len(side.bags)))]), patch, rng)
        patch = pose_patch(patch, rng, factor * rng.uniform(*_SCALES))
        image, truth = project(image, patch, rng, on)
        if threat:
            placed.append((label, truth))
    return image, placed


def _project_files(
    out: Path,
    layout: SimulationSettings,
    sides: dict[str, Side],
    classes: tuple[str, ...],
    positions: Sequence[int],
    remove_threats: bool,
) -> int:
    for position in positions:
        name = layout.name(position)
        part = next(p for p, ranges in layout.parts.items() if int(name[1:]) in ranges[name[0] == "N"])
        image, placed = project_image(sides[part], layout, part, name, remove_threats)
        shape = (image.shape[0], image.shape[1])
        for kind, file in layout.files(position).items():
            if kind == "image":
                content = encode_image(image)
            elif kind == "mask":
                content = encode_mask(shape, ((label, truth.mask) for label, truth in placed), classes)
            else:
                objects = (((label, *truth.box), truth.visible) for label, truth in placed)
                content = voc_text(name, image.shape, objects).encode()
            write_small(out / file, content)
    return len(positions)
