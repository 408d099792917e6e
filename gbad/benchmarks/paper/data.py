"""The data of the benchmark: a folder in SIXray's layout, simulated unless the user has one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gbad.benchmarks.paper.scales import ListSizes, Scale, Subset
from gbad.data.check import read_ids
from gbad.data.groups import groups_path, read_groups, write_groups
from gbad.data.images import image_paths
from gbad.data.labels import PARTS, LabelList, find_subsets, list_path, read_sixray, write_list
from gbad.data.simulate import simulate_dataset
from gbad.errors import DataError
from gbad.runtime.text import counted
from gbad.storage.claims import read_claim
from gbad.storage.digests import digest, files_digest
from gbad.storage.files import read_json, write_json

SUBSETS_FILE = "subsets.json"
"""File of a data folder: how its lists make up the subsets. Without it, each list is a subset."""


@dataclass(frozen=True)
class BenchmarkData:
    """Where the lists and images are, and how lists make up subsets.

    Attributes
    ----------
    folder : Path
        In SIXray's layout.
    subsets : tuple of Subset
    origin : dict
        JSON types: what tells these images from others, such as the settings of the simulation.
    notes : tuple of str
        Notes for every table.
    """

    folder: Path
    subsets: tuple[Subset, ...]
    origin: dict[str, Any]
    notes: tuple[str, ...] = ()
    _lists: dict[tuple[str, str], LabelList] = field(default_factory=dict, repr=False)
    _images: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_generated(self) -> bool:
        """Whether the images were simulated or projected: figures published for SIXray are then of other data."""
        return "folder" not in self.origin

    def read(self, subset: Subset, part: str) -> LabelList:
        """Read the list of a subset, once."""
        key = subset.list, part
        if key not in self._lists:
            self._lists[key] = read_sixray(self.folder, subset.list, part)
        return self._lists[key]

    def groups(self, subset: Subset) -> list[str | None] | None:
        """Known group of each image of a training list, as from `gbad.data.groups.read_groups`."""
        return read_groups(self.folder, subset.list, self.read(subset, "train").names)

    def ratio(self, subset: Subset) -> float:
        """Threat-free images per image with threats: of the subset, or else of its training list."""
        if subset.ratio is not None:
            return float(subset.ratio)
        positive = self.read(subset, "train").positive
        return float((~positive).sum() / max(positive.sum(), 1))

    def train_digest(self, subset: Subset) -> str:
        """Digest of a training list with its classes, groups and images: subsets that share it share networks."""
        train = self.read(subset, "train")
        content: list[Any] = [train.names, train.labels, train.classes]
        if (groups := self.groups(subset)) is not None:
            content.append(groups)
        return digest(*content, *([] if self.is_generated else [[self.images_digest(train.names)]]))

    def images_digest(self, names: tuple[str, ...]) -> str:
        """Digest of image files; empty for generated images, which `origin` tells from others."""
        if self.is_generated:
            return ""
        key = digest(names)
        if key not in self._images:
            self._images[key] = files_digest(image_paths(self.folder, names), self.folder)
        return self._images[key]


def simulated_data(
    folder: Path, scale: Scale, seed: int, *, workers: int | None = None, show_progress: bool = False
) -> BenchmarkData:
    """Simulate the data of a scale, or take those that are there.

    Raises
    ------
    RunError
        If the folder holds other data.
    """
    simulation: dict[str, Any] = {**scale.simulation(), "size": scale.image_size, "load": scale.load, "seed": seed}
    lists = {name: asdict(sizes) for name, sizes in scale.lists.items()}
    about = {"settings": simulation, "lists": lists, "subsets": [asdict(subset) for subset in scale.subsets]}
    head = folder / SUBSETS_FILE
    if read_claim(head, about, "data set", ()) is None:
        whole = max(scale.lists, key=int)
        simulate_dataset(folder, int(whole), **simulation, workers=workers, show_progress=show_progress)
        found = {part: read_sixray(folder, whole, part) for part in PARTS}
        for name, sizes in scale.lists.items():
            write_nested_lists(folder, name, found, sizes)
        write_json(head, about | {"notes": list(scale.notes)})  # last: the data are whole
    return replace(existing_data(folder), notes=scale.notes)  # as they are worded now


def write_nested_lists(folder: Path, name: str, lists: Mapping[str, LabelList], sizes: ListSizes) -> None:
    """Write ``ImageSet/<name>``: the first images with threats and the first threat-free ones of two longer lists."""
    for part, labels in lists.items():
        positive = labels.positive
        rows = np.concatenate([
            np.flatnonzero(positive)[: getattr(sizes, f"{part}_positives")],
            np.flatnonzero(~positive)[: getattr(sizes, f"{part}_negatives")],
        ])  # fmt: skip
        write_list(labels.select(rows), list_path(folder, name, part))


def existing_data(folder: Path) -> BenchmarkData:
    """Take a folder in SIXray's layout: each subset with a training and a test list.

    Raises
    ------
    DataError
        If there is no such subset.
    """
    folder = folder.resolve()
    about = read_json(folder / SUBSETS_FILE) if (folder / SUBSETS_FILE).exists() else {}
    subsets = tuple(Subset(**subset) for subset in about.get("subsets", ()))
    if not subsets:
        names = [
            name for name in find_subsets(folder) if all(list_path(folder, name, part).is_file() for part in PARTS)
        ]
        subsets = tuple(Subset(name, name) for name in names)
    if not subsets:
        raise DataError(
            f"{folder}: no subset has both lists, ImageSet/<subset>/train.csv and test.csv. Give a folder in SIXray's "
            "layout, or none to simulate one."
        )
    made = [folder / name for name in ("simulation.json", "projection.json") if (folder / name).exists()]
    origin = {path.stem: read_json(path) for path in made} or {"folder": str(folder)}
    return BenchmarkData(folder, subsets, origin, tuple(about.get("notes", ())))


def without_mislabelled(data: BenchmarkData, mislabelled: Path, folder: Path) -> BenchmarkData:
    """Make a view of the data whose lists lack the images that are known to be mislabelled.

    The view has lists of its own, and links to whatever else the data folder holds.

    Parameters
    ----------
    data : BenchmarkData
    mislabelled : Path
        Text file of image names, one a line.
    folder : Path
        Where the view goes.

    Raises
    ------
    DataError
        If the file cannot be read, or names no image of the lists.
    """
    names = read_ids(mislabelled)
    removed: set[str] = set()
    for subset in data.subsets:
        for part in PARTS:
            labels = data.read(subset, part)
            kept = np.array([name not in names for name in labels.names])
            removed |= {name for name, stays in zip(labels.names, kept, strict=True) if not stays}
            write_list(labels.select(kept), list_path(folder, subset.list, part))
        if (groups := data.groups(subset)) is None:
            groups_path(folder, subset.list).unlink(missing_ok=True)  # of a view of other data, perhaps
        else:
            pairs = zip(data.read(subset, "train").names, groups, strict=True)
            write_groups(folder, subset.list, {name: group for name, group in pairs if group is not None})
    if not removed:
        raise DataError(f"{mislabelled}: none of its {len(names):,} names is in a list of {data.folder}.")
    wanted = {entry.name: entry for entry in data.folder.resolve().iterdir() if entry.name != "ImageSet"}
    for link in folder.iterdir():  # of a view of other data, perhaps
        if link.is_symlink() and link.name not in wanted:
            link.unlink(missing_ok=True)
    for name, entry in sorted(wanted.items()):
        _link(entry, folder / name)
    note = f"Left out: {counted(len(removed), 'image')} that {mislabelled.name} lists as mislabelled."
    return BenchmarkData(folder.resolve(), data.subsets, data.origin, (*data.notes, note))


def _link(target: Path, link: Path) -> None:
    """Make a symbolic link, or correct one, in one step: other processes may be reading through it."""
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    made = link.with_name(f".{link.name}-{os.getpid()}")
    os.symlink(target, made, target_is_directory=target.is_dir())
    os.replace(made, link)
